"""Directories made ready for one start: owned by the workspace's user, with mount points that cannot lead elsewhere.

The home belongs to its user, who may have put anything there, a link named ``imported_datasets`` among it. Everything
here works relative to an open directory and follows no link; what stands where the platform mounts is moved aside and
reported, never followed and never deleted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ark_extensions.domain.workspaces import Mount
from ark_spawner import filesystem as fs

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare_mount_points(home: Path, uid: int, also: Iterable[PurePosixPath] = ()) -> list[tuple[str, str]]:
    """Make every mount point in the home a real directory; returns (name, new name) of what was moved aside.

    ``also``: further ones, relative to the home: an image may lie in the home of an operator whose name is ``user``.
    """
    moved = []
    home_fd = os.open(home, _DIRECTORY)
    try:
        for path in (*map(PurePosixPath, fs.HOME_MOUNT_POINTS), *also):
            parent_fd = os.dup(home_fd)
            try:
                for name in path.parts:
                    aside = _make_directory(parent_fd, name, uid)
                    if aside:
                        moved.append((name, aside))
                    child_fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
                    os.close(parent_fd)
                    parent_fd = child_fd
            finally:
                os.close(parent_fd)
    finally:
        os.close(home_fd)
    return moved


def _make_directory(parent_fd: int, name: str, uid: int) -> str | None:
    aside = None
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            aside = _free_name(parent_fd, f"{name}.moved")
            os.rename(name, aside, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
            os.mkdir(name, 0o755, dir_fd=parent_fd)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent_fd)
    directory_fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    try:
        _own(directory_fd, uid)
        if os.fstat(directory_fd).st_mode & 0o700 != 0o700:
            os.fchmod(directory_fd, 0o755)
    finally:
        os.close(directory_fd)
    return aside


def _free_name(parent_fd: int, stem: str) -> str:
    taken = set(os.listdir(parent_fd))
    return next(name for name in (f"{stem}-{number}" for number in range(1, len(taken) + 2)) if name not in taken)


def give_to(path: Path, uid: int) -> None:
    """Make a tree the workspace user's own. Its top changes last, so that an interrupted change is done again; a tree
    whose top is right already is left alone, whatever its size."""
    top_fd = os.open(path, _DIRECTORY)
    try:
        if os.geteuid() != 0 or os.fstat(top_fd).st_uid == uid:
            return
        for _, directories, files, directory_fd in os.fwalk(".", dir_fd=top_fd, follow_symlinks=False):
            for name in (*directories, *files):
                os.chown(name, uid, uid, dir_fd=directory_fd, follow_symlinks=False)
        _own(top_fd, uid)
    finally:
        os.close(top_fd)


def _own(directory_fd: int, uid: int) -> None:
    if os.geteuid() == 0 and os.fstat(directory_fd).st_uid != uid:
        os.fchown(directory_fd, uid, uid)


def open_to_all(path: Path) -> None:
    """Let a workspace, which is no one on the host, read a tree that is bound into it read-only. The directories above
    it stay as closed as they are. Its top changes last; a tree whose top is right already is left alone."""
    top_fd = os.open(path, _DIRECTORY)
    try:
        if os.geteuid() != 0 or os.fstat(top_fd).st_mode & 0o005 == 0o005:
            return
        for _, directories, files, directory_fd in os.fwalk(".", dir_fd=top_fd, follow_symlinks=False):
            for name in (*directories, *files):
                mode = os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                    more = 0o005 if stat.S_ISDIR(mode) or mode & 0o100 else 0o004
                    os.chmod(name, stat.S_IMODE(mode) | more, dir_fd=directory_fd)
        os.fchmod(top_fd, stat.S_IMODE(os.fstat(top_fd).st_mode) | 0o005)
    finally:
        os.close(top_fd)


def prepare_run(run: Path, *, workspace_name: str, uid: int) -> None:
    """The run's own directory: the system disk's writable places, and the few files of /etc that are the workspace's."""
    for name, mode in (("tmp", 0o1777), ("var-tmp", 0o1777), ("runtime", 0o700)):
        place = run / name
        place.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(place, uid, uid)
        place.chmod(mode)
    jupyter = run / "runtime" / "jupyter"
    jupyter.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(jupyter, uid, uid)
    etc = run / "etc"
    etc.mkdir(exist_ok=True)
    for name, text in _etc_files(workspace_name).items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)


def _etc_files(workspace_name: str) -> dict[str, str]:
    try:
        hosts = Path("/etc/hosts").read_text(errors="replace")
    except OSError:
        hosts = "127.0.0.1 localhost\n"
    return {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\n{fs.USER}:x:{fs.UID}:{fs.GID}:{fs.USER}:{fs.HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": f"root:x:0:\n{fs.USER}:x:{fs.GID}:\nnogroup:x:65534:\n",
        "hosts": f"{hosts.rstrip()}\n127.0.1.1 {workspace_name}\n",
        "profile": 'if [ -n "$BASH_VERSION" ] && [ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi\n',
        "bash.bashrc": "[ -z \"$PS1\" ] || { PS1='\\u@\\h:\\w\\$ '; alias ls='ls --color=auto'; }\n",
    }


def link_mounts(home: Path, netdisk: Path, items: Iterable[tuple[Mount, Path]]) -> list[tuple[str, str]]:
    """Without a sandbox nothing can be mounted: links take the mounts' places. Everybody is trusted there."""
    moved = []
    wanted = {fs.HOME_NETDISK.name: netdisk}
    for path in fs.IMPORTED.values():
        directory = home / path.name
        if directory.is_symlink() or directory.is_file():
            moved.append((path.name, _move_aside(directory)))
        directory.mkdir(exist_ok=True)
        for link in directory.iterdir():
            if link.is_symlink():
                link.unlink()
    wanted.update({str(fs.item_path(mount).relative_to(fs.HOME)): source for mount, source in items})
    for name, source in wanted.items():
        link = home / name
        if link.is_symlink():
            link.unlink()
        elif link.is_dir() and not any(link.iterdir()):
            link.rmdir()
        elif link.exists():
            moved.append((name, _move_aside(link)))
        link.symlink_to(source)
    return moved


def _move_aside(path: Path) -> str:
    number = 1
    while (aside := path.with_name(f"{path.name}.moved-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside.name
