"""Posting halts as a whole when the books are found wrong, and goes on when an operator has looked.

A stop is never held up by it: what a run cost that ends meanwhile is deferred, and posted when posting goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from ark_extensions.domain.errors import PostingHalted
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import deferred_postings, posting_halts
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.views import Sentence

log = logging.getLogger("ark")

SAID = Sentence("The books do not add up: posting is halted. Look under Money, or run `ark books check`.")


@dataclass(frozen=True)
class Halt:
    """``found``: what the audit saw. ``waiting``: postings deferred since then."""

    at: datetime
    found: tuple[Sentence, ...]
    waiting: int


def halted(connection: Connection) -> bool:
    return connection.execute(select(posting_halts.c.id).where(posting_halts.c.lifted_at.is_(None)).limit(1)).first() is not None


def refuse_when_halted(connection: Connection) -> None:
    """Raises PostingHalted, before anything is written that would need a posting."""
    if halted(connection):
        raise PostingHalted


def halt(connection: Connection, found: Sequence[Sentence], now: datetime) -> bool:
    """Halt posting, within the caller's transaction, and tell every administrator; False when it is halted already."""
    for said in found:
        log.error("books: %s", said.msgid.format(**said.params))
    if halted(connection):
        return False
    connection.execute(posting_halts.insert().values(at=now, found=[{"msgid": said.msgid, "params": said.params} for said in found]))
    for owner in connection.execute(select(t.users.c.name).where(t.users.c.admin)).scalars().all():
        tell(connection, owner=owner, at=now, kind="posting_halted", message=SAID, severity="warning")
    return True


def defer(connection: Connection, subject: str, now: datetime, detail: Mapping[str, Any] | None = None) -> None:
    """Note what is to be posted when posting goes on, within the caller's transaction."""
    connection.execute(deferred_postings.insert().values(subject=subject, at=now, detail=dict(detail or {})))


def posting_halt(storage: Storage) -> Halt | None:
    """Whether posting is halted now, and why."""
    h = posting_halts.c
    with storage.read() as connection:
        row = connection.execute(select(posting_halts).where(h.lifted_at.is_(None)).order_by(h.id).limit(1)).first()
        if row is None:
            return None
        waiting = connection.execute(select(func.count()).select_from(deferred_postings)).scalar_one()
        return Halt(row.at, tuple(map(_said, row.found)), int(waiting))


def _said(kept: dict[str, Any] | str) -> Sentence:
    """An earlier version kept the English words alone."""
    return Sentence(kept) if isinstance(kept, str) else Sentence(kept["msgid"], kept["params"])
