"""Measure a whole netdisk: data, trash and staging. Large trees in processes of their own, so that no request waits for it."""

from __future__ import annotations

from ark_extensions.domain.files import Usage
from ark_extensions.netdisk.tree import Tree
from ark_extensions.netdisk.walking import measure


def measure_netdisk(tree: Tree, expected_files: int = 0) -> Usage:
    """Synchronous: call it in a thread. ``expected_files``: of the last time."""
    total = Usage(0, 0)
    for fd in (tree.data_fd, tree.trash_fd, tree.staging_fd):
        total += measure(fd)
    return total
