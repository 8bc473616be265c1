"""The supervisor: start, watch, restart, and stop in order.

Promises: while it runs, each service runs or is about to be restarted; a signal stops the first service of
``stop_order`` before the others; when it ends, whatever the way, none of its services is left (the kernel kills
them if it is killed). One thread, so that nothing runs between fork and exec but what `Child.start` says.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ark_extensions.supervisor.children import Child, Service, kill_group, start_time
from ark_extensions.supervisor.logs import rotate, tail
from ark_extensions.supervisor.words import phrase

ROTATE_EVERY_SECONDS = 30.0
PROBE_EVERY_SECONDS = 0.1
MEND_EVERY_SECONDS = 0.3
READY_WITHIN_SECONDS = 120.0
HOPELESS_FAILURES = 5


class Supervisor:
    """``probe`` answers whether the platform can be used; ``on_ready`` is called once; after a service was
    restarted, ``on_restart`` is called with its name again and again until the platform answers."""

    def __init__(
        self,
        state_dir: Path,
        *,
        probe: Callable[[], bool],
        on_ready: Callable[[], None],
        on_restart: Callable[[str], None] = lambda name: None,
        out: Callable[[str], None] = print,
    ) -> None:
        self._logs = state_dir / "logs"
        self._record = state_dir / "children.json"
        self._probe, self._on_ready, self._on_restart, self._out = probe, on_ready, on_restart, out
        self._children: dict[str, Child] = {}
        self._later: list[Service] = []
        self._asked_to_stop = False
        self._failed = False
        self._ready = False
        self._began = time.monotonic()
        self._wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._logs.mkdir(parents=True, exist_ok=True)

    def catch_signals(self) -> None:
        """From here on SIGINT, SIGTERM and SIGHUP mean: stop in order."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop_asked)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    @property
    def stopping(self) -> bool:
        return self._asked_to_stop

    def pids(self) -> dict[str, int]:
        return {name: child.process.pid for name, child in self._children.items() if child.process is not None}

    def failures(self) -> dict[str, int]:
        """How often in a row each service has ended soon after its start."""
        return {name: child.failures for name, child in self._children.items()}

    def clear_leftovers(self) -> None:
        """Kill what a killed supervisor may have left behind."""
        try:
            left = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return
        for pid, started in left.values():
            if started is not None and start_time(pid) == started:
                kill_group(pid)

    def add(self, service: Service) -> None:
        """Start a service now, and keep it running."""
        child = Child(service, self._logs / f"{service.name}.log")
        self._children[service.name] = child
        self._start(child)

    def expect(self, later: Sequence[Service]) -> None:
        """Services to start once the platform answers: nobody waits for them, so they do not slow the start."""
        self._later = list(later)

    def run(self, stop_order: Sequence[str]) -> int:
        """Watch until told to stop; the exit status."""
        rotate_at = settled_by = 0.0
        restarted: set[str] = set()
        while not self._asked_to_stop:
            now = time.monotonic()
            if again := self._look_after(now):
                restarted |= again
                settled_by = now + READY_WITHIN_SECONDS
            if now >= rotate_at:
                for log in self._logs.glob("*.log"):
                    rotate(log)
                rotate_at = now + ROTATE_EVERY_SECONDS
            if not self._ready:
                self._see_whether_ready(now)
            elif restarted:
                for name in restarted:
                    self._on_restart(name)
                if self._probe() or now > settled_by:
                    restarted = set()
            if not self._asked_to_stop:
                self._sleep(rotate_at if self._ready else now + PROBE_EVERY_SECONDS, now + MEND_EVERY_SECONDS if restarted else rotate_at)
        self.stop_all(stop_order)
        return 1 if self._failed else 0

    def stop_all(self, stop_order: Sequence[str]) -> None:
        """Stop services one after the other in ``stop_order``, then all others at once; kill what does not end in time."""
        began = time.monotonic()
        first = [self._children[name] for name in stop_order if name in self._children]
        for batch in [*([child] for child in first), [child for child in self._children.values() if child not in first]]:
            for child in batch:
                child.signal(signal.SIGTERM)
            for child in batch:
                if not child.wait(child.service.stop_seconds):
                    self._out(
                        phrase(
                            "{name} did not stop within {seconds} s and was ended.",
                            name=child.service.name,
                            seconds=int(child.service.stop_seconds),
                        )
                    )
                child.kill_group()
                child.wait(5.0)
        self._record.unlink(missing_ok=True)
        self._out(phrase("Ark has stopped ({seconds} s). Workspaces, files and money are kept.", seconds=f"{time.monotonic() - began:.1f}"))

    def _stop_asked(self, number: int, frame: object) -> None:
        if self._asked_to_stop:
            self._out(phrase("Still stopping: workspaces are being stopped in order."))
            return
        self._asked_to_stop = True
        self._out(phrase("Stopping: workspaces first, then the platform …"))

    def _start(self, child: Child) -> None:
        child.start(time.monotonic())
        self._record.write_text(json.dumps({name: [pid, start_time(pid)] for name, pid in self.pids().items()}))

    def _look_after(self, now: float) -> set[str]:
        """Note who has ended, restart whose time has come; the names of the restarted."""
        restarted: set[str] = set()
        for name, child in self._children.items():
            pid = child.process.pid if child.process is not None else 0
            code = child.reap(now)
            if code is not None:
                kill_group(pid)
                again = f"{(child.restart_at or now) - now:.1f}"
                self._out(
                    phrase(
                        "{name} ended ({code}); it is started again in {seconds} s. Log: {log}",
                        name=name,
                        code=_ending(code),
                        seconds=again,
                        log=child.log_path,
                    )
                )
                if not self._ready and child.failures >= HOPELESS_FAILURES:
                    self._give_up(name)
                    return restarted
            if child.restart_at is not None and now >= child.restart_at:
                self._start(child)
                restarted.add(name)
        return restarted

    def _see_whether_ready(self, now: float) -> None:
        if self._probe():
            self._ready = True
            for service in self._later:
                self.add(service)
            self._on_ready()
        elif now - self._began > READY_WITHIN_SECONDS:
            self._give_up(None)

    def _give_up(self, name: str | None) -> None:
        self._asked_to_stop = self._failed = True
        if name is None:
            self._out(
                phrase(
                    "The platform did not answer within {seconds} s. Its logs: {logs}", seconds=int(READY_WITHIN_SECONDS), logs=self._logs
                )
            )
        for child in [self._children[name]] if name else self._children.values():
            self._out(phrase("The end of {log}:", log=child.log_path))
            self._out(tail(child.log_path))

    def _sleep(self, *until: float) -> None:
        """Until the earliest of these times, the next restart, or a signal."""
        wake_at = min([*until, *(child.restart_at for child in self._children.values() if child.restart_at is not None)])
        select.select([self._wakeup], [], [], max(0.0, wake_at - time.monotonic()))
        try:
            os.read(self._wakeup, 512)
        except BlockingIOError:
            pass


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
