"""Which notices still have to leave by mail or webhook: tried until delivered, with growing pauses, for two days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, or_, select, update

from ark_extensions.storage import Storage
from ark_extensions.storage.tables import notices, users
from ark_extensions.storage.tables_money import deliveries
from ark_extensions.usecases.views import Sentence

#: an older notice says nothing that is still of use
FRESH = timedelta(days=2)
MAX_ATTEMPTS = 12
BATCH = 50


@dataclass(frozen=True)
class Due:
    notice_id: int
    owner: str
    email: str | None
    language: str | None
    kind: str
    at: datetime
    message: Sentence


def due_deliveries(storage: Storage, *, channel: str, now: datetime) -> list[Due]:
    """Notices that this channel has not delivered, the oldest first."""
    n, d = notices, deliveries
    query = (
        select(n, users.c.email, users.c.mailed, users.c.language)
        .join(users, users.c.name == n.c.owner)
        .outerjoin(d, and_(d.c.notice_id == n.c.id, d.c.channel == channel))
        .where(n.c.at > now - FRESH)
        .where(or_(d.c.notice_id.is_(None), and_(d.c.delivered_at.is_(None), d.c.next_at <= now, d.c.attempts < MAX_ATTEMPTS)))
        .order_by(n.c.id)
        .limit(BATCH)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    return [Due(r.id, r.owner, _address(r), r.language, r.kind, r.at, Sentence(r.msgid, r.params)) for r in rows]


def _address(row: Row[Any]) -> str | None:
    """Where this notice is mailed; None: its reader does not want it by mail, so that it counts as delivered."""
    wanted = row.mailed == "all" or (row.mailed == "warnings" and row.severity != "info")
    return row.email if wanted else None


def delivery_tried(storage: Storage, *, notice_id: int, channel: str, error: str | None, now: datetime) -> None:
    """Record one try; the next one comes after 1, 2, 4 … minutes, at most four hours."""
    d = deliveries
    mine = (d.c.notice_id == notice_id) & (d.c.channel == channel)
    with storage.write() as connection:
        row = connection.execute(select(d).where(mine)).first()
        attempts = (row.attempts if row else 0) + 1
        pause = timedelta(minutes=min(2 ** (attempts - 1), 240))
        values = {"attempts": attempts, "next_at": now + pause, "delivered_at": None if error else now, "last_error": error}
        if row is None:
            connection.execute(d.insert().values(notice_id=notice_id, channel=channel, **values))
        else:
            connection.execute(update(d).where(mine).values(**values))
