"""What the service does by itself: write accounts, measure trees, let uploads and trash expire, finish deletions.

Promises: each duty is repeated however its last run ended; a tree in use is right within a minute, or as soon as a scan that
takes a tenth of the time allows; every tree is measured exactly each day.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from ark_extensions.domain.files import Usage
from ark_extensions.loop import beat_file
from ark_extensions.netdisk.desk import NOTHING, Desk, Office
from ark_extensions.netdisk.removing import remove_in_background
from ark_extensions.netdisk.scanning import measure_netdisk
from ark_extensions.usecases import netdisk, netdisk_full

log = logging.getLogger("ark.netdisk")

ACCOUNTS_SECONDS = 2.0
SCANS_SECONDS = 5.0
EXPIRY_SECONDS = 60.0
HOURS_SECONDS = 600.0


class Housekeeping:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._tasks: list[asyncio.Task[None]] = []
        office.opened = self._desk_opened

    def begin(self) -> None:
        duties = (
            (self._office.write_accounts, ACCOUNTS_SECONDS),
            (self.measure_what_is_due, SCANS_SECONDS),
            (self.let_expire, EXPIRY_SECONDS),
            (self.record_hours, HOURS_SECONDS),
        )
        self._tasks = [asyncio.ensure_future(self._repeat(duty, seconds)) for duty, seconds in duties]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._office.write_accounts()

    async def _repeat(self, duty: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await duty()
                self._beat()
            except Exception:
                log.exception("%s ended badly; it is repeated", duty.__name__)
            await asyncio.sleep(seconds)

    def _desk_opened(self, desk: Desk, leftovers: list[str]) -> None:
        """Finish what a crash interrupted in this tree."""
        for name in leftovers:
            remove_in_background(self._office, desk, name)

    async def measure_what_is_due(self) -> None:
        now = self._office.clock()
        for owner, files in await self._office.use(netdisk.due_scans, now=now):
            await self.measure(owner, files)

    def _beat(self) -> None:
        """A sign of life for `ark doctor`."""
        file = beat_file(self._office.settings.state_dir, "netdisk")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch()

    async def measure(self, owner: str, files: int = 0) -> Usage:
        """Measure one tree now. → its usage."""
        desk = await self._office.desk(owner)
        desk.during_scan = NOTHING
        began = time.monotonic()
        try:
            usage = await self._office.at_length(measure_netdisk, desk.tree, files)
            meanwhile = desk.during_scan or NOTHING
        finally:
            desk.during_scan = None
        # what came during the scan may have been seen by it or not: until the next one it counts, so that no limit is passed
        meanwhile = Usage(max(0, meanwhile.bytes), max(0, meanwhile.files))
        desk.usage = usage + meanwhile
        desk.unwritten = NOTHING
        await self._office.use(
            netdisk.record_scan, owner=owner, usage=usage, meanwhile=meanwhile, took=timedelta(seconds=time.monotonic() - began),
            free_bytes=self._office.limits.free_bytes, now=self._office.clock(),
        )  # fmt: skip
        desk.limits = (await self._office.use(netdisk.netdisk_view, owner=owner, defaults=self._office.limits)).limits
        desk.told_full = await self._office.use(
            netdisk_full.tell_full, owner=owner, usage=usage, limits=desk.limits, told=desk.told_full, now=self._office.clock()
        )
        if meanwhile != NOTHING or desk.told_full:  # who makes room will want it to be seen
            await self._office.use(netdisk.touch_netdisk, owner=owner, now=self._office.clock() + timedelta(microseconds=1))
        return usage

    async def record_hours(self) -> None:
        await self._office.use(netdisk.record_hours, defaults=self._office.limits, now=self._office.clock())

    async def let_expire(self) -> None:
        now = self._office.clock()
        for upload in await self._office.use(netdisk.expired_uploads, now=now):
            desk = await self._office.desk(upload.owner)
            if upload.id not in desk.writers:
                await drop_upload(self._office, desk, upload.id)
        for item in await self._office.use(netdisk.list_trash, owner=None, expired_by=now):
            await remove_trash(self._office, await self._office.desk(item.owner), item)


async def drop_upload(office: Office, desk: Desk, id: str) -> None:
    """Forget an upload and delete what has arrived of it."""
    before = await office.on_disk(_staged_bytes, desk, id)
    await office.on_disk(desk.tree.discard, id)
    await office.use(netdisk.drop_uploads, ids=[id])
    desk.promised.pop(id, None)
    if before is not None:
        desk.account(Usage(-before, -1))


def _staged_bytes(desk: Desk, id: str) -> int | None:
    try:
        return os.stat(id, dir_fd=desk.tree.staging_fd, follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return None


async def remove_trash(office: Office, desk: Desk, item: netdisk.TrashItem) -> None:
    """Delete one thing in the trash for good."""
    await office.at_length(desk.tree.remove_from_trash, item.id)
    await office.use(netdisk.drop_trash, id=item.id)
    desk.account(Usage(-item.usage.bytes, -item.usage.files))
