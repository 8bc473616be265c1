"""Events: one thing that happened to a workspace, as a sentence (msgid and parameters) and the raw detail."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, select

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage, after_commit
from ark_extensions.storage.tables import events, workspaces
from ark_extensions.usecases.views import EventView, Page, Sentence

log = logging.getLogger("ark")

PLATFORM = "platform"
#: raw detail is bounded: a log tail fits, a runaway log does not
DETAIL_MAX_CHARS = 16_000
_INSERT = events.insert()
#: what of an event's detail stands in the log
SHORT = ("launch_id", "node", "price_version", "reason", "exit_code", "code", "pod", "request_id")
LEVELS = {"warning": logging.WARNING, "error": logging.WARNING}


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
    """Record an event within the caller's transaction; the log of this process has it as one line when that commits."""
    said = {"kind": kind, "severity": severity, "msgid": message.msgid, "params": dict(message.params), "detail": _bounded(detail)}
    connection.execute(_INSERT, {"workspace_id": workspace_id, "owner": owner, "at": at, "actor": actor, **said})
    line = log_line(workspace_id, owner, kind, message, actor, detail or {})
    level = LEVELS.get(severity, logging.INFO)
    after_commit(connection, partial(log.log, level, "%s", line))


def log_line(workspace_id: str, owner: str, kind: str, message: Sentence, actor: str, detail: Mapping[str, Any]) -> str:
    """``workspace=… event=… owner=… actor=… launch_id=… said="…"``: one line whatever was typed, found by the workspace's id.
    Of the detail only what is short: ids, machines, codes, never the end of a log."""
    known = {"workspace": workspace_id, "event": kind, "owner": owner, "actor": actor}
    known |= {name: detail[name] for name in SHORT if detail.get(name) is not None}
    words = " ".join(f"{name}={_word(value)}" for name, value in known.items())
    return f"{words} said={json.dumps(_said(message), ensure_ascii=False)}"


def _word(value: Any) -> str:
    text = str(value)[:200]
    return text if text.isascii() and text.isprintable() and not set(text) & set(' "=\\') else json.dumps(text)


def _said(message: Sentence) -> str:
    try:
        return message.msgid.format_map(message.params)[:500]
    except (KeyError, IndexError, ValueError):
        return message.msgid


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
