"""Delete what was taken out of a tree, in the background, and account for it; and carry on with what a crash left."""

from __future__ import annotations

import asyncio
import logging
import os
import stat

from ark_extensions.domain.files import Usage
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.tree import Tree
from ark_extensions.netdisk.walking import measure

log = logging.getLogger("ark.netdisk")
_tasks: set[asyncio.Task[None]] = set()


def weigh_at(folder_fd: int, name: str) -> Usage:
    """What ``name`` in an open folder takes, itself included; zero when it is gone. A name among several of a file weighs nothing."""
    try:
        info = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            return Usage(info.st_blocks * 512 if info.st_nlink == 1 else 0, 1)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder_fd)
    except OSError:
        return Usage(0, 0)
    try:
        return measure(fd) + Usage(info.st_blocks * 512, 1)
    finally:
        os.close(fd)


def _weigh_and_remove(tree: Tree, name: str) -> Usage:
    usage = weigh_at(tree.staging_fd, name)
    tree.remove_doomed(name)
    return usage


def remove_in_background(office: Office, desk: Desk, doomed: str) -> None:
    async def remove() -> None:
        try:
            usage = await office.at_length(_weigh_and_remove, desk.tree, doomed)
        except OSError as error:
            log.warning("something of %s could not be deleted, and is tried again: %s", desk.owner, error)
            return
        desk.account(Usage(-usage.bytes, -usage.files))

    task = asyncio.ensure_future(remove())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
