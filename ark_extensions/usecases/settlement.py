"""What the billing service does: charge what was used, warn before a wallet is empty, order the stop when it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.charges import settle_disks, settle_runs
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.halts import refuse_when_halted
from ark_extensions.usecases.launches import order_stop
from ark_extensions.usecases.notices import tell, withdraw_notices
from ark_extensions.usecases.purse import Purse, read_purses
from ark_extensions.usecases.views import Sentence, StopOrder

#: a warning when the wallet lasts less than this, in minutes; each is given once until the runway is longer again
WARNING_MINUTES = (24 * 60, 3 * 60, 30)
#: how much may be due and not charged yet, in hours: the coarse look takes it off the balance
UNSETTLED_HOURS = 2

#: runs or disks settled in one transaction
BATCH = 5_000

LOW = Sentence("The wallet lasts until about {empty_at} at the present use. Recharge it to keep this running.")


def settle_usage(storage: Storage, *, now: datetime) -> int:
    """Charge all open runs and disks up to now, a batch a transaction; a repeat posts nothing. Returns the number of charges.

    Raises PostingHalted while posting is halted, also when this pass found the reason and halted it."""
    refuse_posting(storage)
    posted = _settle_open_runs(storage, now) + _settle_living_disks(storage, now)
    refuse_posting(storage)
    return posted


def refuse_posting(storage: Storage) -> None:
    with storage.read() as connection:
        refuse_when_halted(connection)


#: all that charging a run needs to know of it
_METERED = tuple(
    t.runs.c[name]
    for name in ("id", "workspace_id", "owner", "price_version_id", "price_micros_per_hour")
    + ("opened_at", "seen_at", "closed_at", "charged_micros", "charged_until")
)


def _settle_open_runs(storage: Storage, now: datetime) -> int:
    posted, last, r = 0, "", t.runs
    while True:
        with storage.write() as connection:
            news = or_(r.c.charged_until.is_(None), r.c.charged_until < r.c.seen_at)  # else there is nothing to charge yet
            batch = select(*_METERED).where(r.c.closed_at.is_(None), news, r.c.id > last).order_by(r.c.id).limit(BATCH)
            rows = connection.execute(batch).all()
            posted += settle_runs(connection, rows, now)
        if len(rows) < BATCH:
            return posted
        last = rows[-1].id


def _settle_living_disks(storage: Storage, now: datetime) -> int:
    """A disk is charged from a wallet that holds something; what an empty one owes for storage waits for the next recharge."""
    posted, last, w, a = 0, "", t.workspaces, t.accounts
    holds = select(a.c.name).where(a.c.name.in_(["wallet:" + w.c.owner, "credit:" + w.c.owner]), a.c.balance_micros > 0).exists()
    while True:
        with storage.write() as connection:
            living = select(w).where(w.c.disk_price_micros_per_day > 0, w.c.released_at.is_(None), w.c.id > last, holds)
            rows = connection.execute(living.order_by(w.c.id).limit(BATCH)).all()
            posted += settle_disks(connection, rows, now)
        if len(rows) < BATCH:
            return posted
        last = rows[-1].id


def watch_wallets(storage: Storage, *, now: datetime) -> list[StopOrder]:
    """Warn owners whose wallet runs low, and mark as stopping what an empty wallet cannot pay; returns the stops to carry out."""
    with storage.read() as connection:
        low = _low_owners(connection)
        warned = {row.owner for row in connection.execute(select(t.wallet_warnings.c.owner).distinct())}
    if not low and not warned:
        return []
    orders: list[StopOrder] = []
    with storage.write() as connection:
        purses = read_purses(connection, sorted(set(low) | warned), now)
        for owner, purse in purses.items():
            if purse.available_micros <= 0 and purse.burn_micros_per_hour > 0:
                orders += _stop_all(connection, owner, now)
            else:
                _warn(connection, owner, purse, now)
    return orders


def _low_owners(connection: Connection) -> list[str]:
    """Owners with open runs whose balance could be gone within the widest warning: one indexed query over the open runs."""
    r, paid, given = t.runs, t.accounts.alias("paid"), t.accounts.alias("given")
    burn = func.sum(r.c.price_micros_per_hour)
    balance = func.coalesce(func.max(paid.c.balance_micros), 0) + func.coalesce(func.max(given.c.balance_micros), 0)
    hours = max(WARNING_MINUTES) // 60 + UNSETTLED_HOURS
    query = select(r.c.owner).outerjoin(paid, paid.c.name == "wallet:" + r.c.owner).outerjoin(given, given.c.name == "credit:" + r.c.owner)
    return list(connection.execute(query.where(r.c.closed_at.is_(None)).group_by(r.c.owner).having(balance < burn * hours)).scalars())


def _stop_all(connection: Connection, owner: str, now: datetime) -> list[StopOrder]:
    w = t.workspaces
    running = connection.execute(select(w).where(w.c.owner == owner, w.c.state.in_([State.RUNNING, State.STARTING]))).all()
    for row in running:
        order_stop(connection, row, "billing", StopReason.WALLET, now)
    return [StopOrder(row.id, owner, row.name, StopReason.WALLET) for row in running]


def _warn(connection: Connection, owner: str, purse: Purse, now: datetime) -> None:
    warnings = t.wallet_warnings
    left = purse.runway
    due = [m for m in WARNING_MINUTES if left is not None and left < timedelta(minutes=m)]
    given = set(connection.execute(select(warnings.c.threshold_minutes).where(warnings.c.owner == owner)).scalars())
    if past := given - set(due):
        connection.execute(warnings.delete().where(warnings.c.owner == owner, warnings.c.threshold_minutes.in_(past)))
        withdraw_notices(connection, owner=owner, kind="wallet_low", at=now)
    if left is None or not (new := set(due) - given):
        return
    connection.execute(warnings.insert(), [{"owner": owner, "threshold_minutes": m, "at": now} for m in sorted(new)])
    message = Sentence(LOW.msgid, {"empty_at": (now + left).isoformat()})
    tell(connection, owner=owner, at=now, kind="wallet_low", message=message, severity="warning")
    running = select(t.workspaces).where(t.workspaces.c.owner == owner, t.workspaces.c.state == State.RUNNING)
    for row in connection.execute(running).all():
        emit(connection, workspace_id=row.id, owner=owner, at=now, kind="wallet_low", message=message, severity="warning", actor="billing")
