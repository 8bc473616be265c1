"""CPU, memory and process limits of a workspace by control groups, version 2 or 1, where the machine allows it.

Where it does not, the workspace runs without limits and both its events and `ark doctor` say so. A group is joined by the
first process itself before it becomes the workspace, so nothing of it ever runs outside.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_extensions.domain.offers import Quantities
from ark_extensions.usecases.views import Sentence

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PERIOD_US = 100_000
#: how long the kernel may take to let go of processes that were killed
PATIENCE_SECONDS = 2.0
PIDS_MAX = 8192
MIB = 1024 * 1024
CONTROLLERS = ("memory", "cpu", "pids")
NO_LIMITS = Sentence("CPU and memory limits cannot be enforced on this machine: a workspace can use more than it bought.")
SOME_LIMITS = Sentence("Some limits cannot be enforced on this machine: {missing}. A workspace can use more of it than it bought.")


@dataclass(frozen=True)
class Group:
    """One workspace's group: a directory (version 2) or one for each controller (version 1)."""

    directories: dict[str, Path]
    version: int

    def as_state(self) -> dict[str, Any]:
        """What a restarted Hub needs to find it again: it may itself run in another group by then."""
        return {"version": self.version, "directories": {name: str(path) for name, path in self.directories.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Group:
        return cls({name: Path(path) for name, path in state["directories"].items()}, int(state["version"]))

    @property
    def joins(self) -> list[Path]:
        """The files into which the first process writes its number."""
        return [directory / "cgroup.procs" for directory in dict.fromkeys(self.directories.values())]

    def oom_kills(self) -> int:
        """How many processes the kernel has ended here because the memory was full."""
        directory = self.directories.get("memory")
        if directory is None:
            return 0
        return _counter(directory / ("memory.events" if self.version == 2 else "memory.oom_control"), "oom_kill")

    def processes(self) -> list[int]:
        """The numbers of all processes in it."""
        found: dict[int, None] = {}
        for directory in self.directories.values():
            for file in (directory / "cgroup.procs", *directory.glob("*/cgroup.procs")):
                found.update((int(word), None) for word in _read(file).split())
        return list(found)

    def kill(self) -> None:
        """End every process in it, at once."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def remove(self) -> bool:
        """Remove the group once it is empty; False if something is still in it after ``PATIENCE_SECONDS``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for directory in dict.fromkeys(self.directories.values()):
            while directory.exists():
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        return False
                    self.kill()
                    time.sleep(0.02)
            if self.version == 1:
                _remove_if_empty(directory.parent)
        return True


class ControlGroups:
    """The groups of one installation, below the group that the platform itself runs in.

    ``root``: where cgroup file systems are mounted; ``own``: the text of /proc/self/cgroup (both injected by tests).
    """

    def __init__(self, installation: str, *, root: Path = ROOT, own: str | None = None) -> None:
        self._name = f"ark-{installation}"
        self._root = root
        self._own = own if own is not None else _read(OWN)
        self.version = 2 if (root / "cgroup.controllers").exists() else 1
        self._parents = self._parents_v2() if self.version == 2 else self._parents_v1()

    @property
    def missing(self) -> tuple[str, ...]:
        """The controllers that cannot be used here."""
        return tuple(name for name in CONTROLLERS if name not in self._parents)

    def limits_status(self) -> Sentence | None:
        """None when all limits hold; else the sentence that says what is lost."""
        if not self.missing:
            return None
        return NO_LIMITS if len(self.missing) == len(CONTROLLERS) else Sentence(SOME_LIMITS.msgid, {"missing": ", ".join(self.missing)})

    def group(self, workspace_id: str) -> Group:
        """The workspace's group, whether it is there or not."""
        return Group({name: parent / workspace_id for name, parent in self._parents.items()}, self.version)

    def create(self, workspace_id: str, quantities: Quantities) -> Group:
        """Make the group and set its limits; a group left over from before is ended and removed first."""
        group = self.group(workspace_id)
        group.kill()
        group.remove()
        for directory in dict.fromkeys(group.directories.values()):
            _make(directory)
        for controller, directory in group.directories.items():
            for file, value in limits(quantities, version=self.version)[controller]:
                if (directory / file).exists() or self._root != ROOT:
                    (directory / file).write_text(value)
        return group

    def _parents_v1(self) -> dict[str, Path]:
        found = {}
        for controller, above in _above_v1(self._root, self._own).items():
            parent = above / self._name
            if _made(parent):
                found[controller] = parent
                _remove_if_empty(parent)
        return found

    def _parents_v2(self) -> dict[str, Path]:
        above = _above_v2(self._root, self._own)
        if above is None or (above != self._root and not _step_aside(above)):
            return {}
        parent = above / self._name
        if not _made(parent):
            return {}
        found = {}
        for controller in CONTROLLERS:
            if _write(above / "cgroup.subtree_control", f"+{controller}") and _write(parent / "cgroup.subtree_control", f"+{controller}"):
                found[controller] = parent
        return found


def missing_controllers(root: Path = ROOT, own: str | None = None) -> tuple[str, ...]:
    """The controllers that this account cannot use here: asked without making or moving anything."""
    own = own if own is not None else _read(OWN)
    if (root / "cgroup.controllers").exists():
        above = _above_v2(root, own)
        usable = set(_read(above / "cgroup.controllers").split()) if above is not None else set()
    else:
        usable = {name for name, above in _above_v1(root, own).items() if os.access(above, os.W_OK)}
    return tuple(name for name in CONTROLLERS if name not in usable)


def _above_v1(root: Path, own: str) -> dict[str, Path]:
    """For each controller the group that we run in: ours stand below it."""
    lines = [line.split(":", 2) for line in own.splitlines()]
    return {name: root / name / path.lstrip("/") for _, names, path in lines for name in names.split(",") if name in CONTROLLERS}


def _above_v2(root: Path, own: str) -> Path | None:
    """The root for root; else our own group where it was delegated to us (a user's systemd scope); None where it was not."""
    is_root = os.geteuid() == 0
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    group = root if is_root else root / path.lstrip("/")
    return group if (group != root or is_root) and os.access(group / "cgroup.subtree_control", os.W_OK) else None


def limits(quantities: Quantities, *, version: int) -> dict[str, list[tuple[str, str]]]:
    """The files and values that hold a workspace to what it bought."""
    memory, quota = str(quantities.memory_mib * MIB), quantities.vcpu * PERIOD_US
    if version == 2:
        return {
            "memory": [("memory.max", memory), ("memory.swap.max", "0")],
            "cpu": [("cpu.max", f"{quota} {PERIOD_US}")],
            "pids": [("pids.max", str(PIDS_MAX))],
        }
    return {
        "memory": [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)],
        "cpu": [("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", str(quota))],
        "pids": [("pids.max", str(PIDS_MAX))],
    }


def _step_aside(own: Path) -> bool:
    """Version 2 lets no group have both processes and limited children: move ours into a child of their own."""
    leaf = own / "ark-platform"
    if not _made(leaf):
        return False
    return all(_write(leaf / "cgroup.procs", pid) for pid in _read(own / "cgroup.procs").split())


def _made(directory: Path) -> bool:
    try:
        directory.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK)


def _make(directory: Path) -> None:
    """Make a group; the last stop of another workspace may remove their common parent at the same moment."""
    for _ in range(10):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    directory.mkdir(parents=True, exist_ok=True)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def _counter(path: Path, key: str) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdecimal():
            return int(value)
    return 0
