"""Progress a person can watch: step n of m, its name, and the seconds it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ark_extensions.supervisor.words import phrase

QUIET_SECONDS = 15.0


class StepFailed(Exception):
    """A command of a step ended badly. ``tail``: the end of what it said."""

    def __init__(self, sentence: str, tail: str) -> None:
        super().__init__(sentence)
        self.tail = tail


class Steps:
    """Counts the steps of one set-up and shows the running one: in place on a terminal, else a line now and then."""

    def __init__(self, total: int, *, log_dir: Path) -> None:
        self._total = total
        self._number = 0
        self._title = ""
        self._began = self._spoke = time.monotonic()
        self._log_dir = log_dir
        self._live = sys.stdout.isatty()

    def begin(self, title: str) -> None:
        self._number += 1
        self._title = title
        self._began = self._spoke = time.monotonic()
        print(f"[{self._number}/{self._total}] {title} …", end="" if self._live else "\n", flush=True)

    def end(self) -> None:
        line = f"[{self._number}/{self._total}] {self._title}: " + phrase("done in {seconds} s", seconds=int(self._seconds()))
        print(f"\r\033[K{line}" if self._live else line, flush=True)

    def run(self, argv: Sequence[str], *, log_name: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Run a command of the present step, its output into a log; raises `StepFailed`."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        log = self._log_dir / f"{log_name}.log"
        with log.open("ab") as file:
            file.write(f"$ {' '.join(argv)}\n".encode())
            file.flush()
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                self._watch(process)
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode:
            if self._live:
                print(flush=True)
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise StepFailed(phrase("“{title}” did not work out (its log: {log}).", title=self._title, log=log), end)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                process.wait(0.5)
                return
            except subprocess.TimeoutExpired:
                self._show()

    def _show(self) -> None:
        if self._live:
            print(f"\r\033[K[{self._number}/{self._total}] {self._title} … {int(self._seconds())} s", end="", flush=True)
        elif time.monotonic() - self._spoke >= QUIET_SECONDS:
            self._spoke = time.monotonic()
            print(f"      {self._title} … {int(self._seconds())} s", flush=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
