"""One supervisor for each state directory: a lock that dies with its holder, and a note of who holds it.

The lock is on an open file description: the kernel drops it however the holder ends, programs it starts do not inherit
it, and others can ask whether it is held without taking it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# struct flock on 64-bit Linux: type, whence, start, length, pid
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class AlreadyRunning(Exception):
    """Another supervisor runs on the same state directory."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} already runs on this state directory")
        self.pid = pid


def holder(state_dir: Path) -> int | None:
    """The process id of the supervisor that runs on ``state_dir``, if one does."""
    try:
        descriptor = os.open(_lock_path(state_dir), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        kind = struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE))[0]
        text = os.pread(descriptor, 32, 0).decode()
    finally:
        os.close(descriptor)
    return int(text) if kind != fcntl.F_UNLCK and text.isdecimal() else None


@contextmanager
def hold(state_dir: Path) -> Iterator[None]:
    """Be the one supervisor of ``state_dir`` for the length of the block; raises `AlreadyRunning`."""
    descriptor = os.open(_lock_path(state_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except OSError:
            raise AlreadyRunning(holder(state_dir) or 0) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        _note_path(state_dir).unlink(missing_ok=True)
        try:
            yield
        finally:
            _note_path(state_dir).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def note(state_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write down what others ask about a running platform (address, process ids, ready or not), replacing it whole."""
    path = _note_path(state_dir)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(facts, indent=1) + "\n")
    draft.replace(path)


def noted(state_dir: Path) -> dict[str, Any]:
    """The last note; empty if there is none."""
    try:
        facts = json.loads(_note_path(state_dir).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def stop(state_dir: Path, *, timeout_seconds: float) -> bool:
    """Ask the supervisor to stop, and wait until it has. True: nothing runs on ``state_dir`` any more."""
    pid = holder(state_dir)
    if pid is None:
        return True
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], timeout_seconds)
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
    return bool(ended)


def _lock_path(state_dir: Path) -> Path:
    return state_dir / "supervisor.lock"


def _note_path(state_dir: Path) -> Path:
    return state_dir / "supervisor.json"
