"""Look at a directory that is to become a dataset or a model: what is in it, and the hash that names the content.

Promises: nothing outside the directory becomes part of it; what cannot be taken over faithfully is refused with the
file's name; the hash depends on the paths and contents only, not on times, owners or the order of the disk.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ark_extensions.domain.errors import InvalidField

BLOCK = 1 << 20
FIELD = "source_dir"


@dataclass(frozen=True)
class Entry:
    """One file (``link`` None) or link, by its path relative to the directory. ``size`` in bytes, 0 for a link."""

    path: str
    size: int
    executable: bool = False
    link: str | None = None


def survey(source: Path) -> list[Entry]:
    """All files and links under ``source``, sorted by path. Raises InvalidField for what cannot be imported."""
    top = Path(os.path.realpath(source))
    if not top.is_dir():
        raise InvalidField("{path} is not a directory.", field=FIELD, path=str(source))
    entries: list[Entry] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(top / folder) as found:
                for item in found:
                    path = f"{folder}/{item.name}" if folder else item.name
                    _check_name(path)
                    if item.is_symlink():
                        entries.append(Entry(path, 0, link=_inner_link(top, path)))
                    elif item.is_dir(follow_symlinks=False):
                        pending.append(path)
                    else:
                        entries.append(_file(path, item.stat(follow_symlinks=False)))
        except OSError as error:
            raise _unreadable(folder or str(source)) from error
    if not any(entry.link is None for entry in entries):
        raise InvalidField("{path} has no files in it.", field=FIELD, path=str(source))
    return sorted(entries, key=lambda entry: entry.path)


def _file(path: str, info: os.stat_result) -> Entry:
    if not stat.S_ISREG(info.st_mode):
        raise InvalidField("{path} is a device, a pipe or a socket: only files and directories can be imported.", field=FIELD, path=path)
    return Entry(path, info.st_size, executable=bool(info.st_mode & stat.S_IXUSR))


def _check_name(path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = path.encode("utf-8", "backslashreplace").decode()
        raise InvalidField("{path} has a name that is not UTF-8. Rename it first.", field=FIELD, path=shown) from error
    if "\n" in path or "\r" in path:
        shown = path.encode("unicode_escape").decode()
        raise InvalidField("{path} has a line break in its name. Rename it first.", field=FIELD, path=shown)


def _inner_link(top: Path, path: str) -> str:
    """The link as a relative one, which means the same wherever the directory is; refused when it leaves ``top``."""
    try:
        target = Path(os.path.realpath(top / path, strict=True))
    except OSError as error:
        raise InvalidField("{path} is a link to nothing. Remove it first.", field=FIELD, path=path) from error
    if not target.is_relative_to(top):
        raise InvalidField("{path} is a link that leaves the directory. Replace it by the file itself.", field=FIELD, path=path)
    return os.path.relpath(target, (top / path).parent)


def _unreadable(path: str) -> InvalidField:
    return InvalidField("{path} cannot be read. Make it readable for the account that runs Ark.", field=FIELD, path=path)


def hash_entry(top: Path, entry: Entry, on_block: Callable[[bytes], None]) -> str:
    """SHA-256 of a file's content (hex), handing every block read to ``on_block``; a link is hashed by its target.

    Raises InvalidField when the file cannot be read or is not the one that was surveyed any more.
    """
    if entry.link is not None:
        return hashlib.sha256(b"link " + entry.link.encode()).hexdigest()
    digest, read = hashlib.sha256(), 0
    try:
        # O_NONBLOCK: a pipe put in the file's place must not hang us
        fd = os.open(top / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(entry.path) from error
    with os.fdopen(fd, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise changed(entry.path)
        while block := _read(stream.fileno(), entry.path):
            read += len(block)
            if read > entry.size:
                break
            digest.update(block)
            on_block(block)
    if read != entry.size:
        raise changed(entry.path)
    return digest.hexdigest()


def _read(fd: int, path: str) -> bytes:
    try:
        return os.read(fd, BLOCK)
    except OSError as error:
        raise _unreadable(path) from error


def changed(path: str) -> InvalidField:
    return InvalidField("{path} changed during the import. Import it again when nothing writes to it.", field=FIELD, path=path)


def content_hash(entries: Sequence[Entry], hashes: Sequence[str]) -> str:
    """The name of the whole content: SHA-256 over the sorted lines ``<hash> <path>``."""
    lines = sorted(f"{digest} {entry.path}\n" for entry, digest in zip(entries, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
