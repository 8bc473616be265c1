"""Taking a cluster down so that nothing of it is left: the first process's end takes everything in its name spaces along; cable,
firewall rules and cgroups follow; files go last."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.kubernetes.place import Network, Place, Running, started_at

END_SECONDS = 30.0
CGROUPS = Path("/sys/fs/cgroup")


def down(place: Place, *, keep_logs: bool = False) -> bool:
    """End and remove the cluster in ``place``; whether there was one."""
    running = Running.read(place)
    if running is not None:
        _end(running)
        _remove_network(running)
        remove_cgroups(running.network.cgroup)
    if keep_logs:
        for entry in place.directory.iterdir():
            if entry.name not in ("logs", "config"):
                _remove(entry)
    else:
        _remove(place.directory)
        place.directory.with_name(place.directory.name + ".lock").unlink(missing_ok=True)
    return running is not None


def firewall_rules(network: Network) -> list[tuple[str, ...]]:
    """The host's rules for a cluster: table, chain, match and target. Addresses are hidden behind the host's own on the way out."""
    mark = ("-m", "comment", "--comment", network.link)
    return [
        ("nat", "POSTROUTING", "-s", network.whole, "!", "-o", network.link, *mark, "-j", "MASQUERADE"),
        ("filter", "FORWARD", "-i", network.link, *mark, "-j", "ACCEPT"),
        ("filter", "FORWARD", "-o", network.link, *mark, "-j", "ACCEPT"),
    ]


def cgroup_roots() -> list[Path]:
    """The root of each hierarchy: several with version 1, one with version 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted({one.resolve() for one in CGROUPS.iterdir() if (one / "cgroup.procs").exists()})


def _end(running: Running) -> None:
    if not running.alive:
        return
    os.kill(running.pid, signal.SIGKILL)  # the kernel ends all others of its name space with it
    deadline = time.monotonic() + END_SECONDS
    while started_at(running.pid) == running.began and time.monotonic() < deadline:
        time.sleep(0.05)


def _remove_network(running: Running) -> None:
    network = running.network
    subprocess.run(["ip", "link", "delete", network.link], capture_output=True, check=False)
    for rule in firewall_rules(network):
        subprocess.run(["iptables", "-w", "-t", rule[0], "-D", *rule[1:]], capture_output=True, check=False)
    if running.forwarding_before == "0" and not list(Path("/sys/class/net").glob("ark-k*")):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def remove_cgroups(name: str) -> None:
    """Those of a node or a cluster whose processes have been ended."""
    deadline = time.monotonic() + END_SECONDS
    for root in cgroup_roots():
        ours = root / name
        while ours.exists() and time.monotonic() < deadline:
            for directory, _, _ in os.walk(ours, topdown=False):
                with contextlib.suppress(OSError):  # busy until the kernel has buried the last process
                    os.rmdir(directory)
            if ours.exists():
                time.sleep(0.05)


def _remove(entry: Path) -> None:
    """Never across a mount: what is mounted below is somebody's data."""
    if not entry.exists():
        return
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if any(Path(mount).is_relative_to(entry) for mount in mounts):
        raise RuntimeError(f"something is still mounted under {entry}; it was not removed")
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
