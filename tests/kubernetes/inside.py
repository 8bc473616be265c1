"""The first process inside a cluster's name spaces: prepares them, starts the parts, keeps them running, reaps.

When it ends, the kernel ends every process of the cluster, containers too, and with them go mounts and network.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.kubernetes import parts
from tests.kubernetes.parts import Part
from tests.kubernetes.place import API_PORT, HIDDEN, Place, Running

#: /proc/sys files that the kubelet wants so; it sees ours and leaves the machine's alone
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
CABLE_SECONDS = 20.0
RESTART_SECONDS = 1.0


class Keeper:
    """Starts parts when what they wait for is there, and again when they end."""

    def __init__(self, logs: Path, wanted: list[Part], path: str) -> None:
        self._logs, self._wanted, self._path = logs, wanted, path
        self._running: dict[int, Part] = {}
        self._not_before = {part.name: 0.0 for part in wanted}
        self._reached: set[str] = {""}
        self._ending = False

    def run(self, reached: dict[str, Callable[[], bool]]) -> None:
        """Until SIGTERM. ``reached``: a question for each thing that parts wait for."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        while not self._ending:
            for name, question in reached.items():
                if name not in self._reached and question():
                    self._reached.add(name)
            self._start_due()
            self._reap()
            time.sleep(0.1)
        self._end_all()

    def _end(self, number: int, frame: object) -> None:
        self._ending = True

    def _start_due(self) -> None:
        alive = {part.name for part in self._running.values()}
        now = time.monotonic()
        for part in self._wanted:
            if part.name not in alive and part.after in self._reached and now >= self._not_before[part.name]:
                self._running[self._start(part)] = part

    def _start(self, part: Part) -> int:
        with (self._logs / f"{part.name}.log").open("ab") as log:
            process = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={"PATH": self._path, "HOME": "/root", "LANG": "C.UTF-8"},
            )
        return process.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            part = self._running.pop(pid, None)
            if part is not None:
                print(f"{part.name} ended with status {os.waitstatus_to_exitcode(status)}", flush=True)
                self._not_before[part.name] = time.monotonic() + RESTART_SECONDS

    def _end_all(self) -> None:
        """The kubelet first, so that it starts nothing anew; then everything at once: nothing here is worth a slow end."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)


def main(directory: str) -> None:
    ctypes.CDLL(None).prctl(15, b"ark-cluster", 0, 0, 0)
    place = Place(Path(directory))
    config = json.loads((place.config / "inside.json").read_text())
    running = Running(config["number"])
    prepare_mounts(place)
    prepare_network(f"{running.network.node}/30", running.network.host)
    Keeper(place.logs, parts.all_parts(place, running.network, config), config["path"]).run(questions(place, running))


def questions(place: Place, running: Running) -> dict[str, Callable[[], bool]]:
    """For what parts wait for: whether it is there."""
    probe = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    base = f"https://{running.network.node}:{API_PORT}"
    return {
        "api": lambda: answers(f"{base}/readyz", probe),
        "containerd": lambda: (Path(parts.CONTAINERD_SOCKET)).exists(),
    }


def answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)).open(
            url, timeout=2
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def prepare_mounts(place: Place) -> None:
    for hidden in HIDDEN:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "ark-cluster", hidden)
    # what the kubelet mounts must reach the containers, and nobody outside
    run("mount", "--make-rshared", "/")
    for name, value in KERNEL_SETTINGS.items():
        setting = Path("/proc/sys", name)
        if setting.exists() and setting.read_text().strip() != value:
            shown = Path("/run/ark-kernel", name)
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.write_text(f"{value}\n")
            run("mount", "--bind", str(shown), str(setting))
    # containers may need what the machine resolves names by
    (Path("/run") / "resolv.conf").write_text((place.config / "resolv.conf").read_text())


def prepare_network(address: str, gateway: str) -> None:
    """Take our end of the cable, which is put here after we have started."""
    deadline = time.monotonic() + CABLE_SECONDS
    while not Path("/proc/net/dev").read_text().count("cable:"):
        if time.monotonic() > deadline:
            raise SystemExit("the network cable did not come")
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", address, "dev", "cable")
    run("ip", "link", "set", "cable", "up")
    run("ip", "route", "add", "default", "via", gateway)
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        setting = Path("/proc/sys", name)
        if setting.exists():
            setting.write_text("1")


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1])
