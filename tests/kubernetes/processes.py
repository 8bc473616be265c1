"""Bringing a cluster up, from the host's side."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ark_extensions.environments import PROJECT
from tests.kubernetes import objects, parts, teardown
from tests.kubernetes.archives import archive, pause_layer
from tests.kubernetes.build import Programs
from tests.kubernetes.place import (
    API_PORT,
    NAMESPACE,
    NODE,
    SECOND_NODE,
    UID,
    Machine,
    Network,
    Place,
    Running,
    first_machine,
    started_at,
)

API_SECONDS, NODE_SECONDS = 120.0, 120.0
MOST_CLUSTERS = 50
NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--fork", "--mount-proc", "--propagation", "private")


#: the parents of first processes; they end with their cluster, and Python complains of children that it has forgotten
_PARENTS: list[subprocess.Popen[bytes]] = []


class NotUp(Exception):
    """The cluster did not come up; the text says why and where to look."""


def up(place: Place, built: Programs, *, outlives_us: bool = True) -> Running:
    """A running cluster in ``place``: the one that is there, or a new one, with what it took printed. ``outlives_us``: False for
    one that must not stay behind when this process is killed."""
    if problem := place.problem():
        raise NotUp(problem)
    place.directory.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(place):
        running = Running.read(place)
        if running is not None and running.alive:
            print(f"A cluster runs in {place.directory}: export KUBECONFIG={place.kubeconfig}")
            return running
        teardown.down(place)
        place.directory.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        running = _cable_and_start(place, built, outlives_us)
        try:
            wait(lambda: kubectl(place, "get", "--raw", "/readyz").returncode == 0, API_SECONDS, place, "the API server does not answer")
            print(f"The API server answers after {time.monotonic() - began:.1f} s.", flush=True)
            _furnish(place)
            wait(lambda: node_is_ready(place), NODE_SECONDS, place, "the node is not ready")
            print(f"The node is ready after {time.monotonic() - began:.1f} s.", flush=True)
            _pretend_gpus(place)
            import_pause(place.bin, built)
        except BaseException:
            teardown.down(place, keep_logs=True)
            raise
        wait(lambda: _default_account(place), 30.0, place, "no service account was made")
        print(f"export KUBECONFIG={place.kubeconfig}")
        return running


def kubectl(place: Place, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(place.bin / "kubectl"), *arguments]
    return subprocess.run(command, input=given or "", capture_output=True, text=True, timeout=120, check=False)


def inside(running: Running, *command: str) -> list[str]:
    """A command line that runs ``command`` in the cluster's name spaces."""
    return ["nsenter", "--target", str(running.pid), "--mount", "--pid", "--net", "--ipc", "--", *command]


def _cable_and_start(place: Place, built: Programs, outlives_us: bool) -> Running:
    for number in range(MOST_CLUSTERS):
        network = Network(number)
        if network.whole[:-5] in subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout:
            continue
        _write(place, network, built)
        first = _start(place, outlives_us)
        running = Running(number, first, started_at(first), Path("/proc/sys/net/ipv4/ip_forward").read_text().strip())
        running.write(place)
        if _lay_cable(running):
            return running
        os.kill(first, 9)  # another cluster has taken the number at this very moment
    raise NotUp(f"{MOST_CLUSTERS} clusters run on this machine already")


def _start(place: Place, outlives_us: bool) -> int:
    """The first process in name spaces of its own; its id as the host counts."""
    bound = [] if outlives_us else ["setpriv", "--pdeathsig", "KILL"]
    with (place.logs / "cluster.log").open("ab") as log:
        parent = subprocess.Popen(
            [*bound, "unshare", *NAMESPACES, "--kill-child", sys.executable, "-m", "tests.kubernetes.inside", str(place.directory)],
            cwd=PROJECT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    keep(parent)
    return first_child(parent.pid, place.logs)


def keep(parent: subprocess.Popen[bytes]) -> None:
    _PARENTS.append(parent)


def first_child(parent: int, logs: Path) -> int:
    """Both as the host counts."""
    deadline = time.monotonic() + 10
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while time.monotonic() < deadline and started_at(parent) >= 0:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.01)
    raise NotUp(f"a first process did not start; see {logs}")


def _lay_cable(running: Running) -> bool:
    """A network cable between the host and the cluster; False when its number is taken."""
    network = running.network
    cable = ["ip", "link", "add", network.link, "type", "veth", "peer", "name", "cable", "netns", str(running.pid)]
    if subprocess.run(cable, capture_output=True, check=False).returncode != 0:
        return False
    for command in (
        ["ip", "address", "add", f"{network.host}/30", "dev", network.link],
        ["ip", "link", "set", network.link, "up"],
        ["ip", "route", "add", network.whole, "via", network.node],
    ):
        subprocess.run(command, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for rule in teardown.firewall_rules(network):
        subprocess.run(["iptables", "-w", "-t", rule[0], "-I", *rule[1:]], check=True)
    return True


def _write(place: Place, network: Network, built: Programs) -> None:
    """All files that the parts read."""
    for directory in (place.bin, place.disks, place.shared):
        directory.mkdir(parents=True, exist_ok=True)
    os.chown(place.shared, UID, UID)
    addresses = f"{network.node},{network.services.rsplit('.', 1)[0]}.1,127.0.0.1"
    certificates = [str(built.control / "certificates"), f"--directory={place.pki}", f"--addresses={addresses}"]
    subprocess.run([*certificates, f"--port={API_PORT}", f"--nodes={NODE},{SECOND_NODE}"], check=True)
    place.kubeconfig.write_bytes((place.pki / "admin.kubeconfig").read_bytes())
    place.kubeconfig.chmod(0o600)
    write_machine(place, network, first_machine(place, network))
    (place.config / "resolv.conf").write_text(_resolver())
    programs = {"control": str(built.control), "containerd": str(built.containerd), "path": built.path}
    (place.config / "inside.json").write_text(json.dumps({"number": network.number, **programs}))
    _wrapper(place.bin / "kubectl", f'KUBECONFIG={place.kubeconfig} exec {built.control}/kubectl "$@"')
    write_ctr(place.bin, built, f"$(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' {place.state})")


def write_machine(place: Place, network: Network, machine: Machine) -> None:
    """What a node's own parts read, and its cgroups."""
    files = {
        "kubelet.json": json.dumps(parts.kubelet_config(place, machine, _nameservers(_resolver()))),
        "kube-proxy.json": json.dumps(parts.kube_proxy_config(place, network, machine)),
        "containerd.toml": parts.containerd_config(machine, _snapshotter(place)),
        "cni/10-pods.conflist": parts.cni_config(machine, _mtu()),
    }
    for directory in (machine.config / "cni", machine.logs):
        directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (machine.config / name).write_text(text)
    for controller in teardown.cgroup_roots():
        _make_cgroup(controller, machine.cgroup)


def write_ctr(bin_: Path, built: Programs, pid: str) -> None:
    """``pid``: the node's first process, or what a shell finds it by."""
    _wrapper(bin_ / "ctr", f'exec nsenter -t {pid} -m -p -n -i -- {built.containerd}/ctr -n k8s.io "$@"')


def _wrapper(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def _make_cgroup(controller: Path, name: str) -> None:
    place = controller / name
    place.mkdir(exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: a new group has none, and takes no process
        if (place / setting).exists() and not (place / setting).read_text().strip():
            (place / setting).write_text((controller / setting).read_text())
    offered = controller / "cgroup.controllers"
    if offered.exists():
        wanted = " ".join(f"+{one}" for one in offered.read_text().split())
        for group in (controller, place):
            (group / "cgroup.subtree_control").write_text(wanted)


def _resolver() -> str:
    """The machine's resolvers; a local stub cannot be reached from a pod, so systemd's own list is taken."""
    text = Path("/etc/resolv.conf").read_text()
    upstream = Path("/run/systemd/resolve/resolv.conf")
    if any(address.startswith("127.") for address in _nameservers(text)) and upstream.exists():
        return upstream.read_text()
    return text


def _nameservers(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and len(line.split()) > 1]


def _snapshotter(place: Place) -> str:
    """overlayfs where the kernel has it and the directory's file system can carry it."""
    trial = place.directory / "overlay-trial"
    layers = [trial / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={layers[0]},upperdir={layers[1]},workdir={layers[2]}"
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(layers[3])], capture_output=True, check=False)
    if mounted.returncode == 0:
        subprocess.run(["umount", str(layers[3])], check=True)
    subprocess.run(["rm", "-rf", "--one-file-system", str(trial)], check=True)
    return "overlayfs" if mounted.returncode == 0 else "native"


def _mtu() -> int:
    """The smallest of the machine's own network cards: pods' packets must pass all of them."""
    cards = [card for card in Path("/sys/class/net").iterdir() if (card / "device").exists() and (card / "mtu").exists()]
    return min([1500, *(int((card / "mtu").read_text()) for card in cards)])


def _furnish(place: Place) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": objects.fresh(place)}
    done = kubectl(place, "apply", "-f", "-", given=json.dumps(items))
    if done.returncode != 0:
        raise NotUp(f"the cluster could not be furnished: {done.stderr}")


def node_is_ready(place: Place, node: str = NODE) -> bool:
    path = "{.status.conditions[?(@.type=='Ready')].status}"
    return kubectl(place, "get", "node", node, "-o", f"jsonpath={path}").stdout == "True"


def _default_account(place: Place) -> bool:
    return kubectl(place, "get", "serviceaccount", "default", "-n", NAMESPACE).returncode == 0


def _pretend_gpus(place: Place) -> None:
    kubectl(place, "label", "node", NODE, *(f"{name}={value}" for name, value in objects.node_labels().items()))
    done = kubectl(place, "patch", "node", NODE, "--subresource=status", "--type=merge", "-p", json.dumps(objects.node_status()))
    if done.returncode != 0:
        raise NotUp(f"the node did not take its GPUs: {done.stderr}")


def import_pause(bin_: Path, built: Programs) -> None:
    """The image that every pod's sandbox needs."""
    file = bin_ / "pause.tar"
    archive(file, parts.PAUSE_IMAGE, pause_layer(built.control / "pause"), entrypoint=["/pause"])
    import_archive(bin_, file)
    file.unlink()


def import_archive(bin_: Path, file: Path) -> None:
    """Bring a docker-archive into the containerd of the node whose programs are in ``bin_``."""
    command = [str(bin_ / "ctr"), "images", "import", "--local", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise NotUp(f"{file.name} could not be imported: {done.stderr}")


def wait(what: Callable[[], bool], seconds: float, place: Place, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise NotUp(f"{complaint} after {seconds:.0f} s; its logs: {place.logs}")
        time.sleep(0.2)


@contextmanager
def _one_at_a_time(place: Place) -> Iterator[None]:
    with place.directory.with_name(place.directory.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
