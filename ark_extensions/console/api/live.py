"""Events: pages of them, and live streams (server-sent events) of one workspace's or of all."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.iostream import StreamClosedError

from ark_extensions.console.api import answers as a
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import EventsQuery, StreamQuery
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.console.handlers import TooMany
from ark_extensions.console.sse import STREAMS_PER_USER, Stream
from ark_extensions.domain.errors import InvalidField
from ark_extensions.usecases.events import list_events
from ark_extensions.usecases.views import EventView
from ark_extensions.usecases.workspaces import get_workspace

#: a reader that takes nothing in for so long is cut; it resumes
WRITE_SECONDS = 30.0


async def _page(call: Call, name: str | None) -> a.Events:
    wanted: EventsQuery = call.query
    page = await call.use(list_events, owner=call.user, name=name, before=shapes.read_cursor(wanted.cursor), limit=wanted.limit)
    items = [shapes.event(view, call, advanced=wanted.advanced) for view in page.items]
    return a.Events(items=items, next=shapes.write_cursor(page.next))


async def of_one(call: Call) -> a.Events:
    return await _page(call, call.path["name"])


async def of_all(call: Call) -> a.Events:
    return await _page(call, None)


def _resume_after(call: Call) -> int | None:
    wanted: StreamQuery = call.query
    last = call.handler.request.headers.get("Last-Event-ID")
    if last is None:
        return wanted.after
    if not (last.isascii() and last.isdecimal() and len(last) < 19):
        raise InvalidField("Last-Event-ID is not the id of an event.", field="Last-Event-ID")
    return int(last)


async def _stream(call: Call, name: str | None) -> None:
    after = _resume_after(call)
    feed = call.ark.feed
    if feed.count(call.user) >= STREAMS_PER_USER:
        raise TooMany("You have {max} live streams open, the most allowed. Close a page of the console.", max=STREAMS_PER_USER)
    workspace_id = None
    if name is not None:
        workspace_id = (await call.use(get_workspace, owner=call.user, name=name, now=call.now)).id
    subscription = await feed.subscribe(call.user, workspace_id)
    handler = call.handler
    handler.on_connection_close = subscription.end  # type: ignore[method-assign]
    handler.set_header("Content-Type", "text/event-stream; charset=utf-8")
    handler.set_header("X-Accel-Buffering", "no")

    async def write(text: str) -> None:
        handler.write(text)
        try:
            await asyncio.wait_for(handler.flush(), WRITE_SECONDS)
        except TimeoutError as error:  # it takes nothing in: its connection is given up
            raise StreamClosedError(error) from error

    def body(view: EventView) -> dict[str, Any]:
        return shapes.event(view, call, advanced=call.query.advanced).model_dump(mode="json")

    async def still_allowed() -> None:
        await handler.authenticate()

    try:
        await Stream(feed, call.ark.use, write=write, body=body, still_allowed=still_allowed).run(subscription, name=name, after=after)
    except StreamClosedError:
        handler.detach().close()
    finally:
        feed.unsubscribe(subscription)


async def stream_of_one(call: Call) -> None:
    await _stream(call, call.path["name"])


async def stream_of_all(call: Call) -> None:
    await _stream(call, None)


ROUTES = (
    Route(
        "GET", "/workspaces/{name}/events", "What happened to a workspace, the newest first", of_one, a.Events,
        access="workspace", query=EventsQuery,
    ),
    Route("GET", "/events", "What happened to all your workspaces, the newest first", of_all, a.Events, query=EventsQuery),
    Route(
        "GET", "/workspaces/{name}/events/stream", "Live events of a workspace", stream_of_one, a.Event,
        access="workspace", query=StreamQuery, stream=True,
    ),
    Route("GET", "/events/stream", "Live events of all your workspaces", stream_of_all, a.Event, query=StreamQuery, stream=True),
)  # fmt: skip
