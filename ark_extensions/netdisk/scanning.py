"""Measure a whole netdisk: data, trash and staging. Large trees in processes of their own, so that no request waits for it.

Promises: the same number as one walk would give, but that hard links between folders that two processes look at may count
twice; the processes end with the one that asked.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ark_extensions.domain.files import Usage
from ark_extensions.netdisk.tree import Tree
from ark_extensions.netdisk.walking import measure

#: below it a walk in this process is quicker than starting others
LARGE = 50_000
PROCESSES = max(1, min(4, os.cpu_count() or 1))
SECONDS_MAX = 3600.0


def measure_netdisk(tree: Tree, expected_files: int = 0) -> Usage:
    """Synchronous: call it in a thread. ``expected_files``: of the last time."""
    total = measure_fast(tree.data_fd, expected_files)
    for fd in (tree.trash_fd, tree.staging_fd):
        total += measure(fd)
    return total


def measure_fast(top_fd: int, expected_files: int) -> Usage:
    """What the tree below an open folder takes."""
    if expected_files < LARGE:
        return measure(top_fd)
    command = [sys.executable, "-S", "-E", os.path.join(os.path.dirname(__file__), "scan_process.py"), str(top_fd), str(PROCESSES)]
    done = subprocess.run(command, pass_fds=(top_fd,), stdout=subprocess.PIPE, timeout=SECONDS_MAX, check=False)
    try:
        size, files = map(int, done.stdout.split())
    except ValueError:
        return measure(top_fd)
    return Usage(size, files)
