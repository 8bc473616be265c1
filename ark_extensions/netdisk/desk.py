"""What the service knows about each tree it serves, and the threads in which it touches disks.

A `Desk` is one user's tree with its usage, what is promised to uploads under way, and its WebDAV locks. Promises: nothing is
admitted beyond the limit, however many uploads run at once; the event loop never waits for a disk or the database; what
the service changes is accounted at once and written to the database every few seconds (a scan mends what a crash loses).
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from ark_extensions.domain.files import Full, Limits, Usage, check_fits
from ark_extensions.loop import utc_now
from ark_extensions.netdisk.kernel import boot_id
from ark_extensions.netdisk.placing import Queue
from ark_extensions.netdisk.tree import Tree
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import netdisk, netdisk_dav, netdisk_full, users
from ark_extensions.usecases.netdisk_dav import Lock
from ark_extensions.volumes import Volumes

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 24
QUERY_THREADS = 4
DESKS_MAX = 2000
#: never the last bytes of a disk: databases and logs are on it too
KEPT_FREE_BYTES = 512 * 1024**2
NOTHING = Usage(0, 0)


class Desk:
    """Used in the event loop only; the tree's methods in threads."""

    def __init__(self, owner: str, tree: Tree, small_files: Queue, view: netdisk.NetdiskView, locks: list[Lock]) -> None:
        self.owner = owner
        self.tree = tree
        self.small_files = small_files
        self.usage = view.usage
        self.limits = view.limits
        #: by unfinished tus uploads, and by requests under way
        self.promised: dict[str, int] = {}
        self.in_flight = NOTHING
        self.unwritten = NOTHING
        self.during_scan: Usage | None = None
        self.told_full = False
        self.locks = {lock.token: lock for lock in locks}
        self.may_have_properties = True
        #: ids of uploads that a request writes at this moment
        self.writers: dict[str, Any] = {}
        self._paths: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def alone(self, path: str) -> asyncio.Lock:
        """Held while something is put under ``path``: of two writers one comes after the other."""
        lock = self._paths.get(path)
        if lock is None:
            lock = self._paths[path] = asyncio.Lock()
        return lock

    @property
    def reserved(self) -> Usage:
        return Usage(sum(self.promised.values()), len(self.promised)) + self.in_flight

    @property
    def quota(self) -> tuple[int, int]:
        """(bytes used, bytes left), as WebDAV tells them."""
        return self.usage.bytes, max(0, self.limits.bytes - self.usage.bytes - self.reserved.bytes)

    def check(self, incoming: Usage) -> None:
        """Raises Full when it would not fit, under the user's limit or on the disk."""
        check_fits(self.usage, self.reserved, self.limits, incoming)
        disk = os.fstatvfs(self.tree.data_fd)
        if incoming.bytes + self.reserved.bytes > max(0, disk.f_bavail * disk.f_frsize - KEPT_FREE_BYTES) and incoming.bytes:
            raise Full("The disk under the netdisk is full. Nothing of this was kept; tell your administrator.", code="disk_full")

    def promise(self, incoming: Usage) -> Promise:
        """Room for ``incoming`` until it is given back; raises Full."""
        promise = Promise(self)
        promise.more(incoming)
        return promise

    @contextmanager
    def admitted(self, incoming: Usage) -> Iterator[Promise]:
        """Room for ``incoming`` while the block runs."""
        promise = self.promise(incoming)
        try:
            yield promise
        finally:
            promise.give_back()

    def account(self, change: Usage) -> None:
        """What was just added to the tree or taken from it."""
        self.usage = Usage(max(0, self.usage.bytes + change.bytes), max(0, self.usage.files + change.files))
        self.unwritten += change
        if self.during_scan is not None:
            self.during_scan += change


class Promise:
    """Room kept for one request; grows as a body of unknown length arrives."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._held = NOTHING

    def more(self, incoming: Usage) -> None:
        self._desk.check(incoming)
        self._desk.in_flight += incoming
        self._held += incoming

    def give_back(self) -> None:
        self._desk.in_flight += Usage(-self._held.bytes, -self._held.files)
        self._held = NOTHING


class Office:
    """One of these a process: all desks, the threads, the clock. ``opened`` is called for every desk that opens, with the
    names in its staging directory that nobody works on."""

    def __init__(self, settings: Settings, storage: Storage, volumes: Volumes, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings
        self.storage = storage
        self.volumes = volumes
        self.clock = clock
        self.boot_id = boot_id()
        self.opened: Callable[[Desk, list[str]], None] = lambda desk, leftovers: None
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._slow = ThreadPoolExecutor(4, thread_name_prefix="slow")
        self._queries = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="usecase")
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._opening: dict[str, asyncio.Task[Desk]] = {}
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 1 << 19) if most > 0 else 1 << 19, most))

    @property
    def limits(self) -> Limits:
        return self.settings.netdisk_limits

    async def use(self, verb: Callable[Concatenate[Storage, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use case in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._queries, partial(verb, self.storage, *args, **kwargs))

    async def on_disk(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what takes a moment and touches files in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, partial(act, *args, **kwargs))

    def begin_on_disk(self, then: Callable[[Future[T]], None], act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        """As `on_disk`, for who waits in no coroutine: ``then`` is called in the event loop with what came of it."""
        loop = asyncio.get_running_loop()
        begun = self._disk.submit(act, *args, **kwargs)
        begun.add_done_callback(lambda done: loop.call_soon_threadsafe(then, done))

    async def at_length(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what may take minutes (deleting or copying a tree) in one of the few threads for it."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, partial(act, *args, **kwargs))

    def open_desk(self, owner: str) -> Desk | None:
        """The desk of a user, if it is open."""
        desk = self._desks.get(owner)
        if desk is not None:
            self._desks.move_to_end(owner)
        return desk

    async def desk(self, owner: str) -> Desk:
        """The desk of a user, opened if it is not."""
        desk = self.open_desk(owner)
        if desk is not None:
            return desk
        task = self._opening.get(owner)
        if task is None:
            task = self._opening[owner] = asyncio.ensure_future(self._open(owner))
            task.add_done_callback(lambda _: self._opening.pop(owner, None))
        return await asyncio.shield(task)

    @property
    def desks(self) -> list[Desk]:
        return list(self._desks.values())

    async def _open(self, owner: str) -> Desk:
        now = self.clock()
        if await self.use(users.get_user, name=owner) is None:
            credit = self.settings.opening_credit_micros
            await self.use(users.ensure_user, name=owner, admin=False, opening_credit_micros=credit, now=now)
        await self.use(netdisk.open_netdisk, owner=owner, now=now)
        view = await self.use(netdisk.netdisk_view, owner=owner, defaults=self.limits)
        locks = await self.use(netdisk_dav.locks_at, owner=owner, path="", below=True, now=now)
        uploads = await self.use(netdisk.list_uploads, owner=owner)
        tree = await self.on_disk(lambda: Tree(self.volumes.netdisk(owner)))
        # before anybody can stage something new
        leftovers = await self.on_disk(tree.left_behind, frozenset(upload.id for upload in uploads))
        desk = Desk(owner, tree, Queue(tree, self.begin_on_disk), view, locks)
        desk.promised = {upload.id: upload.length - upload.durable_bytes for upload in uploads}
        desk.told_full = await self.use(netdisk_full.is_told_full, owner=owner)
        desk.may_have_properties = await self.use(netdisk_dav.has_properties, owner=owner)
        self._desks[owner] = desk
        self._let_go_of_old()
        self.opened(desk, leftovers)
        return desk

    def _let_go_of_old(self) -> None:
        """Desks that nobody has used for long; their descriptors close when the last request that has them ends."""
        for owner, desk in list(self._desks.items())[: max(0, len(self._desks) - DESKS_MAX)]:
            busy = desk.in_flight != NOTHING or desk.unwritten != NOTHING or desk.during_scan is not None or desk.writers or desk.locks
            if not busy:
                del self._desks[owner]

    async def write_accounts(self) -> None:
        """Usage changed since the last call, into the database."""
        changed = {desk.owner: desk.unwritten for desk in self._desks.values() if desk.unwritten != NOTHING}
        for owner in changed:
            self._desks[owner].unwritten = NOTHING
        if changed:
            await self.use(netdisk.add_usage, changes=changed, now=self.clock())

    def close(self) -> None:
        for pool in (self._disk, self._slow, self._queries):
            pool.shutdown(wait=False, cancel_futures=True)
