"""Take one file in a request's body, of any size, and put it in its place when it is whole.

Promises: room is reserved before a byte is read; the bytes go to a staged file that nobody sees; checksum and length are
verified before the rename; whatever ends the request early leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from ark_extensions.domain.errors import Malformed
from ark_extensions.domain.files import Checksum, ChecksumMismatch, Usage
from ark_extensions.netdisk.desk import Desk, Office, Promise
from ark_extensions.netdisk.refusals import Exists
from ark_extensions.netdisk.sink import Sink
from ark_extensions.netdisk.tree import Entry, Tree, entry_at, entry_of


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
        self._held = ExitStack()
        self._promise: Promise | None = None
        self._name = ""
        self._fd = -1
        self._sink: Sink | None = None

    async def begin(self) -> None:
        """Refuses what cannot be: no parent, a folder of this name, no room."""
        arrival, tree = self._arrival, self._desk.tree
        await self._office.on_disk(_check_place, tree, arrival.path)
        self._promise = self._held.enter_context(self._desk.admitted(Usage(arrival.length or 0, 1)))
        self._name, self._fd = await self._office.on_disk(tree.stage)
        algorithm = arrival.checksum.algorithm if arrival.checksum else None
        self._sink = Sink(self._fd, self._office.on_disk, path=arrival.path, algorithm=algorithm)

    async def take(self, chunk: bytes) -> None:
        assert self._sink is not None and self._promise is not None
        if self._arrival.length is None:
            self._promise.more(Usage(len(chunk), 0))
        await self._sink.feed(chunk)

    async def finish(self, check: Callable[[Entry | None], None] = lambda _: None) -> tuple[str, bool, Entry]:
        """→ (the path it got, whether something new is there now, what it is). ``check`` may refuse at the last moment."""
        assert self._sink is not None
        arrival, sink = self._arrival, self._sink
        await sink.end()
        if arrival.length is not None and sink.written != arrival.length:
            raise Malformed("The request ended before the file did.")
        if arrival.checksum is not None and sink.digest() != arrival.checksum.digest:
            raise ChecksumMismatch("What arrived is not what was sent: the checksum differs. Upload it again.")
        seen: list[Entry | None] = []

        def look(there: Entry | None) -> None:
            seen.append(there)
            check(there)

        async with self._desk.alone(arrival.path):
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
        self._held.close()


def _check_place(tree: Tree, path: str) -> None:
    with tree.parent(path) as (folder, name):
        there = entry_at(folder, name)
    if there is not None and there.is_folder:
        raise Exists("“{name}” is a folder.", code="is_folder", name=name)
