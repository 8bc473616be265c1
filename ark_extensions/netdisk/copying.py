"""Copy files and folders inside a netdisk, and into one from a catalogue item: by the kernel, holes kept, links as links.

Promises: a copy appears under its name when it is whole and on disk; one that is stopped or killed leaves nothing but a
doomed folder in the staging directory, which the next start removes. Pipes, sockets and devices are left out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable

from ark_extensions.domain.errors import Conflict, Forbidden
from ark_extensions.domain.files import Usage, is_inside, join, split
from ark_extensions.netdisk import kernel
from ark_extensions.netdisk.refusals import refusing
from ark_extensions.netdisk.tree import DOOMED, Tree, rename_into
from ark_extensions.netdisk.walking import measure, walk

_FICLONE = 0x40049409
_STEP = 64 * 1024 * 1024
#: up to so many files are synced one by one; more of them by one sync of the file system
_SYNC_EACH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


class Stopped(Conflict):
    """Somebody ended the work."""

    code = "stopped"


def nothing_stops() -> bool:
    return False


def weigh(tree: Tree, path: str) -> Usage:
    """What a copy of ``path`` takes: allocated bytes and inodes."""
    with tree.opened(path, os.O_PATH) as handle:
        info = os.fstat(handle)
    if not stat.S_ISDIR(info.st_mode):
        return Usage(info.st_blocks * 512, 1)
    with tree.opened(path, _FOLDER) as fd:
        return measure(fd) + Usage(0, 1)


class Copy:
    """One copy at work. ``done`` grows while it runs, in another thread than the one that reads it."""

    def __init__(self, tree: Tree, *, stop: Callable[[], bool] = nothing_stops) -> None:
        self._tree = tree
        self._stop = stop
        self.done = Usage(0, 0)
        self._left_out = 0

    def run(self, source: str, target: str, *, on_conflict: str, whole: bool = True) -> tuple[str, str | None]:
        """→ (the path it got, the doomed name of what it replaced). ``whole`` False: a folder without its content."""
        if target == source and on_conflict != "keep_both" or target != source and is_inside(target, source) and whole:
            raise Forbidden("A folder cannot be put into itself.", code="into_itself")
        with self._tree.opened_to_read(source) as fd:
            return self.place(fd, target, on_conflict=on_conflict, whole=whole)

    def place(self, source_fd: int, target: str, *, on_conflict: str, whole: bool = True) -> tuple[str, str | None]:
        """Copy an open file or folder (it may be outside the tree: a catalogue item) to ``target``."""
        draft = self.draft(source_fd, target, whole=whole)
        try:
            return self._publish(draft, target, on_conflict)
        except BaseException:
            self._tree.remove_doomed(draft)
            raise

    def draft(self, source_fd: int, target: str, *, whole: bool = True) -> str:
        """Copy an open file or folder into the staging directory, where its user cannot change it. → its name there."""
        draft = DOOMED + secrets.token_hex(12)
        try:
            with refusing(target):
                info = os.fstat(source_fd)
                if stat.S_ISREG(info.st_mode):
                    self._file(source_fd, self._tree.staging_fd, draft, info)
                elif stat.S_ISDIR(info.st_mode):
                    self._folder(source_fd, draft, whole)
                else:
                    raise Forbidden("This is not an ordinary file.", code="not_a_file")
            return draft
        except BaseException:
            self._tree.remove_doomed(draft)
            raise

    def _publish(self, draft: str, target: str, on_conflict: str) -> tuple[str, str | None]:
        staging, doomed = self._tree.staging_fd, None
        with self._tree.parent(target) as (folder, name), refusing(target):
            try:
                final = rename_into(staging, draft, folder, name, "refuse" if on_conflict == "replace" else on_conflict)
            except FileExistsError:
                if on_conflict != "replace":
                    raise
                kernel.rename(staging, draft, folder, name, kernel.RENAME_EXCHANGE)
                final, doomed = name, draft
            os.fsync(folder)
        return join(split(target)[0], final), doomed

    def _folder(self, source_fd: int, draft: str, whole: bool) -> None:
        os.mkdir(draft, 0o755, dir_fd=self._tree.staging_fd)
        self._give_name(draft, self._tree.staging_fd)
        self.done += Usage(0, 1)
        if not whole:
            return
        top = os.open(draft, _FOLDER | os.O_NOFOLLOW, dir_fd=self._tree.staging_fd)
        try:
            for folder, entries in walk(source_fd):
                into = kernel.open_beneath(top, folder.path, _FOLDER)
                try:
                    for entry in entries:
                        if self._stop():
                            raise Stopped("The copy was stopped. Nothing of it was kept.")
                        self._entry(folder.fd, entry.name, into)
                finally:
                    os.close(into)
            if self.done.files > _SYNC_EACH:
                kernel.syncfs(top)
        finally:
            os.close(top)

    def _entry(self, source: int, name: str, into: int) -> None:
        try:
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                os.mkdir(name, 0o755, dir_fd=into)
                self._give_name(name, into)
                self.done += Usage(0, 1)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=into)
                self._give_name(name, into)
                self.done += Usage(0, 1)
            elif stat.S_ISREG(info.st_mode):
                fd = kernel.open_entry(source, name)
                try:
                    self._file(fd, into, name, info)
                finally:
                    os.close(fd)
        except (FileNotFoundError, PermissionError):
            self._left_out += 1  # it went away while we looked, or its owner made it unreadable

    def _give_name(self, name: str, into: int) -> None:
        """As `Tree.give`, by name: the draft lies in the staging directory, where nobody can swap it."""
        uid = os.fstat(self._tree.data_fd).st_uid
        if os.geteuid() == 0:
            os.chown(name, uid, uid, dir_fd=into, follow_symlinks=False)

    def _file(self, source: int, into: int, name: str, info: os.stat_result) -> None:
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode):
            return
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=into)
        try:
            self._tree.give(target)
            self._content(source, target, info.st_size)
            os.fchmod(target, stat.S_IMODE(info.st_mode) & 0o777 | 0o600)
            os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
            if self.done.files <= _SYNC_EACH:
                os.fsync(target)
            self.done += Usage(0, 1)
        finally:
            os.close(target)

    def _content(self, source: int, target: int, size: int) -> None:
        try:
            fcntl.ioctl(target, _FICLONE, source)
            self.done += Usage(size, 0)
            return
        except OSError:
            pass
        os.ftruncate(target, size)
        at = 0
        while at < size:
            try:
                begin = os.lseek(source, at, os.SEEK_DATA)
                end = min(os.lseek(source, begin, os.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                begin, end = at, size
            at = begin
            while at < end:
                if self._stop():
                    raise Stopped("The copy was stopped. Nothing of it was kept.")
                copied = os.copy_file_range(source, target, min(_STEP, end - at), at, at)
                if copied == 0:
                    return
                at += copied
                self.done += Usage(copied, 0)
