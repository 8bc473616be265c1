"""The cluster itself: what the platform relies on is there, and nothing of it is left behind."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.cluster.conftest import Cluster
from tests.kubernetes import build, images, objects, processes, teardown
from tests.kubernetes.place import Place
from tests.platform import wait_until


def test_it_is_the_pinned_version_and_its_node_has_gpus(cluster: Cluster) -> None:
    cluster.ours()
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == build.version(
        "control", "k8s.io/kubernetes"
    )
    node = cluster.get("node", cluster.node)
    assert node["status"]["allocatable"][objects.GPU] == str(objects.GPU_COUNT)
    assert node["metadata"]["labels"][f"{objects.GPU}.product"] == objects.GPU_MODEL


def test_a_claim_becomes_a_disk_that_grows_and_goes(pods: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "bring-up", "namespace": pods.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    pods.apply(claim)
    volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "bring-up"}}]
    limits = {"cpu": "100m", **({objects.GPU: "1"} if pods.place else {})}
    mounts = {"volumeMounts": [{"name": "home", "mountPath": "/home/user"}], "resources": {"limits": limits}}
    pods.run_pod(
        "bring-up",
        pods.image("base"),
        ["sh", "-c", "echo kept > /home/user/file; exec sleep infinity"],
        spec={"volumes": volumes},
        container=mounts,
        labels={"ark-test": "here"},
    )
    name = pods.get("pvc", "bring-up", "-n", pods.namespace)["spec"]["volumeName"]
    wait_until(lambda: pods.execute("bring-up", "cat", "/home/user/file", check=False) == "kept\n")
    pods.kubectl("patch", "pvc", "bring-up", "-n", pods.namespace, "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}')
    wait_until(lambda: pods.get("pvc", "bring-up", "-n", pods.namespace)["status"]["capacity"]["storage"] == "2Gi")
    pods.remove_pod("bring-up")
    pods.kubectl("delete", "pvc", "bring-up", "-n", pods.namespace)
    wait_until(lambda: pods.get("pv", name) is None)
    assert pods.place is None or not (pods.place.disks / name).exists()


def test_policies_are_enforced_on_real_packets(pods: Cluster) -> None:
    labels = {"ark-test": "here", "talks": "no"}
    address = pods.run_pod("server", pods.image("base"), ["perl", "-MIO::Socket", "-e", SERVER], labels={"ark-test": "here"})
    pods.run_pod("client", pods.image("base"), ["sleep", "infinity"], labels=labels)
    probe = ["bash", "-c", f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/8080' && echo open || echo shut"]
    wait_until(lambda: pods.execute("client", *probe).strip() == "open")
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "bring-up", "namespace": pods.namespace},
        "spec": {"podSelector": {"matchLabels": {"talks": "no"}}, "policyTypes": ["Egress"], "egress": []},
    }
    pods.apply(policy)
    try:
        wait_until(lambda: pods.execute("client", *probe).strip() == "shut")
    finally:
        pods.kubectl("delete", "networkpolicy", "bring-up", "-n", pods.namespace)
    wait_until(lambda: pods.execute("client", *probe).strip() == "open")


SERVER = "$s = IO::Socket::INET->new(Listen => 9, LocalPort => 8080, ReuseAddr => 1) or die; while ($c = $s->accept) { close $c }"


def test_a_second_up_finds_the_running_one(cluster: Cluster) -> None:
    place = cluster.ours()
    before = place.state.read_text()
    began = time.monotonic()
    processes.up(place, build.programs())
    assert place.state.read_text() == before
    assert time.monotonic() - began < 5


def test_down_leaves_nothing(cluster: Cluster) -> None:
    """Another cluster beside the one that runs, with a pod and a mounted disk, is taken down: the machine is as before."""
    cluster.ours()
    place = Place(Path(tempfile.mkdtemp(prefix="ark-k8s-")))
    before = traces()
    running = processes.up(place, build.programs(), outlives_us=False)
    own = Cluster(place.kubeconfig, running.network.host, place)
    processes.import_archive(place.bin, images.ensure(["base"])["base"])
    own.run_pod("left", own.image("base"), ["sleep", "infinity"], spec=NETDISK)
    assert traces() != before
    assert teardown.down(place)
    wait_until(lambda: not left_behind(before), seconds=20, message=f"left behind: {left_behind(before)}")
    assert not place.directory.exists()
    assert not teardown.down(place)


NETDISK = {"volumes": [{"name": "net", "persistentVolumeClaim": {"claimName": objects.FILES}}]}


def traces() -> dict[str, list[str]]:
    """What a cluster could leave on a machine."""

    def lines(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    programs = str(build.programs().control.parent / "kubernetes"), str(build.programs().containerd)
    return {
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if "buildah" not in line),
        "links": sorted(line.split()[0].split("@")[0] for line in lines("ip", "-brief", "link") if not line.startswith("ifb")),
        "routes": sorted(lines("ip", "route")),
        "rules": sorted(rule for rule in lines("iptables-save") if rule.startswith(("-A", ":KUBE"))),
        "cgroups": sorted(str(one) for root in teardown.cgroup_roots() for one in root.glob("ark-k*")),
        "processes": sorted(count(programs)),
        "files": sorted(str(one) for place in ("/run", "/var/lib", "/var/log") for one in Path(place).glob("*") if "ark" in one.name),
        "forwarding": [Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()],
        "kernel": [Path("/proc/sys/vm/overcommit_memory").read_text(), Path("/proc/sys/kernel/panic").read_text()],
    }


def count(programs: tuple[str, ...]) -> list[str]:
    """The command names of the cluster's processes, those of other clusters too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            except OSError:
                continue
            if line.startswith(programs) or line == "ark-cluster":
                found.append(line)
    return found


def left_behind(before: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is there now and was not before; the other cluster's pods may have ended meanwhile."""
    now = traces()
    more = {name: list((Counter(now[name]) - Counter(before[name])).elements()) for name in now}
    return {name: found for name, found in more.items() if found}
