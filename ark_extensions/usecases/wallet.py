"""The wallet as its owner sees it: balance, burn, movements and the runs of a month."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import func, select

from ark_extensions.domain import ledger
from ark_extensions.domain.metering import cost_micros, elapsed_micros
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.bills import month_bounds
from ark_extensions.usecases.charges import read_lots
from ark_extensions.usecases.purse import read_held, read_purse
from ark_extensions.usecases.views import Page, RunView, TransactionView, WalletView


def wallet(storage: Storage, *, user: str, now: datetime) -> WalletView:
    """``balance_micros``: what ran and is not charged yet is taken off. ``held_micros`` of it are for the rest of first hours."""
    with storage.read() as connection:
        purse = read_purse(connection, user, now)
        held_micros = read_held(connection, user, now)
        lots = tuple((lot.remaining_micros, lot.expires_at) for lot in read_lots(connection, [user], now).get(user, ()))
        frozen = connection.execute(select(t.users.c.frozen_reason).where(t.users.c.name == user)).scalar()
    return WalletView(purse.available_micros, purse.burn_micros_per_hour, purse.runway, lots, frozen, held_micros)


def list_transactions(storage: Storage, *, user: str, before: int | None = None, limit: int = 100) -> Page[TransactionView]:
    """Every movement of the wallet, newest first, with the balance after it."""
    e, x = t.entries, t.transactions
    own = e.c.account.in_([ledger.wallet(user), ledger.credit(user)])
    moved = (
        select(e.c.transaction_id, func.sum(e.c.amount_micros).label("amount_micros")).where(own).group_by(e.c.transaction_id).subquery()
    )
    after = func.sum(moved.c.amount_micros).over(order_by=moved.c.transaction_id).label("balance_after")
    mine = select(moved.c.transaction_id, moved.c.amount_micros, after).subquery()
    query = select(x, mine.c.amount_micros, mine.c.balance_after).join(mine, mine.c.transaction_id == x.c.id).order_by(x.c.id.desc())
    if before is not None:
        query = query.where(x.c.id < before)
    with storage.read() as connection:
        rows = connection.execute(query.limit(limit + 1)).all()
    items = tuple(TransactionView(r.id, r.at, r.kind, r.amount_micros, r.balance_after, r.subject, r.memo, r.actor) for r in rows[:limit])
    return Page(items, items[-1].id if len(rows) > limit else None)


def list_runs(storage: Storage, *, user: str, month: date | None, now: datetime) -> list[RunView]:
    """Runs that overlap the month (UTC; None: all), newest first, with what each has cost so far, charged or not."""
    r, w, o = t.runs, t.workspaces, t.offers
    query = (
        select(r, w.c.name.label("workspace_name"), o.c.name.label("offer_name"))
        .join(w, w.c.id == r.c.workspace_id)
        .join(o, o.c.id == r.c.offer_id)
        .where(r.c.owner == user)
        .order_by(r.c.opened_at.desc(), r.c.id)
    )
    if month is not None:
        first, following = month_bounds(month)
        query = query.where(r.c.opened_at < following, (r.c.closed_at.is_(None)) | (r.c.closed_at >= first))
    with storage.read() as connection:
        rows = connection.execute(query).all()
    found = []
    for row in rows:
        until = row.closed_at or min(row.seen_at, now)
        cost = cost_micros(row.price_micros_per_hour, row.opened_at, until)
        seconds = elapsed_micros(row.opened_at, until) // 1_000_000
        price = (row.price_micros_per_hour, row.price_version_id)
        found.append(
            RunView(row.id, row.workspace_name, row.offer_name, row.opened_at, row.closed_at, seconds, *price, cost, row.close_reason)
        )
    return found
