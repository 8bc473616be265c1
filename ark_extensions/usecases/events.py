"""Events: one thing that happened to a workspace, as a sentence (msgid and parameters) and the raw detail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import events, workspaces
from ark_extensions.usecases.views import EventView, Page, Sentence

PLATFORM = "platform"
#: raw detail is bounded: a log tail fits, a runaway log does not
DETAIL_MAX_CHARS = 16_000


def _bounded(detail: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value[-DETAIL_MAX_CHARS:] if isinstance(value, str) else value for key, value in (detail or {}).items()}


def emit(
    connection: Connection,
    *,
    workspace_id: str,
    owner: str,
    at: datetime,
    kind: str,
    message: Sentence,
    severity: str = "info",
    actor: str = PLATFORM,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record an event within the caller's transaction."""
    connection.execute(
        events.insert().values(
            workspace_id=workspace_id,
            owner=owner,
            at=at,
            kind=kind,
            severity=severity,
            msgid=message.msgid,
            params=dict(message.params),
            actor=actor,
            detail=_bounded(detail),
        )
    )


def event_of(row: Row[Any]) -> EventView:
    """A row of ``events`` with the workspace's name beside it."""
    said = Sentence(row.msgid, row.params)
    return EventView(row.id, row.workspace_id, row.workspace_name, row.at, row.kind, row.severity, said, row.actor, row.detail, row.owner)


def list_events(
    storage: Storage, *, owner: str | None, name: str | None = None, after: int | None = None, before: int | None = None, limit: int = 100
) -> Page[EventView]:
    """Newest first, ``before`` an id to page on; with ``after`` oldest first (a stream that resumes). ``owner`` None: everybody's.

    Raises NotFound when ``name`` is not a workspace of the owner.
    """
    query = select(events, workspaces.c.name.label("workspace_name")).join(workspaces, workspaces.c.id == events.c.workspace_id)
    with storage.read() as connection:
        if owner is not None:
            query = query.where(events.c.owner == owner)
        if name is not None:
            found = select(workspaces.c.id).where(workspaces.c.name == name, workspaces.c.owner == owner)
            workspace_id = connection.execute(found.order_by(workspaces.c.created_at.desc())).scalar()
            if workspace_id is None:
                raise NotFound("There is no workspace {name}.", name=name)
            query = query.where(events.c.workspace_id == workspace_id)
        if after is not None:
            query = query.where(events.c.id > after).order_by(events.c.id)
        else:
            query = query.order_by(events.c.id.desc())
            if before is not None:
                query = query.where(events.c.id < before)
        rows = connection.execute(query.limit(limit + 1)).all()
    items = tuple(event_of(row) for row in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def newest_event_id(storage: Storage) -> int:
    """The id of the newest event of all, 0 when there is none: what a stream's poller watches."""
    with storage.read() as connection:
        return connection.execute(select(func.max(events.c.id))).scalar() or 0
