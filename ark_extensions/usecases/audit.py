"""The operator's acts: each with who, whom and why, written in the same transaction as the act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from ark_extensions.domain.errors import InvalidField
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import audit_log
from ark_extensions.usecases.views import Page

MAX_REASON = 500


@dataclass(frozen=True)
class Act:
    id: int
    at: datetime
    actor: str
    act: str
    subject: str
    reason: str
    detail: Mapping[str, Any]


def check_reason(text: str) -> str:
    """The reason, trimmed; raises InvalidField without one."""
    text = text.strip()
    if not 1 <= len(text) <= MAX_REASON:
        raise InvalidField("Give a reason of at most {max} characters.", field="reason", max=MAX_REASON)
    return text


def log_act(
    connection: Connection, *, at: datetime, actor: str, act: str, subject: str, reason: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Write one act, within the caller's transaction."""
    row = {"at": at, "actor": actor, "act": act, "subject": subject, "reason": reason}
    connection.execute(audit_log.insert().values(**row, detail=dict(detail or {})))


def list_acts(
    storage: Storage,
    *,
    subject: str | None = None,
    actor: str | None = None,
    act: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> Page[Act]:
    """Newest first; ``before`` an id to page on. ``subject``, ``actor`` and ``act`` choose; None: all."""
    a = audit_log
    query = select(a).order_by(a.c.id.desc()).limit(limit + 1)
    for column, wanted in ((a.c.subject, subject), (a.c.actor, actor), (a.c.act, act)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(a.c.id < before)
    with storage.read() as connection:
        rows = connection.execute(query).all()
    items = tuple(Act(r.id, r.at, r.actor, r.act, r.subject, r.reason, r.detail) for r in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)
