"""What becomes of the storage of an empty wallet: kept with reminders, then the recycle bin, then deletion; never silent."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from ark_extensions.domain.arrears import due_reminder, release_at
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import arrears
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.purse import read_purses
from ark_extensions.usecases.views import Sentence
from ark_extensions.usecases.workspaces import set_state

KEPT = Sentence("Your wallet is empty. Your data disks are kept until {until_at}; recharge before then.")
RELEASED = Sentence("Released, because the wallet stayed empty. Its data disk is deleted after {until_at}; recharge and restore it before.")
ENDED = Sentence("Your wallet is no longer empty: your data disks are kept.")


def run_arrears(storage: Storage, *, keep_days: int, recycle_days: int, now: datetime) -> list[str]:
    """Begin, remind of, end or carry out arrears; returns the owners whose workspaces were released."""
    w = t.workspaces
    with storage.read() as connection:
        owners = select(w.c.owner).where(w.c.disk_price_micros_per_day > 0, w.c.released_at.is_(None)).distinct()
        candidates = set(connection.execute(owners).scalars()) | set(connection.execute(select(arrears.c.owner)).scalars())
        purses = read_purses(connection, sorted(candidates), now)
        known = set(connection.execute(select(arrears.c.owner)).scalars())
    doubtful = [owner for owner, purse in purses.items() if owner in known or purse.available_micros <= 0]
    released = []
    for owner in doubtful:
        with storage.write() as connection:
            if _tend(connection, owner, keep_days, recycle_days, now):
                released.append(owner)
    return released


def _tend(connection: Connection, owner: str, keep_days: int, recycle_days: int, now: datetime) -> bool:
    row = connection.execute(select(arrears).where(arrears.c.owner == owner)).first()
    empty = read_purses(connection, [owner], now)[owner].available_micros <= 0
    if not empty:
        if row is not None:
            connection.execute(arrears.delete().where(arrears.c.owner == owner))
            tell(connection, owner=owner, at=now, kind="arrears_over", message=ENDED)
        return False
    if row is None:
        connection.execute(arrears.insert().values(owner=owner, since=now))
        row = connection.execute(select(arrears).where(arrears.c.owner == owner)).one()
    if row.released_at is not None:
        return False
    if now >= release_at(row.since, keep_days):
        _release_disks(connection, owner, recycle_days, now)
        connection.execute(update(arrears).where(arrears.c.owner == owner).values(released_at=now))
        return True
    days = due_reminder(row.since, keep_days, now, row.reminded_days)
    if days is not None:
        message = Sentence(KEPT.msgid, {"until_at": release_at(row.since, keep_days).isoformat()})
        tell(connection, owner=owner, at=now, kind="arrears", message=message, severity="warning")
        connection.execute(update(arrears).where(arrears.c.owner == owner).values(reminded_days=days))
    return False


def _release_disks(connection: Connection, owner: str, recycle_days: int, now: datetime) -> None:
    """Stopped workspaces with a bought disk go to the recycle bin; those without one cost nothing and stay."""
    w = t.workspaces
    held = select(w).where(w.c.owner == owner, w.c.disk_price_micros_per_day > 0, w.c.state.in_([State.STOPPED, State.FAILED]))
    until = now + timedelta(days=recycle_days)
    message = Sentence(RELEASED.msgid, {"until_at": until.isoformat()})
    for row in connection.execute(held).all():
        set_state(connection, row, State.RELEASED, now, released_at=now, restorable_until=until)
        about = {"workspace_id": row.id, "owner": owner, "at": now, "message": message}
        emit(connection, **about, kind="released", severity="warning", actor="billing")
    tell(connection, owner=owner, at=now, kind="arrears_released", message=message, severity="warning")
