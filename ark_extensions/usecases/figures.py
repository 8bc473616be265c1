"""The figures of an installation, for its operator's dashboards: counted, never estimated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text

from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.halts import posting_halt


@dataclass(frozen=True)
class Figures:
    """``owed_micros``: what wallets below zero owe; ``book_differences``: 0 is the only right answer."""

    workspaces: tuple[tuple[str, int], ...]
    open_runs: int
    burn_micros_per_hour: int
    gpus_total: int
    gpus_claimed: int
    users: int
    owed_micros: int
    book_differences: int
    posting_halted: bool


def figures(storage: Storage) -> Figures:
    """Everything in one look; the books are recomputed."""
    w, r, a = t.workspaces, t.runs, t.accounts
    with storage.read() as connection:
        states = connection.execute(select(w.c.state, func.count()).where(w.c.disk_deleted_at.is_(None)).group_by(w.c.state)).all()
        burn = select(func.count(), func.coalesce(func.sum(r.c.price_micros_per_hour), 0)).where(r.c.closed_at.is_(None))
        runs, per_hour = connection.execute(burn).one()
        gpus = sum(len(row.gpus) for row in connection.execute(select(t.nodes)))
        claimed = connection.execute(select(func.count()).select_from(t.claimed_devices)).scalar_one()
        people = connection.execute(select(func.count()).select_from(t.users)).scalar_one()
        owed = select(func.coalesce(func.sum(-a.c.balance_micros), 0)).where(a.c.name.startswith("wallet:"), a.c.balance_micros < 0)
        debt = connection.execute(owed).scalar_one()
    shown = tuple(sorted((str(state), int(count)) for state, count in states))
    books = (len(check_books(storage)), posting_halt(storage) is not None)
    return Figures(shown, int(runs), int(per_hour), gpus, int(claimed), int(people), int(debt), *books)


@dataclass(frozen=True)
class Clocks:
    """``newest``: the latest moment on record; ``database``: its server's own time. None: there is none."""

    newest: datetime | None
    database: datetime | None


def clocks(storage: Storage) -> Clocks:
    """What the database says the time is."""
    with storage.read() as connection:
        latest = [connection.execute(select(func.max(moment))).scalar() for moment in (t.events.c.at, t.runs.c.seen_at)]
        server = connection.execute(text("SELECT clock_timestamp()")).scalar() if storage.dialect == "postgresql" else None
    return Clocks(max((at for at in latest if at is not None), default=None), server)
