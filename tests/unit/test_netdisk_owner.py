"""What the netdisk makes belongs to the tree's own user: a workspace, which is not root, can change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ark_extensions.netdisk.tree import Tree

UID = 1_500_000_123

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others; a platform that is not root has one user")


def test_uploads_and_folders_are_the_users_own(tmp_path: Path) -> None:
    data = tmp_path / "corner" / "data"
    data.mkdir(parents=True)
    os.chown(data, UID, UID)
    tree = Tree(data)
    tree.make_folders("a/b")
    name, fd = tree.stage()
    os.write(fd, b"x")
    tree.publish(name, fd, "a/b/f.txt", on_conflict="refuse")
    os.close(fd)
    for path in ("a", "a/b", "a/b/f.txt"):
        assert (data / path).stat().st_uid == UID, path
