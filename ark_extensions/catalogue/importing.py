"""Import a directory as an immutable version of a dataset or model.

Promises: a version appears whole or not at all; killed at any moment and called again it completes, keeping what was
copied; the same content again is the version that exists; nobody writes into a version.

On disk, under ``catalog/<kind>/<name>/``: ``<version>/`` (the content), ``.<version>.sha256`` (its content hash),
``.incoming-<hash>/`` (an import under way) and ``.lock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ark_extensions.catalogue.survey import Entry, changed, content_hash, hash_entry, survey
from ark_extensions.domain.catalog import KINDS, check_item_name
from ark_extensions.domain.errors import Conflict, InvalidField, Unavailable
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import market

#: what must stay free on the disk beside the import itself
SPARE_BYTES = 256 << 20
Progress = Callable[[int, int], None]


@dataclass
class _Meter:
    """Bytes handled so far, of all that will be: every byte is read once to name the content and once to copy it."""

    total: int
    report: Progress
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.report(self.done, self.total)


def import_item(
    storage: Storage,
    settings: Settings,
    *,
    kind: str,
    name: str,
    source_dir: Path,
    title: str = "",
    description: str = "",
    license: str = "",
    now: datetime,
    progress: Progress = lambda done, total: None,
) -> int:
    """Add ``source_dir`` to the catalogue; returns the version number. ``progress`` gets (bytes handled, of how many)."""
    if kind not in KINDS:
        raise InvalidField("Only a dataset or a model can be imported.", field="kind")
    check_item_name(name)
    entries = survey(source_dir)
    size = sum(entry.size for entry in entries)
    meter = _Meter(2 * size, progress)
    top = Path(os.path.realpath(source_dir))
    shelf = settings.state_dir / "catalog" / kind / name
    if top.is_relative_to(shelf) or shelf.is_relative_to(top):
        raise InvalidField("{path} is the catalogue's own directory.", field="source_dir", path=str(source_dir))
    shelf.mkdir(parents=True, exist_ok=True)
    with _locked(shelf, name):
        hashes = [hash_entry(top, entry, lambda block: meter.add(len(block))) for entry in entries]
        whole = content_hash(entries, hashes)
        incoming = shelf / f".incoming-{whole}"
        here = _version_on_disk(shelf, whole)
        if here is None:
            _copy_all(top, entries, hashes, incoming, meter)
        old = next((item for item in market.list_items(storage, kind=kind) if item.name == name), None)
        version = market.add_item_version(
            storage,
            kind=kind,
            name=name,
            title=title or (old.title if old else ""),
            description=description or (old.description if old else ""),
            license=license or (old.license if old else ""),
            content_hash=whole,
            size_bytes=size,
            file_count=len(entries),
            now=now,
        )
        if here != version:
            if here is not None:  # another database gave it another number
                _copy_all(top, entries, hashes, incoming, meter)
            _publish(shelf, incoming, version, whole)
        _clear(shelf)
        progress(meter.total, meter.total)
        return version


@contextmanager
def _locked(shelf: Path, name: str) -> Iterator[None]:
    """One import of one item at a time; the lock goes with the process, however it ends."""
    with (shelf / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("Another import of {name} is under way. Wait until it is done.", name=name) from error
        yield


def _hash_note(shelf: Path, version: int | str) -> Path:
    return shelf / f".{version}.sha256"


def _version_on_disk(shelf: Path, whole: str) -> int | None:
    for path in shelf.iterdir():
        if path.name.isdecimal() and path.is_dir():
            note = _hash_note(shelf, path.name)
            if note.is_file() and note.read_text().strip() == whole:
                return int(path.name)
    return None


def _copy_all(top: Path, entries: Sequence[Entry], hashes: Sequence[str], incoming: Path, meter: _Meter) -> None:
    """Make ``incoming`` hold exactly the entries, read-only and on the disk for good; keeps what a killed import left."""
    incoming.mkdir(exist_ok=True)
    todo = []
    for entry, digest in zip(entries, hashes, strict=True):
        if _is_copied(incoming, entry, digest):
            meter.add(entry.size)
        else:
            todo.append((entry, digest))
    need, free = sum(entry.size for entry, _ in todo), shutil.disk_usage(incoming).free
    if need + SPARE_BYTES > free:
        raise _disk_full(need, free)
    try:
        for entry, digest in todo:
            _copy(top, entry, digest, incoming, meter)
        os.sync()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(need, shutil.disk_usage(incoming).free) from error
        raise Unavailable("The catalogue's directory cannot be written: {reason}.", reason=error.strerror or "unknown") from error


def _disk_full(need: int, free: int) -> Unavailable:
    mib = 1 << 20
    return Unavailable(
        "The disk is too full: the import needs {need_mib} MiB more and {free_mib} MiB are free. Make space, then import again.",
        code="disk_full",
        need_mib=-(-(need + SPARE_BYTES) // mib),
        free_mib=free // mib,
    )


def _is_copied(incoming: Path, entry: Entry, digest: str) -> bool:
    path = incoming / entry.path
    if entry.link is not None:
        return path.is_symlink() and os.readlink(path) == entry.link
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
        return False
    return hash_entry(incoming, entry, lambda block: None) == digest


def _copy(top: Path, entry: Entry, digest: str, incoming: Path, meter: _Meter) -> None:
    path = incoming / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if entry.link is not None:
        path.symlink_to(entry.link)
        return
    with path.open("xb") as out:

        def keep(block: bytes) -> None:
            out.write(block)
            meter.add(len(block))

        if hash_entry(top, entry, keep) != digest:
            raise changed(entry.path)
    path.chmod(0o555 if entry.executable else 0o444)


def _publish(shelf: Path, incoming: Path, version: int, whole: str) -> None:
    """Give the finished copy its number. What stood under it with another content (an older database's) is put aside."""
    target = shelf / str(version)
    if target.exists():
        target.rename(shelf / f".aside-{version}-{secrets.token_hex(4)}")
    _hash_note(shelf, version).write_text(whole + "\n")
    incoming.rename(target)
    fd = os.open(shelf, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _clear(shelf: Path) -> None:
    """Remove what killed imports of other contents left; we hold the lock, so nobody is writing there."""
    for path in shelf.glob(".incoming-*"):
        shutil.rmtree(path, ignore_errors=True)
