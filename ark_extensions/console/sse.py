"""Live events: one poller of the database for all open streams of a process, and the stream itself.

Promises: an event reaches every open stream of its owner within half a second; a stream that was cut resumes from its
``Last-Event-ID`` without a gap and without a repetition; a reader too slow to follow is cut and resumes; a stream ends when
its caller's token does. However many streams are open, the database is asked once a tick, and not at all when none is.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ark_extensions.domain.errors import ArkError, Unavailable
from ark_extensions.usecases.events import list_events, newest_event_id
from ark_extensions.usecases.views import EventView

log = logging.getLogger("ark.console")

TICK_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
PAUSE_AFTER_FAILURE_SECONDS = 2.0
BATCH = 500
#: events that wait for a slow reader before it is cut
BACKLOG = 1000
STREAMS_PER_USER = 12
#: the SSE name of a workspace's event
EVENT_NAME = "workspace"
RETRY_MILLISECONDS = 2000


@dataclass(eq=False)
class Subscription:
    """One open stream. ``workspace_id`` None: all workspaces of ``owner``. ``None`` in the queue ends it."""

    owner: str
    workspace_id: str | None
    queue: asyncio.Queue[EventView | None] = field(default_factory=lambda: asyncio.Queue(BACKLOG))
    ended: bool = False

    def offer(self, event: EventView) -> None:
        if self.workspace_id is None or event.workspace_id == self.workspace_id:
            try:
                self.queue.put_nowait(event)
            except asyncio.QueueFull:
                self.end()

    def end(self) -> None:
        self.ended = True
        with suppress(asyncio.QueueFull):
            self.queue.put_nowait(None)


class Feed:
    """The poller. ``use`` runs a use case in a thread."""

    def __init__(self, use: Callable[..., Awaitable[Any]], *, tick_seconds: float = TICK_SECONDS) -> None:
        self._use = use
        self._tick = tick_seconds
        self._open: dict[str, set[Subscription]] = {}
        self._seen = 0
        self._poller: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def newest(self) -> int:
        """The id of the newest event handed out (or that was there when the first stream opened)."""
        return self._seen

    def count(self, owner: str) -> int:
        return len(self._open.get(owner, ()))

    async def subscribe(self, owner: str, workspace_id: str | None = None) -> Subscription:
        """From when this returns, every event that is committed is queued. Raises what the database raises."""
        subscription = Subscription(owner, workspace_id)
        self._open.setdefault(owner, set()).add(subscription)
        if self._closed:
            subscription.end()
            return subscription
        if self._poller is None or self._poller.done():
            self._started = asyncio.get_running_loop().create_future()
            self._poller = asyncio.create_task(self._poll(self._started), name="event feed")
        started = self._started
        try:
            if started is not None:
                await asyncio.shield(started)
        except BaseException:
            self.unsubscribe(subscription)
            raise
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        mine = self._open.get(subscription.owner, set())
        mine.discard(subscription)
        if not mine:
            self._open.pop(subscription.owner, None)

    async def close(self) -> None:
        """End every stream, and take no new one."""
        self._closed = True
        for subscription in [s for mine in self._open.values() for s in mine]:
            subscription.end()
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._poller

    async def _poll(self, started: asyncio.Future[None]) -> None:
        try:
            self._seen = await self._use(newest_event_id)
        except BaseException as error:
            started.set_exception(error if isinstance(error, Exception) else ConnectionError("ended"))
            raise
        started.set_result(None)
        while self._open:
            try:
                more = await self._look()
            except Exception:
                log.warning("the feed of events could not be read; it is tried again", exc_info=True)
                await asyncio.sleep(PAUSE_AFTER_FAILURE_SECONDS)
                continue
            if not more:
                await asyncio.sleep(self._tick)

    async def _look(self) -> bool:
        """Hand out what is new; True when there is more."""
        page = await self._use(list_events, owner=None, after=self._seen, limit=BATCH)
        for event in page.items:
            for subscription in self._open.get(event.owner, ()):
                subscription.offer(event)
            self._seen = event.id
        return page.next is not None


def message(event: EventView, body: dict[str, Any]) -> str:
    """One event on the wire; ``body`` is its JSON. JSON text has no line breaks, so one ``data`` line holds it."""
    return f"id: {event.id}\nevent: {EVENT_NAME}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


class Stream:
    """Writes one stream to its end. ``write`` sends text and raises when the reader is gone; ``body`` makes an event's
    JSON; ``still_allowed`` is asked at every heartbeat and raises when the caller may not listen any more."""

    def __init__(
        self,
        feed: Feed,
        use: Callable[..., Awaitable[Any]],
        *,
        write: Callable[[str], Awaitable[None]],
        body: Callable[[EventView], dict[str, Any]],
        still_allowed: Callable[[], Awaitable[None]],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._feed = feed
        self._use = use
        self._write = write
        self._body = body
        self._still_allowed = still_allowed
        self._heartbeat = heartbeat_seconds
        self._sent = 0

    async def run(self, subscription: Subscription, *, name: str | None, after: int | None) -> None:
        """Replay what came after ``after`` (None: nothing), then follow until the subscription ends.

        Where it begins is settled before the first byte: what happens once the reader knows that it is connected reaches it.
        """
        loop = asyncio.get_running_loop()
        known = None if after is None else await self._known(after)
        await self._write(f"retry: {RETRY_MILLISECONDS}\n\n")
        if known is not None:
            await self._replay(subscription.owner, name, known)
        beat_at = loop.time() + self._heartbeat
        while not subscription.ended:
            event = None
            with suppress(TimeoutError):
                event = await asyncio.wait_for(subscription.queue.get(), max(beat_at - loop.time(), 0.0))
            if event is not None:
                await self._send(event)
            if loop.time() >= beat_at:
                beat_at = loop.time() + self._heartbeat
                if not await self._allowed():
                    return
                await self._write(": still here\n\n")

    async def _allowed(self) -> bool:
        try:
            await self._still_allowed()
        except Unavailable:
            return True  # nobody can be asked now: the next heartbeat asks again
        except ArkError:
            return False
        return True

    async def _known(self, after: int) -> int:
        """``after``, if there is such an event already; a number from the future would hide what is to come."""
        return after if after <= self._feed.newest else min(after, int(await self._use(newest_event_id)))

    async def _replay(self, owner: str, name: str | None, after: int) -> None:
        self._sent = after
        more: int | None = after
        while more is not None:
            page = await self._use(list_events, owner=owner, name=name, after=self._sent, limit=BATCH)
            for event in page.items:
                await self._send(event)
            more = page.next

    async def _send(self, event: EventView) -> None:
        if event.id > self._sent:
            await self._write(message(event, self._body(event)))
            self._sent = event.id
