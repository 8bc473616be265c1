"""Processes of the host, named so that a reused number is never taken for ours: number, start time and boot together.

A workspace's first process writes its own mark before anything else, so that a Hub killed between starting it and
recording it finds it again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: sh (absolute names only: PATH is the workspace's): the mark's file, then the cgroup.procs files to join, `--`, and the
#: command that takes this process over
WRAPPER = (
    'mark=$1; shift; /bin/cat /proc/$$/stat /proc/sys/kernel/random/boot_id > "$mark.new" && /bin/mv "$mark.new" "$mark" || exit 97; '
    'while [ "$1" != -- ]; do echo $$ > "$1" || exit 98; shift; done; shift; exec "$@"'
)
#: exit codes of the wrapper that say it did not get as far as the command
MARK_FAILED, JOIN_FAILED = 97, 98


@dataclass(frozen=True)
class Mark:
    """One process of this boot. ``started_ticks``: its start time, as /proc/PID/stat has it."""

    pid: int
    started_ticks: int
    boot_id: str


def wrapped(command: list[str], *, mark: Path, join: Iterable[Path]) -> list[str]:
    """The command with the wrapper around it."""
    return ["/bin/sh", "-c", WRAPPER, "ark", str(mark), *map(str, join), "--", *command]


def read_mark(path: Path) -> Mark | None:
    """The mark in a file: as the wrapper writes it, a stat line and the boot; None when there is none or it is not one."""
    try:
        text = path.read_text()
    except OSError:
        return None
    stat, _, boot = text.rstrip("\n").rpartition("\n")
    parsed = _parse(stat)
    return Mark(parsed[0], parsed[2], boot) if parsed and boot else None


def write_mark(path: Path, mark: Mark) -> None:
    """Write a mark as the wrapper does, as far as `read_mark` reads it."""
    unread = " 0" * 17
    path.write_text(f"{mark.pid} () S 0{unread} {mark.started_ticks}\n{mark.boot_id}\n")


def mark_of(pid: int) -> Mark | None:
    """The mark of a live process; None when it is gone."""
    found = _stat(pid)
    return Mark(pid, found[2], BOOT_ID.read_text().strip()) if found and found[1] not in "ZX" else None


def is_alive(mark: Mark) -> bool:
    """It runs still: same number, same start, same boot, and no zombie."""
    return mark_of(mark.pid) == mark


def children(pid: int) -> list[int]:
    """The direct children of a process; empty when it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return [] if not Path(f"/proc/{pid}").exists() else _children_by_scan(pid)
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    found, pending = list[int](), [pid]
    while pending:
        pending = [child for parent in pending for child in children(parent)]
        found += pending
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _children_by_scan(pid: int) -> list[int]:
    """For kernels that have no `children` file."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            stat = _stat(int(entry.name))
            if stat and stat[3] == pid:
                found.append(int(entry.name))
    return found


def _stat(pid: int) -> tuple[int, str, int, int] | None:
    try:
        return _parse(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return None


def _parse(text: str) -> tuple[int, str, int, int] | None:
    """(pid, state, start ticks, parent) of a stat line; the command's name may hold anything, so count from its end."""
    head, _, rest = text.rpartition(")")
    words = rest.split()
    try:
        return int(head.split(" ", 1)[0]), words[0], int(words[19]), int(words[1])
    except (ValueError, IndexError):
        return None
