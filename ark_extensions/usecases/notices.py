"""What a user must know that is about no single workspace: kept until it is dismissed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import notices
from ark_extensions.usecases.views import Sentence

#: notices that a user sees at once
SHOWN = 20


@dataclass(frozen=True)
class Notice:
    id: int
    at: datetime
    kind: str
    severity: str
    message: Sentence


def tell(connection: Connection, *, owner: str, at: datetime, kind: str, message: Sentence, severity: str = "info") -> None:
    """Leave a notice, within the caller's transaction."""
    row = {"owner": owner, "at": at, "kind": kind, "severity": severity}
    connection.execute(notices.insert().values(**row, msgid=message.msgid, params=dict(message.params)))


def withdraw_notices(connection: Connection, *, owner: str, kind: str, at: datetime) -> None:
    """What was said is no longer so: take these notices back, within the caller's transaction."""
    n = notices
    still = update(n).where(n.c.owner == owner, n.c.kind == kind, n.c.dismissed_at.is_(None))
    connection.execute(still.values(dismissed_at=at))


def list_notices(storage: Storage, *, owner: str) -> list[Notice]:
    """Not dismissed yet, newest first, and of many the newest ``SHOWN``."""
    n = notices
    with storage.read() as connection:
        rows = connection.execute(
            select(n).where(n.c.owner == owner, n.c.dismissed_at.is_(None)).order_by(n.c.id.desc()).limit(SHOWN)
        ).all()
    return [Notice(r.id, r.at, r.kind, r.severity, Sentence(r.msgid, r.params)) for r in rows]


def dismiss_notice(storage: Storage, *, owner: str, id: int, now: datetime) -> None:
    n = notices
    with storage.write() as connection:
        changed = connection.execute(update(n).where(n.c.id == id, n.c.owner == owner, n.c.dismissed_at.is_(None)).values(dismissed_at=now))
        if changed.rowcount == 0:
            raise NotFound("There is no such notice.")
