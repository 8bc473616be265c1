"""Credit that the platform gives: posted once, kept as a lot that is spent before paid money and can expire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from ark_extensions.domain import ledger
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import credit_lots
from ark_extensions.usecases.halts import halted
from ark_extensions.usecases.journal import post


def give(
    connection: Connection,
    *,
    key: str,
    user: str,
    amount_micros: int,
    at: datetime,
    actor: str,
    memo: str,
    expires_at: datetime | None = None,
) -> bool:
    """Give credit within the caller's transaction; False when this key was given before."""
    posted = post(connection, [ledger.gift(key=key, user=user, amount_micros=amount_micros, at=at, actor=actor, memo=memo)])
    if posted:
        lot = {"id": key, "owner": user, "amount_micros": amount_micros, "remaining_micros": amount_micros}
        connection.execute(credit_lots.insert().values(**lot, created_at=at, expires_at=expires_at))
    return posted > 0


def expire_credit(storage: Storage, *, now: datetime) -> int:
    """Take back what is left of gifts whose time is over; returns how many lots ended. While posting is halted they wait."""
    with storage.read() as connection:
        if halted(connection) or connection.execute(_over(now).limit(1)).first() is None:
            return 0
    with storage.write() as connection:
        return expire_lots(connection, now)


def expire_lots(connection: Connection, now: datetime, owner: str | None = None) -> int:
    """`expire_credit` within the caller's transaction, of one owner: before a purchase, which expired credit must not pay."""
    over = _over(now)
    rows = connection.execute(over if owner is None else over.where(credit_lots.c.owner == owner)).all()
    for row in rows:
        back = ledger.expire(key=f"expire:{row.id}", user=row.owner, amount_micros=row.remaining_micros, at=now)
        post(connection, [back])
        connection.execute(update(credit_lots).where(credit_lots.c.id == row.id).values(remaining_micros=0))
    return len(rows)


def _over(now: datetime) -> Select[Any]:
    c = credit_lots.c
    return select(credit_lots).where(c.remaining_micros > 0, c.expires_at.is_not(None), c.expires_at <= now)
