"""Volumes as directories under one state directory: the embedded default.

Promises: names of users and workspaces never choose a path outside their own corner; two users never share a
directory, whatever their names; deleting never leaves the tree it deletes.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ark_extensions.domain.catalog import DATASET, ITEM_NAME, MODEL
from ark_extensions.domain.cluster import user_slug
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.workspaces import Mount
from ark_extensions.volumes.removal import remove_tree

#: what the sandbox shows as /tmp and /var/tmp, the places outside /home/user that people's programs can write to
LOST = ("tmp", "var-tmp")
COUNTED_MAX = 50_000
WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
GONE = {
    DATASET: (
        "Version {version} of the dataset “{name}” is not on this machine any more. "
        "Choose another version, or ask an operator to import it again."
    ),
    MODEL: (
        "Version {version} of the model “{name}” is not on this machine any more. "
        "Choose another version, or ask an operator to import it again."
    ),
}


class LocalDirVolumes:
    """All volumes of one installation under ``state_dir``."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir

    def data_disk(self, workspace_id: str) -> Path:
        return self._private("disks", _checked(workspace_id))

    def system_disk_usage(self, workspace_id: str) -> int | None:
        """None without one, and for one with more than `COUNTED_MAX` files: a person waits for the answer."""
        run = self.find_run_dir(workspace_id)
        if run is None:
            return None
        found = [_bytes_on_disk(run / name, most=COUNTED_MAX) for name in LOST]
        return None if None in found else sum(filter(None, found))

    def delete_data_disk(self, workspace_id: str) -> None:
        self._remove("disks", _checked(workspace_id))

    def netdisk(self, owner: str) -> Path:
        corner = self._private("netdisk", user_slug(owner))
        note = corner / "owner"
        if not note.exists():
            note.write_text(owner + "\n", encoding="utf-8", errors="surrogatepass")
        return self._private("netdisk", user_slug(owner), "data")

    def item(self, mount: Mount) -> Path:
        known = mount.kind in GONE and ITEM_NAME.fullmatch(mount.name) is not None and mount.version > 0
        path = self._root / "catalog" / mount.kind / mount.name / str(mount.version)
        if not known or path.is_symlink() or not path.is_dir():
            raise NotFound(GONE.get(mount.kind, GONE[DATASET]), name=mount.name, version=mount.version)
        return path

    def run_dir(self, workspace_id: str) -> Path:
        return self._private("runs", _checked(workspace_id))

    def find_run_dir(self, workspace_id: str) -> Path | None:
        """The run's directory if there is one; it is not made."""
        path = self._root / "runs" / _checked(workspace_id)
        return path if path.is_dir() and not path.is_symlink() else None

    def remove_run_dir(self, workspace_id: str) -> None:
        self._remove("runs", _checked(workspace_id))

    def run_dirs(self) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self._root / "runs") if WORKSPACE_ID.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    def _private(self, *parts: str) -> Path:
        path = self._root
        path.mkdir(parents=True, exist_ok=True)
        for part in parts:
            path = path / part
            path.mkdir(mode=0o700, exist_ok=True)
            if path.is_symlink():
                raise NotFound("The storage directory {name} is a link, and is not used. Ask an operator to look at it.", name=part)
        return path

    def _remove(self, shelf: str, name: str) -> None:
        try:
            shelf_fd = os.open(self._root / shelf, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            remove_tree(name, parent_fd=shelf_fd)
        finally:
            os.close(shelf_fd)


def _checked(workspace_id: str) -> str:
    if not WORKSPACE_ID.fullmatch(workspace_id):
        raise NotFound("There is no such workspace.")
    return workspace_id


def _bytes_on_disk(path: Path, *, most: int) -> int | None:
    """Allocated bytes of the files under ``path`` on its own file system, hard links once, links not followed. None: there are more
    than ``most``."""
    total, count, seen = 0, 0, set[int]()
    try:
        device = os.stat(path, follow_symlinks=False).st_dev
    except FileNotFoundError:
        return 0
    pending = [os.fspath(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > most:
                        return None
                    info = entry.stat(follow_symlinks=False)
                    if info.st_dev != device or info.st_ino in seen:
                        continue
                    if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                        seen.add(info.st_ino)
                    total += info.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:  # unreadable, or it vanished while we looked: the number is for people
            continue
    return total
