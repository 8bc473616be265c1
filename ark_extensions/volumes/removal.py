"""Delete a directory tree whose content a stranger made: links swapped in, unreadable directories, any depth.

Everything is relative to open directory descriptors and nothing follows a link, so that nothing outside the tree
can be touched. Nested directories are moved up before they are emptied: depth costs neither stack nor descriptors.
"""

from __future__ import annotations

import os
import secrets
import stat


def remove_tree(name: str, *, parent_fd: int) -> None:
    """Delete ``name`` in the directory ``parent_fd``, whatever it is; nothing happens when it is not there."""
    try:
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=parent_fd)
        return
    top = _open_writable(name, parent_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent_fd)


def _open_writable(name: str, parent_fd: int) -> int:
    """A descriptor of the directory ``name``, made readable and writable for us (people keep read-only directories)."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent_fd)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def _empty(top: int) -> None:
    prefix = f".removing-{secrets.token_hex(8)}-"
    moved = 0
    while entries := [(e.name, e.is_dir(follow_symlinks=False)) for e in os.scandir(top)]:
        for name, is_directory in entries:
            if not is_directory:
                os.unlink(name, dir_fd=top)
                continue
            inner = _open_writable(name, top)
            try:
                for child in list(os.scandir(inner)):
                    if not child.is_dir(follow_symlinks=False):
                        os.unlink(child.name, dir_fd=inner)
                        continue
                    os.close(_open_writable(child.name, inner))
                    os.rename(child.name, f"{prefix}{moved}", src_dir_fd=inner, dst_dir_fd=top)
                    moved += 1
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
