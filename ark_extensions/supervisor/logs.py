"""Log files that stay small: the newest megabytes, and the ones before them in ``NAME.log.1``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGE_BYTES = 10 * 2**20
#: no last lines are longer together
TAIL_BYTES = 64 * 1024


def rotate(log: Path, *, large_bytes: int = LARGE_BYTES) -> bool:
    """Copy a large log aside and empty it. The writer keeps its descriptor: it appends, so it goes on at the start."""
    try:
        if log.stat().st_size < large_bytes:
            return False
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def tail(log: Path, *, lines: int = 20) -> str:
    """The last lines of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
