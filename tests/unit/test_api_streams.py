"""The feed of live events, on a table of events in memory: no gap, no repetition, no work when nobody listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ark_extensions.console import sse
from ark_extensions.console.sse import Feed, Stream
from ark_extensions.domain.errors import Forbidden
from ark_extensions.usecases.events import list_events, newest_event_id
from ark_extensions.usecases.views import EventView, Page, Sentence

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Events:
    """Events by id, and a `use` that answers the two use cases of a feed."""

    def __init__(self) -> None:
        self.all: list[EventView] = []
        self.asked = 0
        self.down = False

    def add(self, owner: str, workspace_id: str = "w") -> int:
        number = len(self.all) + 1
        self.all.append(EventView(number, workspace_id, "ws", NOON, "note", "info", Sentence("Note."), "platform", {}, owner))
        return number

    async def use(self, verb: Callable[..., Any], **wanted: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise OSError("the disk is gone")
        if verb is newest_event_id:
            return len(self.all)
        assert verb is list_events
        found = [e for e in self.all if e.id > wanted["after"] and wanted["owner"] in (None, e.owner)]
        items = tuple(found[: wanted["limit"]])
        return Page(items, items[-1].id if len(found) > len(items) else None)


class Reader:
    """What a client has received. ``on_first``: what happens in the moment in which it learns that it is connected."""

    def __init__(self, events: Events, feed: Feed, *, heartbeat: float = 30.0, allowed: bool = True) -> None:
        self.text: list[str] = []
        self.on_first: Callable[[], object] = lambda: None
        self.allowed = allowed
        body = lambda event: {"id": event.id}  # noqa: E731
        self.stream = Stream(feed, events.use, write=self.write, body=body, still_allowed=self.check, heartbeat_seconds=heartbeat)

    async def write(self, text: str) -> None:
        self.text.append(text)
        if len(self.text) == 1:
            self.on_first()

    async def check(self) -> None:
        if not self.allowed:
            raise Forbidden("No more.")

    @property
    def ids(self) -> list[int]:
        return [int(text.split("\n")[0].removeprefix("id: ")) for text in self.text if text.startswith("id: ")]


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_everybody_gets_their_own_and_the_database_is_asked_once_for_all() -> None:
    events = Events()
    feed = Feed(events.use, tick_seconds=0.01)
    ann, bob = await feed.subscribe("ann"), await feed.subscribe("bob")
    one = await feed.subscribe("ann", "second")
    events.add("ann", "first"), events.add("bob", "b"), events.add("ann", "second")
    await eventually(lambda: ann.queue.qsize() == 2 and bob.queue.qsize() == 1 and one.queue.qsize() == 1)
    before = events.asked
    await asyncio.sleep(0.05)
    assert events.asked - before <= 6, "one question a tick, however many listen"
    for subscription in (ann, bob, one):
        feed.unsubscribe(subscription)
    await eventually(lambda: feed._poller is not None and feed._poller.done())
    asked = events.asked
    await asyncio.sleep(0.03)
    assert events.asked == asked
    await feed.close()


async def test_a_stream_replays_what_was_missed_then_follows() -> None:
    events = Events()
    for owner in ("ann", "bob", "ann", "ann"):
        events.add(owner)
    feed = Feed(events.use, tick_seconds=0.005)
    subscription = await feed.subscribe("ann")
    reader = Reader(events, feed)
    running = asyncio.create_task(reader.stream.run(subscription, name=None, after=1))
    events.add("ann")
    await eventually(lambda: reader.ids == [3, 4, 5])
    assert json.loads(reader.text[-1].split("data: ")[1]) == {"id": 5}
    await feed.close()
    await running
    assert reader.ids == [3, 4, 5]


async def test_long_absences_are_replayed_in_batches(monkeypatch: Any) -> None:
    monkeypatch.setattr(sse, "BATCH", 7)
    events = Events()
    for _ in range(100):
        events.add("ann")
    feed = Feed(events.use, tick_seconds=0.005)
    subscription = await feed.subscribe("ann")
    reader = Reader(events, feed)
    running = asyncio.create_task(reader.stream.run(subscription, name=None, after=0))
    await eventually(lambda: len(reader.ids) == 100)
    assert reader.ids == list(range(1, 101))
    await feed.close()
    await running


async def test_an_id_from_the_future_hides_nothing() -> None:
    events = Events()
    events.add("ann")
    feed = Feed(events.use, tick_seconds=0.005)
    subscription = await feed.subscribe("ann")
    reader = Reader(events, feed)
    reader.on_first = lambda: events.add("ann")
    running = asyncio.create_task(reader.stream.run(subscription, name=None, after=10**15))
    await eventually(lambda: reader.ids == [2])
    await feed.close()
    await running


async def test_a_reader_too_slow_is_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr(sse, "BACKLOG", 3)
    events = Events()
    feed = Feed(events.use, tick_seconds=0.005)
    subscription = await feed.subscribe("ann")
    subscription.queue = asyncio.Queue(3)
    for _ in range(10):
        events.add("ann")
    await eventually(lambda: subscription.ended)
    await feed.close()


async def test_a_database_that_fails_for_a_while_loses_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr(sse, "PAUSE_AFTER_FAILURE_SECONDS", 0.01)
    events = Events()
    feed = Feed(events.use, tick_seconds=0.005)
    subscription = await feed.subscribe("ann")
    events.down = True
    events.add("ann")
    await asyncio.sleep(0.03)
    events.down = False
    await eventually(lambda: subscription.queue.qsize() == 1)
    await feed.close()


async def test_a_stream_ends_when_its_caller_may_no_longer_listen() -> None:
    events = Events()
    feed = Feed(events.use, tick_seconds=0.005)
    reader = Reader(events, feed, heartbeat=0.02)
    subscription = await feed.subscribe("ann")
    running = asyncio.create_task(reader.stream.run(subscription, name=None, after=None))
    await eventually(lambda: ": still here\n\n" in reader.text)
    reader.allowed = False
    await asyncio.wait_for(running, 2)
    feed.unsubscribe(subscription)
    assert feed.count("ann") == 0
    await feed.close()


async def test_a_busy_stream_is_checked_too() -> None:
    """A workspace that talks all the time does not keep a revoked token listening."""
    events = Events()
    feed = Feed(events.use, tick_seconds=0.001)
    reader = Reader(events, feed, heartbeat=0.03, allowed=False)
    running = asyncio.create_task(reader.stream.run(await feed.subscribe("ann"), name=None, after=None))
    async with asyncio.timeout(5):
        while not running.done():
            events.add("ann")
            await asyncio.sleep(0.002)
    await feed.close()
