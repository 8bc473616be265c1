"""What renameat2's flags do, in steps, for file systems that know only plain renames: NFS and CephFS, which clusters share files by.

Promises: an existing name is never replaced by `no_replace`; a file that `exchange` replaces is under its name until the new one is.
A folder that it replaces is away for the moment between two renames; a crash then leaves both in the folder of ``src``.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def no_replace(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """FileExistsError when ``dst`` is there: both ways claim the name in one step, before anything moves."""
    if not _is_folder(src_fd, src):
        os.link(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd, follow_symlinks=False)
        os.unlink(src, dir_fd=src_fd)
        return
    os.mkdir(dst, 0o700, dir_fd=dst_fd)
    try:
        os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
    except OSError:
        with suppress(OSError):
            os.rmdir(dst, dir_fd=dst_fd)
        raise


def exchange(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """``src`` and ``dst`` change places."""
    aside = f".ark-{secrets.token_hex(8)}"
    if _is_folder(src_fd, src) or _is_folder(dst_fd, dst):
        os.rename(dst, aside, src_dir_fd=dst_fd, dst_dir_fd=src_fd)
        try:
            os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        except OSError:
            os.rename(aside, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
            raise
    else:
        os.link(dst, aside, src_dir_fd=dst_fd, dst_dir_fd=src_fd, follow_symlinks=False)
        try:
            os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        except OSError:
            os.unlink(aside, dir_fd=src_fd)
            raise
    os.rename(aside, src, src_dir_fd=src_fd, dst_dir_fd=src_fd)
