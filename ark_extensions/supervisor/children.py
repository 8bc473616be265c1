"""One supervised process: started so that it cannot outlive the supervisor, restarted with growing patience."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
# a process that lived this long was well: its next failure counts as the first
STEADY_SECONDS = 30.0


@dataclass(frozen=True)
class Service:
    """What to run. ``stop_seconds``: how long it may take to end after SIGTERM before it is killed."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: float = 10.0


def restart_delay_seconds(failures: int) -> float:
    """How long to wait before the next start after ``failures`` in a row: 0.2 s, doubling, at most 10 s."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(max(0, failures - 1), 10))


class Child:
    """A service's present process, if any, and its record of failures. Times are of one monotonic clock, in seconds."""

    def __init__(self, service: Service, log_path: Path) -> None:
        self.service = service
        self.log_path = log_path
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.starts = 0
        self.restart_at: float | None = None
        self._started_at = 0.0

    def start(self, now: float) -> None:
        parent = os.getpid()

        def die_with_the_supervisor() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with self.log_path.open("ab") as log:
            # its own session: Ctrl-C at the terminal must reach the supervisor alone, which stops things in order
            self.process = subprocess.Popen(
                list(self.service.argv),
                env=dict(self.service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_the_supervisor,
            )
        self.starts += 1
        self.restart_at = None
        self._started_at = now

    def reap(self, now: float) -> int | None:
        """The exit code if it has just ended (and plans the restart), else None."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        self.failures = 1 if now - self._started_at >= STEADY_SECONDS else self.failures + 1
        self.restart_at = now + restart_delay_seconds(self.failures)
        return code

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """End what the process has left in its session (a spawner's workspaces are in sessions of their own)."""
        if self.process is not None:
            kill_group(self.process.pid)

    def wait(self, seconds: float) -> bool:
        if self.process is None:
            return True
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def start_time(pid: int) -> str | None:
    """The kernel's start time of a process, which tells it from a later one with the same id; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else fields[19]


def age_seconds(pid: int) -> float | None:
    """How long a process has been there; None if it is gone."""
    started = start_time(pid)
    if started is None:
        return None
    return float(Path("/proc/uptime").read_text().split()[0]) - int(started) / os.sysconf("SC_CLK_TCK")
