"""A second node for a running cluster: kubelet, containerd, kube-proxy and firewall of their own, in name spaces within the
cluster's, with a cable to the first node. It shares the machine's file system, so disks and what stands for NFS are there too.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ark_extensions.environments import PROJECT
from tests.kubernetes import parts, processes, teardown
from tests.kubernetes.build import Programs
from tests.kubernetes.inside import Keeper, prepare_mounts, prepare_network, questions
from tests.kubernetes.place import Machine, Place, Running, second_machine, started_at

START_SECONDS, END_SECONDS = 60.0, 30.0


@dataclass(frozen=True)
class SecondNode:
    """``pid``: its first process, as the host counts."""

    machine: Machine
    pid: int

    def power_off(self) -> None:
        """At once everything that runs on it is gone, containers too; the cluster is told by nobody."""
        began = started_at(self.pid)
        if began < 0:
            return
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while started_at(self.pid) == began and time.monotonic() < deadline:
            time.sleep(0.05)

    @contextmanager
    def short_of_memory(self) -> Iterator[None]:
        """Its kubelet is told to want more than there is, while the block lasts: softly, for what is wanted at any price is not
        for sale either, and pods that do not fit what is left are refused, not put out."""
        file, what = self.machine.config / "kubelet.json", "memory.available"
        before = file.read_text()
        try:
            wanted = {"evictionSoft": {what: "99%"}, "evictionSoftGracePeriod": {what: "1s"}}
            file.write_text(json.dumps({**json.loads(before), **wanted}))
            self._new_kubelet()
            yield
        finally:
            file.write_text(before)
            self._new_kubelet()

    def _new_kubelet(self) -> None:
        """Another in its place; containers do not notice."""
        line = ["pgrep", "-f", f"kubelet --config={self.machine.config}/"]
        for pid in subprocess.run(line, capture_output=True, text=True, check=False).stdout.split():
            os.kill(int(pid), signal.SIGKILL)


@contextmanager
def joined(place: Place, built: Programs, archives: Iterable[Path]) -> Iterator[SecondNode]:
    """Ready, with these images, while the block lasts; then it is powered off and struck off the cluster's records.
    Its files stay until the cluster's go: they are many."""
    running = Running.read(place)
    if running is None or not running.alive:
        raise processes.NotUp(f"no cluster runs in {place.directory}")
    machine = second_machine(place, running.network)
    if machine.home.exists():  # of one that was here before; its mounts went with its name space
        shutil.rmtree(machine.home)
    processes.write_machine(place, running.network, machine)
    node = SecondNode(machine, _start(place, running, machine))
    try:
        _lay_cable(running, node)
        bin_ = machine.home / "bin"
        bin_.mkdir(exist_ok=True)
        processes.write_ctr(bin_, built, str(node.pid))
        processes.wait(lambda: processes.node_is_ready(place, machine.name), START_SECONDS, place, "the second node is not ready")
        processes.import_pause(bin_, built)
        for archive in archives:
            processes.import_archive(bin_, archive)
        yield node
    finally:
        node.power_off()
        processes.kubectl(place, "delete", "node", machine.name, "--ignore-not-found", "--wait=false")
        _remove_cable(running)
        teardown.remove_cgroups(machine.cgroup)


def _start(place: Place, running: Running, machine: Machine) -> int:
    """Its first process, which has a name space of processes of its own: with it everything ends."""
    here = ["unshare", *processes.NAMESPACES, "--kill-child", sys.executable, "-m", "tests.kubernetes.second", str(place.directory)]
    with (machine.logs / "node.log").open("ab") as log:
        outer = subprocess.Popen(
            processes.inside(running, *here),
            cwd=PROJECT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    processes.keep(outer)
    return processes.first_child(processes.first_child(outer.pid, machine.logs), machine.logs)


def _lay_cable(running: Running, node: SecondNode) -> None:
    """Between the first node and this one. Pods of both speak to each other under their own addresses, as policies know them."""
    network = running.network
    theirs = ["nsenter", "--target", str(running.pid), "--net", "--"]
    for command in (
        ["ip", "link", "add", "second", "type", "veth", "peer", "name", "cable", "netns", str(node.pid)],
        ["ip", "address", "add", f"{network.second_cable[0]}/30", "dev", "second"],
        ["ip", "link", "set", "second", "up"],
        ["ip", "route", "add", node.machine.pods, "via", node.machine.address],
        ["iptables", "-w", "-t", "nat", "-I", *_unmasked(network.halves)],
    ):
        subprocess.run([*theirs, *command], check=True, capture_output=True)


def _remove_cable(running: Running) -> None:
    theirs = ["nsenter", "--target", str(running.pid), "--net", "--"]
    for command in (["ip", "link", "delete", "second"], ["iptables", "-w", "-t", "nat", "-D", *_unmasked(running.network.halves)]):
        subprocess.run([*theirs, *command], check=False, capture_output=True)


def _unmasked(halves: tuple[str, str]) -> list[str]:
    return ["POSTROUTING", "-s", halves[0], "-d", halves[1], "-j", "ACCEPT"]


def main(directory: str) -> None:
    """The second node's first process."""
    ctypes.CDLL(None).prctl(15, b"ark-cluster", 0, 0, 0)
    place = Place(Path(directory))
    config = json.loads((place.config / "inside.json").read_text())
    running = Running(config["number"])
    machine = second_machine(place, running.network)
    prepare_mounts(place)
    prepare_network(f"{machine.address}/30", running.network.second_cable[0])
    first, second = running.network.halves
    subprocess.run(["iptables", "-w", "-t", "nat", "-I", *_unmasked((second, first))], check=True)
    Keeper(machine.logs, parts.machine_parts(place, running.network, machine, config), config["path"]).run(questions(place, running))


if __name__ == "__main__":
    main(sys.argv[1])
