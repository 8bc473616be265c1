"""Take one file in a request's body, of any size, and put it in its place when it is whole.

Promises: room is reserved before a byte is read; the bytes go to a staged file that nobody sees; checksum and length are
verified before the rename; whatever ends the request early leaves nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tornado.iostream import IOStream

from ark_extensions.domain.errors import Malformed
from ark_extensions.domain.files import Checksum, ChecksumMismatch, Usage
from ark_extensions.netdisk.desk import Desk, Office, Promise
from ark_extensions.netdisk.placing import Small
from ark_extensions.netdisk.pulling import PULL_FROM, Pull
from ark_extensions.netdisk.refusals import Exists
from ark_extensions.netdisk.sink import Sink
from ark_extensions.netdisk.tree import Entry, Tree, entry_at, entry_of

#: up to so many bytes a file is kept in memory until it is whole
SMALL = 256 * 1024


@dataclass(frozen=True)
class Arrival:
    """What the client says about the file that comes. ``length`` None: it comes in chunks."""

    path: str
    length: int | None
    on_conflict: str = "replace"
    checksum: Checksum | None = None
    modified: datetime | None = None


class Receiver:
    """One upload of one request."""

    def __init__(self, office: Office, desk: Desk, arrival: Arrival) -> None:
        self._office = office
        self._desk = desk
        self._arrival = arrival
        self._promise: Promise | None = None
        self._name = ""
        self._fd = -1
        self._sink: Sink | None = None
        self._pull: Pull | None = None
        #: a small file waits in memory and is staged, written, synced and placed in one go
        self._small: bytearray | None = None

    async def begin(self) -> None:
        """Refuses what cannot be: no parent, a folder of this name, no room."""
        arrival, tree = self._arrival, self._desk.tree
        if arrival.length is not None and arrival.length <= SMALL:
            self.begin_small()
            return
        await self._office.on_disk(check_place, tree, arrival.path)
        self._promise = self._desk.promise(Usage(arrival.length or 0, 1))
        self._name, self._fd = await self._office.on_disk(tree.stage)
        algorithm = arrival.checksum.algorithm if arrival.checksum else None
        self._sink = Sink(self._fd, self._office.on_disk, path=arrival.path, algorithm=algorithm)

    def begin_small(self) -> None:
        """As `begin`, for a file of at most ``SMALL`` bytes: what it cannot see without a disk is refused by `finish`."""
        self._promise = self._desk.promise(Usage(self._arrival.length or 0, 1))
        self._small = bytearray()

    def take_small(self, chunk: bytes) -> None:
        assert self._small is not None
        self._small += chunk

    async def take(self, chunk: bytes) -> None:
        if self._small is not None:
            self.take_small(chunk)
            return
        assert self._sink is not None and self._promise is not None
        if self._arrival.length is None:
            self._promise.more(Usage(len(chunk), 0))
        await self._sink.feed(chunk)

    async def finish(self, check: Callable[[Entry | None], None] = lambda _: None) -> tuple[str, bool, Entry]:
        """→ (the path it got, whether something new is there now, what it is). ``check`` may refuse at the last moment."""
        arrival = self._arrival
        if self._pull is not None:
            self._verify(self._pull.received, self._pull.digest())
        elif self._sink is not None:
            await self._sink.end()
            self._verify(self._sink.written, self._sink.digest())
        elif self._small is not None:
            self._verify(len(self._small), hashlib.new(arrival.checksum.algorithm, self._small).hexdigest() if arrival.checksum else "")
        seen: list[Entry | None] = []

        def look(there: Entry | None) -> None:
            seen.append(there)
            check(there)

        async with self._desk.alone(arrival.path):
            if self._small is not None:
                small = Small(arrival.path, self._small, arrival.on_conflict, arrival.modified, look)
                placed = await self._desk.small_files.place(small)
                path, freed, entry = placed.path, placed.freed, placed.entry
            else:
                path, freed, entry = await self._office.on_disk(self._publish, look)
        self._name = ""
        is_new = seen[-1] is None or path != arrival.path
        self._desk.account(Usage(entry.allocated - freed, 1 if is_new else 0))
        return path, is_new, entry

    def _publish(self, look: Callable[[Entry | None], None]) -> tuple[str, int, Entry]:
        arrival = self._arrival
        path, freed = self._desk.tree.publish(
            self._name, self._fd, arrival.path, on_conflict=arrival.on_conflict, modified=arrival.modified, check=look
        )
        return path, freed, entry_of(path.rpartition("/")[2], os.fstat(self._fd))

    def _verify(self, length: int, digest: str) -> None:
        if self._arrival.length is not None and length != self._arrival.length:
            raise Malformed("The request ended before the file did.")
        if self._arrival.checksum is not None and digest != self._arrival.checksum.digest:
            raise ChecksumMismatch("What arrived is not what was sent: the checksum differs. Upload it again.")

    @property
    def holds(self) -> bool:
        """Whether there is anything to give back."""
        return self._fd >= 0 or bool(self._name) or self._sink is not None or self._promise is not None

    @property
    def pulls(self) -> bool:
        """Whether the body is large enough to be taken straight from the socket."""
        return self._sink is not None and (self._arrival.length or 0) >= PULL_FROM

    async def pull(self, stream: IOStream) -> None:
        """The whole body from a detached stream; `finish` as usual afterwards."""
        arrival = self._arrival
        assert arrival.length is not None
        algorithm = arrival.checksum.algorithm if arrival.checksum else None
        self._pull = Pull(self._office, stream, self._fd, arrival.length, path=arrival.path, algorithm=algorithm)
        await self._pull.run()

    async def release(self) -> None:
        """Give everything back. Safe to call at any moment and again."""
        fd, self._fd = self._fd, -1
        name, self._name = self._name, ""
        if self._sink is not None:
            await self._sink.abandon()
        if fd >= 0:
            await self._office.on_disk(os.close, fd)
        if name:
            await self._office.on_disk(self._desk.tree.discard, name)
        self._sink = None
        self.release_small()

    def release_small(self) -> None:
        """As `release`, after `begin_small`."""
        if self._promise is not None:
            self._promise.give_back()
        self._promise = None


def check_place(tree: Tree, path: str) -> None:
    with tree.parent(path) as (folder, name):
        there = entry_at(folder, name)
    if there is not None and there.is_folder:
        raise Exists("“{name}” is a folder.", code="is_folder", name=name)
