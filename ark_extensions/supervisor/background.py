"""A start in the background: the same `ark up`, in a session of its own, watched until the platform answers."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ark_extensions.supervisor.logs import rotate, tail
from ark_extensions.supervisor.words import phrase

READY_FD = "ARK_READY_FD"


def start_in_background(argv: Sequence[str], *, environment: Mapping[str, str], log: Path, timeout_seconds: float) -> int:
    """Run ``argv`` (an `ark up`), show what it says, return 0 when it reports ready; else stop it, show the log's end, 1."""
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    readable, writable = os.pipe()
    with log.open("ab") as file:
        shown = file.tell()
        process = subprocess.Popen(
            list(argv),
            env={**environment, READY_FD: str(writable), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=[writable],
            start_new_session=True,
        )
    os.close(writable)
    deadline = time.monotonic() + timeout_seconds
    ready = ended = False
    while not ready and not ended and time.monotonic() < deadline:
        if select.select([readable], [], [], 0.2)[0]:
            ready = os.read(readable, 16) != b""
            ended = not ready
        shown = _show(log, shown)
    os.close(readable)
    shown = _show(log, shown)
    if ready:
        return 0
    if not ended:
        print(phrase("The platform did not answer within {seconds} s. Its logs: {logs}", seconds=int(timeout_seconds), logs=log.parent))
        print(tail(log))
        process.terminate()
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        process.kill()
    _show(log, shown)
    return process.returncode or 1


def report_ready() -> None:
    """Tell the one who started this process in the background, if anybody did, that the platform answers."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), b"ready")
        os.close(int(descriptor))
    except OSError:
        print(phrase("The one who started this did not wait for it."), file=sys.stderr)


def _show(log: Path, shown: int) -> int:
    with log.open("rb") as file:
        file.seek(shown)
        text = file.read()
    if text:
        print(text.decode(errors="replace").rstrip("\n"))
    return shown + len(text)
