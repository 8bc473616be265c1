"""One user's tree, reached by descriptors only.

``data`` belongs to the user, whose workspaces change it at any moment: links may be swapped in, folders renamed away,
pipes and holes laid out. ``.staging`` and ``.trash`` lie beside it on the same file system and no workspace sees them. Promises:
nothing outside ``data`` is ever read, written or named; a file under its name is whole, old or new, and is on disk when a
method that makes it returns; nothing blocks on a pipe. All methods are synchronous: call them in a thread.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ark_extensions.domain.errors import Forbidden, NotFound
from ark_extensions.domain.files import another_name, is_inside, join, shown, split
from ark_extensions.netdisk import kernel
from ark_extensions.netdisk.refusals import Exists, NoParent, refusal, refusing
from ark_extensions.volumes.removal import remove_tree

STAGING, TRASH = ".staging", ".trash"
#: what is under this name in the staging directory is being deleted; the next start carries on with it
DOOMED = "doomed-"
KEEP_BOTH_TRIES = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True)
class Entry:
    """What is at a path. ``kind``: folder, file, link (one that leads nowhere we go) or other (pipe, socket, device)."""

    name: str
    kind: str
    size: int
    modified: datetime
    etag: str
    allocated: int
    link: bool = False

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"


def kind_of(mode: int) -> str:
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"


def entry_of(name: str, info: os.stat_result, *, link: bool = False) -> Entry:
    kind = kind_of(info.st_mode)
    modified = datetime.fromtimestamp(max(0, min(info.st_mtime, 253402300799)), UTC)
    # the moment of the last change of the inode: also a replacement by a file of the same size and date is another
    etag = f'"{info.st_ino:x}-{info.st_size:x}-{info.st_ctime_ns:x}"'
    return Entry(name, kind, info.st_size if kind == "file" else 0, modified, etag, info.st_blocks * 512, link)


class Tree:
    """``data`` is ``Volumes.netdisk(owner)``. Holds three descriptors as long as anybody has it."""

    def __init__(self, data: Path) -> None:
        self.data_fd = os.open(data, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.staging_fd = _own_folder(data.parent, STAGING)
        self.trash_fd = _own_folder(data.parent, TRASH)
        self._local = kernel.is_local(self.data_fd)
        self._gives = os.geteuid() == 0
        self._names = itertools.count()
        self._run = secrets.token_hex(12)

    def __del__(self) -> None:
        for name in ("data_fd", "staging_fd", "trash_fd"):
            if hasattr(self, name):
                os.close(getattr(self, name))

    # looking

    @contextmanager
    def opened(self, path: str, flags: int) -> Iterator[int]:
        """A descriptor of what is at ``path``; closed at the end."""
        with refusing(path):
            fd = kernel.open_beneath(self.data_fd, path, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def look(self, path: str) -> Entry:
        """What is at ``path``, links inside the tree followed."""
        with self.opened(path, os.O_PATH) as fd:
            return entry_of(split(path)[1], os.fstat(fd))

    def look_in_memory(self, path: str) -> Entry | None:
        """As `look`, for the event loop: None when a disk or another machine would have to be asked, or nothing is there."""
        try:
            fd = kernel.look_in_memory(self.data_fd, path) if self._local else -1
        except OSError:
            fd = -1
        if fd < 0:
            return None
        try:
            return entry_of(split(path)[1], os.fstat(fd))
        finally:
            kernel.close_at_once(fd)

    def is_in_memory(self, path: str) -> bool:
        """Whether something is at ``path``; False also when that is not known without a disk or another machine."""
        try:
            kernel.close_at_once(kernel.look_in_memory(self.data_fd, path) if self._local else -1)
        except OSError:
            return False
        return self._local

    def look_at_name(self, path: str) -> Entry:
        """What the name itself is: a link is a link."""
        if not path:
            return self.look(path)
        with self.parent(path) as (folder, name), refusing(path):
            return entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def open_file(self, path: str) -> tuple[int, Entry]:
        """A descriptor for reading, and what it is. The caller closes it. Refuses everything but ordinary files."""
        with self.opened(path, os.O_PATH) as handle, refusing(path):
            fd = kernel.open_to_read(handle)
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            os.close(fd)
            raise Exists("“{name}” is a folder.", code="is_folder", name=shown(path) or "/")
        return fd, entry_of(split(path)[1], info)

    @contextmanager
    def opened_to_read(self, path: str) -> Iterator[int]:
        """A descriptor of a file or folder, for reading; closed at the end. Refuses everything else."""
        with self.opened(path, os.O_PATH) as handle, refusing(path):
            fd = kernel.open_to_read(handle)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """(descriptor of the folder that holds ``path``, the name in it); raises NoParent."""
        fd = self.open_parent(path)
        try:
            yield fd, split(path)[1]
        finally:
            os.close(fd)

    def open_parent(self, path: str) -> int:
        """As `parent`; the caller closes it."""
        folder, name = split(path)
        if not name:
            raise Forbidden("The netdisk itself cannot be changed like this.", code="root")
        try:
            return kernel.open_beneath(self.data_fd, folder, _FOLDER)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise NoParent("The folder “{name}” is not there. Make it first.", name=shown(folder)) from error
            raise refusal(error, folder) from error

    # making

    def owner(self) -> int:
        """The uid that what we make here has to be given to; 0: nobody. Workspaces have the tree's uid, the service may be root."""
        # asked each time: the first workspace's start gives the tree to its user
        return os.fstat(self.data_fd).st_uid if self._gives else 0

    def give(self, fd: int) -> None:
        """Make a file or folder that we made the user's own."""
        if uid := self.owner():
            os.fchown(fd, uid, uid)

    def make_folder(self, path: str) -> None:
        with self.parent(path) as (folder, name), refusing(path):
            os.mkdir(name, 0o755, dir_fd=folder)
            made = os.open(name, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                self.give(made)
            finally:
                os.close(made)
            os.fsync(folder)

    def make_folders(self, path: str) -> None:
        """The folder and all above it that are missing."""
        done = ""
        for part in path.split("/") if path else ():
            done = join(done, part)
            try:
                self.make_folder(done)
            except Exists:
                if not self.look(done).is_folder:
                    raise

    def stage(self, owner: int | None = None) -> tuple[str, int]:
        """(name, descriptor for reading and writing) of a new empty file that nobody else can name. ``owner``: as `owner` just said."""
        name = f"{self._run}{next(self._names):08x}"
        with refusing(""):
            fd = self.open_staged(name, create=True)
            if uid := self.owner() if owner is None else owner:
                os.fchown(fd, uid, uid)
            return name, fd

    def open_staged(self, name: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(name, flags, 0o644, dir_fd=self.staging_fd)

    def discard(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.staging_fd)
        except FileNotFoundError:
            pass

    def publish(
        self,
        name: str,
        fd: int,
        path: str,
        *,
        on_conflict: str,
        modified: datetime | None = None,
        check: Callable[[Entry | None], None] = lambda _: None,
    ) -> tuple[str, int]:
        """Put a staged file under ``path``: synced, renamed, the folder synced. ``check`` sees what is there now and may
        refuse. → (the path it got, bytes freed by what it replaced)."""
        set_time(fd, modified)
        with refusing(path):
            os.fsync(fd)
        with self.parent(path) as (folder, _leaf), refusing(path):
            final, replaced = self.put_in_place(name, fd, folder, path, on_conflict=on_conflict, check=check)
            os.fsync(folder)
        return join(split(path)[0], final), replaced

    def put_in_place(
        self, name: str, fd: int, folder: int, path: str, *, on_conflict: str, check: Callable[[Entry | None], None] = lambda _: None
    ) -> tuple[str, int]:
        """The step of `publish` between the two syncs; ``folder`` is that of ``path``. → (the name it got, bytes freed)."""
        leaf = split(path)[1]
        there = entry_at(folder, leaf)
        check(there)
        if there is not None and there.is_folder and on_conflict == "replace":
            raise Exists("“{name}” is a folder.", code="is_folder", name=shown(path))
        if there is not None and there.kind == "file" and on_conflict == "replace":
            os.fchmod(fd, stat.S_IMODE(os.stat(leaf, dir_fd=folder, follow_symlinks=False).st_mode) & 0o777)
        final = rename_into(self.staging_fd, name, folder, leaf, on_conflict)
        return final, there.allocated if there is not None and on_conflict == "replace" else 0

    # moving

    def move(self, source: str, target: str, *, on_conflict: str) -> tuple[str, str | None]:
        """Rename. → (the path it got, the name in the staging directory of what it replaced: give it to `remove_doomed`)."""
        if is_inside(target, source):
            raise Forbidden("A folder cannot be put into itself.", code="into_itself")
        with self.parent(source) as (src_fd, src), self.parent(target) as (dst_fd, dst):
            with refusing(source):
                os.stat(src, dir_fd=src_fd, follow_symlinks=False)
            doomed = None
            with refusing(target):
                try:
                    final = rename_into(src_fd, src, dst_fd, dst, "refuse" if on_conflict == "replace" else on_conflict)
                except FileExistsError:
                    if on_conflict != "replace" or is_inside(source, target):
                        raise
                    # both change places in one step, so that at every moment one of them is under the name
                    kernel.rename(src_fd, src, dst_fd, dst, kernel.RENAME_EXCHANGE)
                    final, doomed = dst, self._doom(src_fd, src)
                os.fsync(dst_fd)
                os.fsync(src_fd)
        return join(split(target)[0], final), doomed

    # taking away

    def take_out(self, path: str) -> str:
        """Remove ``path`` from the tree in one step. → its name in the staging directory, for `remove_doomed`."""
        with self.parent(path) as (folder, name), refusing(path):
            doomed = self._doom(folder, name)
            os.fsync(folder)
        return doomed

    def _doom(self, folder: int, name: str) -> str:
        doomed = DOOMED + secrets.token_hex(12)
        kernel.rename(folder, name, self.staging_fd, doomed)
        return doomed

    def remove_doomed(self, name: str) -> None:
        remove_tree(name, parent_fd=self.staging_fd)

    def left_behind(self, known: frozenset[str]) -> list[str]:
        """Names in the staging directory that nobody works on after a start: doomed ones, and what requests had begun."""
        return [name for name in os.listdir(self.staging_fd) if name not in known]

    def put_in_trash(self, path: str, trash_id: str) -> None:
        with self.parent(path) as (folder, name), refusing(path):
            kernel.rename(folder, name, self.trash_fd, trash_id, kernel.RENAME_NOREPLACE)
            os.fsync(self.trash_fd)
            os.fsync(folder)

    def take_from_trash(self, trash_id: str, path: str, *, on_conflict: str) -> str:
        """Back to ``path``, the folders above it made anew. → the path it got."""
        self.make_folders(split(path)[0])
        with self.parent(path) as (folder, name):
            try:
                final = rename_into(self.trash_fd, trash_id, folder, name, on_conflict)
            except FileNotFoundError as error:
                raise NotFound("This is not in the trash any more.") from error
            except OSError as error:
                raise refusal(error, path) from error
            os.fsync(folder)
            os.fsync(self.trash_fd)
        return join(split(path)[0], final)

    def remove_from_trash(self, trash_id: str) -> None:
        remove_tree(trash_id, parent_fd=self.trash_fd)


def _own_folder(corner: Path, name: str) -> int:
    corner.joinpath(name).mkdir(mode=0o700, exist_ok=True)
    return os.open(corner / name, _FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC)


def set_time(fd: int, modified: datetime | None) -> None:
    if modified is not None:
        moment = int(modified.timestamp()) * 10**9 + modified.microsecond * 1000
        os.utime(fd, ns=(moment, moment))


def entry_at(folder: int, name: str) -> Entry | None:
    try:
        return entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return None


def rename_into(src_fd: int, src: str, dst_fd: int, dst: str, on_conflict: str) -> str:
    """→ the name it got. FileExistsError for ``refuse``."""
    if on_conflict == "replace":
        kernel.rename(src_fd, src, dst_fd, dst)
        return dst
    name = dst
    for number in range(2, KEEP_BOTH_TRIES):
        try:
            kernel.rename(src_fd, src, dst_fd, name, kernel.RENAME_NOREPLACE)
            return name
        except FileExistsError:
            if on_conflict != "keep_both":
                raise
            folder = stat.S_ISDIR(os.stat(src, dir_fd=src_fd, follow_symlinks=False).st_mode)
            name = another_name(dst, number, folder=folder)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
