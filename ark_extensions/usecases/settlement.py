"""What the billing service does: charge what was used, warn before a wallet is empty, order the stop when it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, func, select

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.charges import settle_disks, settle_runs
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.launches import order_stop
from ark_extensions.usecases.purse import Purse, read_purses
from ark_extensions.usecases.views import Sentence, StopOrder

#: a warning when the wallet lasts less than this, in minutes; each is given once until the runway is longer again
WARNING_MINUTES = (24 * 60, 3 * 60, 30)
#: how much may be due and not charged yet, in hours: the coarse look takes it off the balance
UNSETTLED_HOURS = 2

_r = t.runs.c
#: what a charge needs to know of a run: at 10,000 runs each further column is felt
_CHARGED: tuple[Column[Any], ...] = (_r.id, _r.owner, _r.price_micros_per_hour, _r.opened_at, _r.seen_at, _r.closed_at, _r.charged_micros)

LOW = Sentence("The wallet lasts until about {empty_at} at the present use. Recharge it to keep this running.")


def settle_usage(storage: Storage, *, now: datetime) -> int:
    """Charge all open runs and disks up to now; a repeat posts nothing. Returns the number of postings."""
    posted = 0
    with storage.write() as connection:
        posted += settle_runs(connection, connection.execute(select(*_CHARGED).where(t.runs.c.closed_at.is_(None))).all(), now)
    w, a = t.workspaces, t.accounts
    with storage.write() as connection:
        # a disk is charged from a wallet that holds something; what an empty one owes for storage waits for the next recharge
        paying = select(w).join(a, a.c.name == "wallet:" + w.c.owner)
        rows = connection.execute(paying.where(w.c.disk_price_micros_per_day > 0, w.c.released_at.is_(None), a.c.balance_micros > 0)).all()
        posted += settle_disks(connection, rows, now)
    return posted


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
    r, a = t.runs, t.accounts
    burn = func.sum(r.c.price_micros_per_hour)
    balance = func.coalesce(func.max(a.c.balance_micros), 0)
    hours = max(WARNING_MINUTES) // 60 + UNSETTLED_HOURS
    query = select(r.c.owner).outerjoin(a, a.c.name == "wallet:" + r.c.owner).where(r.c.closed_at.is_(None)).group_by(r.c.owner)
    return list(connection.execute(query.having(balance < burn * hours)).scalars())


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
    if left is None or not (new := set(due) - given):
        return
    connection.execute(warnings.insert(), [{"owner": owner, "threshold_minutes": m, "at": now} for m in sorted(new)])
    message = Sentence(LOW.msgid, {"empty_at": (now + left).isoformat()})
    running = select(t.workspaces).where(t.workspaces.c.owner == owner, t.workspaces.c.state == State.RUNNING)
    for row in connection.execute(running).all():
        emit(connection, workspace_id=row.id, owner=owner, at=now, kind="wallet_low", message=message, severity="warning", actor="billing")
