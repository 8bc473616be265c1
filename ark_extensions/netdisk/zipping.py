"""Folders as a zip, made while it is sent: nothing is written to a disk, memory does not grow with the files.

Promises: every entry's name stays below the folder that it is unpacked into, on any system; links, pipes and devices are
left out; a client that goes away ends the work.
"""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections.abc import Callable

from ark_extensions.domain.errors import Conflict
from ark_extensions.domain.files import another_name, join, split, zip_name
from ark_extensions.netdisk import kernel
from ark_extensions.netdisk.tree import Tree
from ark_extensions.netdisk.walking import measure, walk

#: the directory at a zip's end is kept in memory
ENTRIES_MAX = 200_000
_BLOCK = 1024 * 1024


class _Out:
    """What zipfile writes to: gathers blocks and hands them on. Not seekable."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size >= _BLOCK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._parts:
            self._send(b"".join(self._parts))
            self._parts, self._size = [], 0


def check_zip(tree: Tree, paths: list[str]) -> None:
    """Refuses, before the answer begins, what is not there or too many files."""
    count = 0
    for path in paths:
        with tree.opened(path, os.O_PATH) as fd:
            folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        if folder:
            with tree.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
                count += measure(fd).files
    if count > ENTRIES_MAX:
        raise Conflict("A zip holds at most {count} files. Download smaller folders, or use rclone.", count=ENTRIES_MAX)


def write_zip(tree: Tree, paths: list[str], send: Callable[[bytes], None]) -> None:
    """Synchronous: call it in a thread; ``send`` waits for the client and raises when it is gone."""
    out = _Out(send)
    names: set[str] = set()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type]
        for path in paths:
            name = split(path)[1] or "netdisk"
            if tree.look(path).kind not in ("file", "folder"):
                continue
            with tree.opened_to_read(path) as fd:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    _add(archive, fd, _own_name(names, name))
                elif stat.S_ISDIR(os.fstat(fd).st_mode):
                    _add_folder(archive, fd, name, names)
    out.flush()


def _add_folder(archive: zipfile.ZipFile, top: int, name: str, names: set[str]) -> None:
    for folder, entries in walk(top):
        if not entries:
            archive.writestr(zipfile.ZipInfo(_own_name(names, join(name, folder.path)) + "/"), b"")
        for entry in entries:
            if not entry.is_file(follow_symlinks=False):
                continue
            try:
                fd = kernel.open_entry(folder.fd, entry.name)
            except OSError:
                continue
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    _add(archive, fd, _own_name(names, join(join(name, folder.path), entry.name)))
            finally:
                os.close(fd)


def _own_name(names: set[str], path: str) -> str:
    """Two files whose names differ only in what a zip cannot hold stay two files."""
    wanted = zip_name(path.rstrip("/"))
    name, number = wanted, 2
    while name in names:
        folder, leaf = split(wanted)
        name, number = join(folder, another_name(leaf, number)), number + 1
    names.add(name)
    return name


def _add(archive: zipfile.ZipFile, fd: int, name: str) -> None:
    info = os.fstat(fd)
    moment = time.gmtime(max(315532800, min(info.st_mtime, 4354819198)))
    entry = zipfile.ZipInfo(name, moment[:6])
    entry.external_attr = 0o100644 << 16
    entry.file_size = info.st_size
    with archive.open(entry, "w", force_zip64=info.st_size > 1 << 30) as into:
        at, end = 0, info.st_size
        while at < end and (block := os.pread(fd, min(_BLOCK, end - at), at)):
            into.write(block)
            at += len(block)
