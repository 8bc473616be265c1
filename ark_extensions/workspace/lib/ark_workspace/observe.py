"""Look at the workspace: its processes in /proc, its terminals, kernels and GPUs. No decision is made here."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_workspace.activity import Look

TICKS = os.sysconf("SC_CLK_TCK")
PTS_MAJORS = range(136, 144)


@dataclass(frozen=True)
class Process:
    """What /proc/PID/stat says; seconds of processor time, ``reaped`` of children that ended."""

    pid: int
    parent: int
    terminal: int
    own: float
    reaped: float


class Observer:
    """Takes looks at the workspace that ``serverapp`` serves."""

    def __init__(self, serverapp: Any) -> None:
        self._serverapp = serverapp

    async def look(self) -> Look:
        busy, kernel_at = self._kernels()
        saved_at = getattr(self._serverapp.contents_manager, "saved_at", None)
        loop = asyncio.get_running_loop()
        cpu, terminal_at, gpu = await loop.run_in_executor(None, _look_at_machine)
        return Look(time.time(), cpu, busy, kernel_at, terminal_at, saved_at, gpu)

    def _kernels(self) -> tuple[int, float | None]:
        manager = self._serverapp.kernel_manager
        busy, last = 0, None
        for kernel_id in manager.list_kernel_ids():
            kernel = manager.get_kernel(kernel_id)
            busy += getattr(kernel, "execution_state", None) == "busy"
            moment = getattr(kernel, "last_activity", None)
            if moment is not None:
                last = max(last or 0.0, moment.timestamp())
        return busy, last


def _look_at_machine() -> tuple[float, float | None, int | None]:
    processes = workspace_processes(read_processes(), os.getpid(), alone=is_alone())
    return cpu_of(processes, is_overhead), terminal_moment(processes), gpu_percent()


def read_processes(proc: Path = Path("/proc")) -> list[Process]:
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets
        own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        found.append(Process(int(folder.name), int(fields[1]), int(fields[4]), own / TICKS, reaped / TICKS))
    return found


def is_alone(proc: Path = Path("/proc")) -> bool:
    """In a sandbox or a container of its own every process is the workspace's, also one that left its parents behind.

    Process 1 tells: it is the sandbox's (which hides its environment), or it has the workspace's environment.
    """
    mark = f"ARK_WORKSPACE={os.environ.get('ARK_WORKSPACE', '')}".encode()
    try:
        if (proc / "1" / "comm").read_text().strip() == "bwrap":
            return True
        return mark in (proc / "1" / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def workspace_processes(processes: Iterable[Process], server: int, *, alone: bool) -> list[Process]:
    """All processes when the workspace has a process namespace of its own, else the server and what descends from it."""
    everything = list(processes)
    if alone:
        return everything
    children: dict[int, list[Process]] = {}
    for process in everything:
        children.setdefault(process.parent, []).append(process)
    found = [p for p in everything if p.pid == server]
    for process in found:  # grows while we walk it
        found += children.get(process.pid, [])
    return found


def is_overhead(process: Process) -> bool:
    """The server itself and code-server's own processes: what they use is the price of an open tab, not work."""
    if process.pid == os.getpid():
        return True
    try:
        program = Path(os.readlink(f"/proc/{process.pid}/exe"))
    except OSError:
        return False
    node, editor = os.environ.get("ARK_NODE"), os.environ.get("ARK_CODE_SERVER")
    of_node = node is not None and program == (Path(node) / "bin/node").resolve()
    return of_node or (editor is not None and program.is_relative_to(Path(editor).resolve()))


def cpu_of(processes: Iterable[Process], overhead: Any) -> float:
    """Seconds used by the processes and by their children that ended; of overhead only what its children used."""
    return sum(p.reaped + (0.0 if overhead(p) else p.own) for p in processes)


def terminal_moment(processes: Iterable[Process], pts: Path = Path("/dev/pts")) -> float | None:
    """When a terminal of the workspace last printed or was typed into: the kernel keeps it as the device's times
    (to 8 seconds), for JupyterLab's, VS Code's and SSH's terminals alike."""
    processes = list(processes)
    mine = next((p.terminal for p in processes if p.pid == os.getpid()), 0)
    moments = []
    for terminal in {p.terminal for p in processes} - {mine, 0}:
        major, minor = (terminal >> 8) & 0xFFF, (terminal & 0xFF) | ((terminal >> 12) & 0xFFF00)
        if major in PTS_MAJORS:
            try:
                info = (pts / str((major - PTS_MAJORS.start) * 256 + minor)).stat()
            except OSError:
                continue
            moments.append(max(info.st_atime, info.st_mtime))
    return max(moments, default=None)


def gpu_percent() -> int | None:
    """Utilisation of the busiest GPU in per cent; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return max((int(line) for line in answer.split() if line.isdecimal()), default=None)
