"""More to record, with what one machine must be brought to: a second node that is only on record, disks of a driver that is
not there, a node under pressure. A part of `record_events`, in a cluster that nobody else uses.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.kubernetes import objects
from tests.kubernetes.place import Place
from tests.kubernetes.recording import NAMESPACE, Object, Recorder, claimed, need, pod, reason, until, until_running, waiting

HERE = Path(__file__).resolve().parent
OTHER = "ark-recording-other"
DRIVER = "nobody.ark.test"


def crowded(r: Recorder) -> None:
    stuck = reason("FailedScheduling")
    _other_node(r, pods="0")
    r.record("too-many-pods", pod("too-many-pods", more={"nodeSelector": {"kubernetes.io/hostname": OTHER}}), stuck)
    _remove_other(r)
    ports = {"ports": [{"containerPort": 80, "hostPort": 8099}]}
    r.apply(pod("first", **ports))
    until_running(r, "first")
    r.record("no-place", pod("no-place", **ports), stuck)
    r.remove("first")
    r.record("container", pod("container", securityContext={"runAsNonRoot": True}), waiting("CreateContainerConfigError"))


def disks(r: Recorder) -> None:
    place = {"hostPath": {"path": "/tmp"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [_only("elsewhere")]}}}
    _disk(r, "elsewhere", place)
    r.record("disk-elsewhere", claimed("disk-elsewhere", "elsewhere"), reason("FailedScheduling"))
    attach = reason("FailedAttachVolume")
    _disk(r, "broken", {"csi": {"driver": DRIVER, "volumeHandle": "broken"}})
    error = {"attachError": {"message": "rpc error: code = Internal desc = the disk does not answer", "time": None}, "attached": False}
    r.record("disk-attach", claimed("disk-attach", "broken"), _after(attach, partial(_attachment, r, "broken", error)))
    _disk(r, "busy", {"csi": {"driver": DRIVER, "volumeHandle": "busy"}})
    r.apply(claimed("holder", "busy"))
    until(lambda: _attachment(r, "busy", {"attached": True}))
    _other_node(r)
    wanted = claimed("disk-busy", "busy")
    wanted["spec"]["nodeName"] = OTHER
    r.record("disk-busy", wanted, attach)
    r.remove("holder")
    _remove_other(r)
    # nobody is there to detach them
    for name in _attachments(r).values():
        r.run("patch", "volumeattachment", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        r.run("delete", "volumeattachment", name, "--wait=false")
    for disk in ("elsewhere", "broken", "busy"):
        r.run("delete", "pv", f"ark-recording-{disk}", "--wait=false")


def pressure(r: Recorder, place: Place) -> None:
    """A kubelet that is told to want more than there is. The last clears images away. A pod without requests, or on a machine
    whose disk is full, is refused anew when the kubelet comes back; one with requests is put out by its watch over memory."""
    config = place.config / "kubelet.json"
    before = config.read_text()
    asks = need(memory="64Mi", cpu="50m")
    for name, want, body in (
        ("node-memory-full", {"memory.available": "99%"}, pod("node-memory-full", **asks)),
        ("node-memory-short", {"memory.available": "99%"}, pod("node-memory-short")),
        ("node-pids-full", {"pid.available": "99.999%"}, pod("node-pids-full", **asks)),
        ("node-disk-full", {"nodefs.available": "99%"}, pod("node-disk-full", **asks)),
    ):

        def squeeze(want: Object = want) -> None:
            config.write_text(json.dumps({**json.loads(before), "evictionHard": want}))
            os.kill(kubelet_pid(place), signal.SIGKILL)

        try:
            r.record(name, body, lambda _, pod: pod.get("status", {}).get("reason") == "Evicted", seconds=90, then=squeeze)
        finally:
            config.write_text(before)
            os.kill(kubelet_pid(place), signal.SIGKILL)
        until(lambda: not any(one["spec"].get("taints") for one in r.get("nodes")["items"]))


def shut_down(r: Recorder, place: Place) -> None:
    """A machine that says that it goes down, to a kubelet that asked to be told."""
    config = place.config / "kubelet.json"
    before = config.read_text()
    asks = {"shutdownGracePeriod": "20s", "shutdownGracePeriodCriticalPods": "5s"}
    bus = subprocess.Popen(
        ["nsenter", "-t", str(kubelet_pid(place)), "-m", sys.executable, str(HERE / "shutdown_bus.py"), "/run/dbus/system_bus_socket"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert bus.stdin is not None and bus.stdout is not None
    try:
        config.write_text(json.dumps({**json.loads(before), **asks}))
        os.kill(kubelet_pid(place), signal.SIGKILL)
        bus.stdout.readline()
        said = partial(print, file=bus.stdin, flush=True)
        r.record("node-shutdown", pod("node-shutdown"), lambda _, pod: pod.get("status", {}).get("reason") == "Terminated", then=said)
        [node] = r.get("nodes")["items"]
        refused = pod("node-shutdown-refused", more={"nodeName": node["metadata"]["name"]})
        r.record("node-shutdown-refused", refused, lambda _, pod: pod.get("status", {}).get("reason") == "NodeShutdown")
    finally:
        config.write_text(before)
        os.kill(kubelet_pid(place), signal.SIGKILL)
        bus.kill()
        bus.wait()
    until(lambda: not any(one["spec"].get("taints") for one in r.get("nodes")["items"]))


def image_disk(r: Recorder, place: Place, registry: str) -> None:
    """Where containerd writes what it pulls is full."""
    full = str(place.directory / "containerd/io.containerd.content.v1.content/ingest")
    within = ["nsenter", "-t", str(kubelet_pid(place)), "-m"]
    subprocess.run([*within, "mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", full], check=True)
    try:
        r.record("image-disk-full", pod("image-disk-full", image=f"{registry}/small:{time.time_ns()}"), reason("Failed"))
    finally:
        subprocess.run([*within, "umount", full], check=True)


def kubelet_pid(place: Place) -> int:
    """The kubelet of this cluster, as the host counts; waits for it to be started again."""
    found: list[str] = []

    def there() -> bool:
        line = ["pgrep", "-f", f"kubelet --config={place.config}"]
        found[:] = subprocess.run(line, capture_output=True, text=True, check=False).stdout.split()
        return len(found) == 1

    until(there)
    return int(found[0])


def _other_node(r: Recorder, **amounts: str) -> None:
    r.apply(objects.other_node(OTHER, {}))
    told = json.dumps(objects.other_node_status(datetime.now(UTC), **amounts))
    r.run("patch", "node", OTHER, "--subresource=status", "--type=merge", "-p", told)
    until(lambda: not r.get("node", OTHER)["spec"].get("taints"))


def _remove_other(r: Recorder) -> None:
    r.run("delete", "node", OTHER, "--wait=false")


def _only(node: str) -> Object:
    return {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}


def _disk(r: Recorder, name: str, source: Object) -> None:
    """A claim of that name, bound to a volume of ``source``."""
    size, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
    volume = {"capacity": size, "accessModes": modes, "storageClassName": "", "claimRef": {"namespace": NAMESPACE, "name": name}, **source}
    full = f"ark-recording-{name}"
    r.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": full}, "spec": volume})
    claim = {"accessModes": modes, "storageClassName": "", "volumeName": full, "resources": {"requests": size}}
    r.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim})
    until(lambda: r.get("pvc", name)["status"].get("phase") == "Bound")


def _attachments(r: Recorder) -> dict[str, str]:
    """Disk → the VolumeAttachment of our driver."""
    found = r.get("volumeattachment").get("items", [])
    return {a["spec"]["source"].get("persistentVolumeName", ""): a["metadata"]["name"] for a in found if a["spec"]["attacher"] == DRIVER}


def _attachment(r: Recorder, disk: str, status: Object) -> bool:
    """Say of a disk what the driver that is not there would; False while nobody asked for it."""
    name = _attachments(r).get(f"ark-recording-{disk}")
    if name is None:
        return False
    if "attachError" in status:
        status["attachError"]["time"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    r.run("patch", "volumeattachment", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    return True


def _after(seen: Any, act: Any) -> Any:
    """Seen, with an act tried before each look."""
    return lambda events, body: (act(), seen(events, body))[1]
