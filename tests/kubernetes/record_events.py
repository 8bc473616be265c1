"""Records what a real cluster says: ``KUBECONFIG=… python -m tests.kubernetes.record_events CLUSTER KUBELET_PID [PART …]``.

Writes tests/unit/recorded/cluster_events.json, which the rules in `ark_spawner/cluster_rules.py` are tested with. Run it
against a test cluster that nobody else uses when a new Kubernetes is out, and read the difference. CLUSTER: what `make
cluster` was told as DIR. KUBELET_PID: for its network, where a registry of one image answers meanwhile, and to be stopped
for a while.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.kubernetes import record_trouble
from tests.kubernetes.place import Place
from tests.kubernetes.recording import NAMESPACE, Object, Recorder, claimed, disrupted, ended, need, pod, reason, until_running, waiting

HERE = Path(__file__).resolve().parent
FILE = HERE.parent / "unit/recorded/cluster_events.json"
REGISTRY = "127.0.0.1:5999"


def scheduling(r: Recorder, node: str) -> None:
    stuck = reason("FailedScheduling")
    gpu = {"nvidia.com/gpu": "64"}
    r.record("gpu-taken", pod("gpu-taken", resources={"limits": gpu, "requests": gpu}), stuck)
    r.record("memory-taken", pod("memory-taken", **need(memory="900Gi")), stuck)
    r.record("cpu-taken", pod("cpu-taken", **need(cpu="500")), stuck)
    r.record("system-disk-taken", pod("system-disk-taken", **need(ephemeral_storage="900Ti")), stuck)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    r.record("no-such-node", pod("no-such-node", more={"affinity": affinity}), stuck)
    r.record("claim-missing", claimed("claim-missing", "nowhere"), stuck)
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "nobody-makes-it", "resources": {"requests": {"storage": "1Gi"}}}
    r.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "unbound"}, "spec": claim})
    r.record("disk-pending", claimed("disk-pending", "unbound"), stuck)
    r.run("cordon", node)
    r.record("node-closed", pod("node-closed"), stuck, seconds=8)
    r.run("uncordon", node)
    r.record("refused-by-node", pod("refused-by-node", more={"nodeName": node}, **need(cpu="500")), ended)


def images(r: Recorder) -> None:
    r.record("image-pulled", pod("image-pulled", image=f"{REGISTRY}/small:{time.time_ns()}"), reason("Pulled"))
    r.record(
        "image-missing",
        pod("image-missing", image=f"{REGISTRY}/none:1"),
        lambda e, p: waiting("ImagePullBackOff")(e, p) and reason("BackOff")(e, p),
    )
    r.record("image-forbidden", pod("image-forbidden", image=f"{REGISTRY}/closed:1"), reason("Failed"))
    r.record("image-unreachable", pod("image-unreachable", image="127.0.0.1:5998/some/image:1"), reason("Failed"))
    r.record("image-never", pod("image-never", image="localhost/ark/none:1", imagePullPolicy="Never"), waiting("ErrImageNeverPull"))
    r.record("image-name", pod("image-name", image="localhost/UPPER:1"), waiting("InvalidImageName"))
    r.record("image-there", pod("image-there", "exit 0"), reason("Started"))
    r.record("cannot-begin", _command("cannot-begin", ["/none"]), ended)


def _command(name: str, command: list[str]) -> Object:
    body = pod(name)
    body["spec"]["containers"][0]["command"] = command
    return body


def starting(r: Recorder) -> None:
    r.record(
        "mount-refused",
        pod(
            "mount-refused",
            more={"volumes": [{"name": "v", "configMap": {"name": "none"}}]},
            volumeMounts=[{"name": "v", "mountPath": "/v"}],
        ),
        reason("FailedMount"),
    )
    reference = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}
    r.record("secret-missing", pod("secret-missing", env=[reference]), waiting("CreateContainerConfigError"))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    r.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"}, "spec": claim})
    r.apply(claimed("writer", "disk"))
    until_running(r, "writer")
    r.run("exec", "writer", "--", "touch", "/disk/file")
    r.record("item-missing", claimed("item-missing", "disk", sub_path="file/below"), waiting("CreateContainerConfigError"))
    r.remove("writer")
    r.apply({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "ark-recording-none"}, "handler": "none"})
    r.record("sandbox", pod("sandbox", more={"runtimeClassName": "ark-recording-none"}), reason("FailedCreatePodSandBox"))
    r.run("delete", "runtimeclass", "ark-recording-none")


def ends(r: Recorder) -> None:
    r.record("exited", pod("exited", "exit 3"), ended)
    r.record("completed", pod("completed", "exit 0"), ended)
    grow = "perl -e 'my @a; while (1) { push @a, \"x\" x 1000000 }'"
    r.record("memory-full", pod("memory-full", grow, **need(memory="32Mi", cpu="100m")), ended)
    fill = "head -c 60000000 /dev/zero > /tmp/file; sleep 200"
    r.record("system-disk-full", pod("system-disk-full", fill, **need(ephemeral_storage="20Mi")), ended, seconds=120)
    volume = {"volumes": [{"name": "shm", "emptyDir": {"sizeLimit": "10Mi"}}]}
    body = pod(
        "shared-memory-full",
        "head -c 30000000 /dev/zero > /v/file; sleep 200",
        more=volume,
        volumeMounts=[{"name": "shm", "mountPath": "/v"}],
    )
    r.record("shared-memory-full", body, ended, seconds=120)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/evicted/eviction"
    slow = pod("evicted", "trap '' TERM; sleep 300", more={"terminationGracePeriodSeconds": 4})
    r.record("evicted", slow, disrupted, then=lambda: r.run("create", "--raw", path, "-f", "-", given=eviction))


def preempted(r: Recorder) -> None:
    for name, value in (("ark-recording-low", 1), ("ark-recording-high", 1000)):
        r.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    gpus = {"resources": {"limits": {"nvidia.com/gpu": "4"}, "requests": {"nvidia.com/gpu": "4"}}}
    low = pod(
        "preempted", "trap '' TERM; sleep 300", more={"priorityClassName": "ark-recording-low", "terminationGracePeriodSeconds": 5}, **gpus
    )
    high = pod("goes-first", more={"priorityClassName": "ark-recording-high"}, **gpus)
    r.record("preempted", low, disrupted, then=lambda: r.apply(high))
    until_running(r, "goes-first")
    r.keep("goes-first")
    r.run("delete", "priorityclass", "ark-recording-low", "ark-recording-high")


def refusals(r: Recorder) -> None:
    def never(*_: Any) -> bool:
        return False

    r.record("pod-refused", pod("pod-refused", more={"priorityClassName": "nobody-made-it"}), never, seconds=1)
    r.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}})
    time.sleep(3)
    r.record("quota", pod("quota"), never, seconds=1)


def lost(r: Recorder, kubelet: int) -> None:
    """A node that falls silent, as its pods and the scheduler see it."""
    away = [
        {"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        for k in ("not-ready", "unreachable")
    ]
    stop = partial(os.kill, kubelet, signal.SIGSTOP)
    try:
        r.record("node-lost", pod("node-lost", more={"tolerations": away}), disrupted, seconds=90, then=stop)
        r.record("node-silent", pod("node-silent"), reason("FailedScheduling"))
    finally:
        os.kill(kubelet, signal.SIGCONT)


PARTS = (
    *(images, scheduling, starting, ends, preempted, refusals, lost),
    *(record_trouble.crowded, record_trouble.disks, record_trouble.image_disk, record_trouble.pressure, record_trouble.shut_down),
)


def main() -> None:
    cluster, kubelet = sys.argv[1:3]
    kubectl, place = str(Path(cluster, "bin/kubectl")), Place(Path(cluster).resolve())
    r = Recorder(kubectl)
    subprocess.run([kubectl, "create", "namespace", NAMESPACE], check=False)
    # containerd speaks TLS to every registry that nobody has told it of
    hosts = Path(cluster, "config/registries", REGISTRY)
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(f'server = "http://{REGISTRY}"\n')
    registry = subprocess.Popen(["nsenter", "-t", kubelet, "-n", sys.executable, str(HERE / "tiny_registry.py"), REGISTRY.split(":")[1]])
    try:
        node = json.loads(subprocess.run([kubectl, "get", "nodes", "-o", "json"], capture_output=True, check=True).stdout)["items"][0][
            "metadata"
        ]["name"]
        given: dict[Any, tuple[Any, ...]] = {scheduling: (node,), lost: (int(kubelet),), record_trouble.pressure: (place,)}
        given[record_trouble.shut_down] = (place,)
        given[record_trouble.image_disk] = (place, REGISTRY)
        for part in PARTS:
            if len(sys.argv) < 4 or part.__name__ in sys.argv[3:]:
                part(r, *given.get(part, ()))
    finally:
        shutil.rmtree(hosts)
        registry.kill()
        registry.wait()
        subprocess.run([kubectl, "delete", "namespace", NAMESPACE, "--wait=false"], check=False)
    FILE.parent.mkdir(exist_ok=True)
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    text = json.dumps({**known, **r.found}, indent=1, sort_keys=True, ensure_ascii=False)
    FILE.write_text(text.replace(str(place.directory), "/cluster") + "\n")


if __name__ == "__main__":
    main()
