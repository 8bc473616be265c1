"""Walk a hostile tree by descriptors: any depth with a few descriptors, no link followed, no race won by swapping one in.

A folder waiting to be visited is remembered as (anchor, relative path); the kernel resolves it below the anchor without
following any link. Anchors are set anew before a relative path gets long, and close with the last folder that needs them.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ark_extensions.domain.files import Usage
from ark_extensions.netdisk import kernel

_RELATIVE_MAX = 2000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_RESOLVE_NO_SYMLINKS = 0x04


class Anchor:
    """An open folder, closed when nobody needs it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


@dataclass(frozen=True)
class Folder:
    """``fd`` is open while the folder is being visited. ``path`` is relative to where the walk began."""

    path: str
    fd: int


def open_child(anchor_fd: int, path: str) -> int:
    """The folder ``path`` below ``anchor_fd``, if no component is a link."""
    how = kernel._How(_FOLDER | os.O_CLOEXEC, 0, kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS)
    fd = kernel._libc.syscall(kernel._OPENAT2, anchor_fd, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        raise kernel._failed()
    return int(fd)


def walk(top_fd: int) -> Iterator[tuple[Folder, list[os.DirEntry[str]]]]:
    """Every folder with its entries, depth first, from ``top_fd`` (which stays the caller's). What vanishes meanwhile, or
    cannot be read, is left out. Entries may be used until the next step."""
    pending: list[tuple[Anchor, str, str]] = [(Anchor(os.dup(top_fd)), "", "")]
    while pending:
        anchor, relative, path = pending.pop()
        try:
            fd = open_child(anchor.fd, relative)
        except OSError:
            continue
        try:
            try:
                with os.scandir(fd) as found:
                    entries = list(found)
            except OSError:
                continue
            yield Folder(path, fd), entries
            if len(relative) > _RELATIVE_MAX:
                anchor, relative = Anchor(os.dup(fd)), ""
            prefix, whole = relative and relative + "/", path and path + "/"
            pending += [(anchor, prefix + e.name, whole + e.name) for e in reversed(entries) if e.is_dir(follow_symlinks=False)]
        finally:
            os.close(fd)


def measure(top_fd: int, stop: Callable[[], bool] = lambda: False) -> Usage:
    """What the tree below ``top_fd`` takes, itself not counted. From the file system's own counters where it keeps them
    (CephFS), else by looking at every entry once."""
    counted = _kept_by_the_file_system(top_fd)
    if counted is not None:
        return counted
    blocks = files = 0
    seen: set[tuple[int, int]] = set()
    for _folder, entries in walk(top_fd):
        files += len(entries)
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
            blocks += info.st_blocks
        if stop():
            break
    return Usage(blocks * 512, files)


def _kept_by_the_file_system(top_fd: int) -> Usage | None:
    try:
        size = int(os.getxattr(top_fd, "ceph.dir.rbytes"))
        return Usage(size, int(os.getxattr(top_fd, "ceph.dir.rentries")))
    except (OSError, ValueError):
        return None
