"""Bills: what was charged, line by line, by day, by workspace and by kind; totals equal the journal to the micro-unit.

Days and months are UTC. A line names what it is for, the interval, the quantity, the price version and the events that
opened and closed the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select

from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import bill_lines
from ark_extensions.usecases.events import event_of
from ark_extensions.usecases.views import EventView, Page

#: kinds of event that begin and end a run
OPENING = ("running", "found")
CLOSING = ("stopped",)


@dataclass(frozen=True)
class BillLine:
    """``quantity``: seconds of use, months of a term, or bytes of a day on the netdisk.
    ``unit_micros`` per hour, day or month (``per``)."""

    key: str
    at: datetime
    kind: str
    subject: str
    workspace: str | None
    offer: str | None
    from_at: datetime
    until_at: datetime
    quantity: int
    unit_micros: int | None
    per: str | None
    price_version_id: str | None
    amount_micros: int
    closed_because: str | None
    display_name: str | None = None


@dataclass(frozen=True)
class Bill:
    """A month: lines newest first, and the totals a person compares."""

    month: date
    lines: tuple[BillLine, ...]
    total_micros: int
    by_day: tuple[tuple[date, tuple[tuple[str, int], ...]], ...]
    by_workspace: tuple[tuple[str, int], ...]
    by_kind: tuple[tuple[str, int], ...]


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """The first moment of a month and of the next one, UTC."""
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    following = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    return first, following


def bill(storage: Storage, *, user: str, month: date) -> Bill:
    """Everything charged to a user within a month."""
    first, following = month_bounds(month)
    b, w, p = bill_lines, t.workspaces, t.price_versions
    run, o = t.runs, t.offers
    query = (
        select(
            b, w.c.name.label("workspace"), w.c.display_name, p.c.price_micros, p.c.per, run.c.close_reason, t.offers.c.name.label("offer")
        )
        .outerjoin(w, w.c.id == b.c.workspace_id)
        .outerjoin(p, p.c.id == b.c.price_version_id)
        .outerjoin(run, b.c.subject == "run:" + run.c.id)
        .outerjoin(o, p.c.subject == "offer:" + o.c.id)
        .where(b.c.owner == user, b.c.at >= first, b.c.at < following)
        .order_by(b.c.at.desc(), b.c.key)
    )
    with storage.read() as connection:
        rows = connection.execute(query).all()
    lines = tuple(
        BillLine(
            key=r.key,
            at=r.at,
            kind=r.kind,
            subject=r.subject,
            workspace=r.workspace,
            offer=r.offer,
            from_at=r.from_at,
            until_at=r.until_at,
            quantity=r.quantity,
            unit_micros=r.price_micros,
            per=r.per,
            price_version_id=r.price_version_id,
            amount_micros=r.amount_micros,
            closed_because=r.close_reason,
            display_name=r.display_name,
        )
        for r in rows
    )
    return _summed(first.date(), lines)


def _summed(month: date, lines: Sequence[BillLine]) -> Bill:
    days: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    workspaces: dict[str, int] = defaultdict(int)
    kinds: dict[str, int] = defaultdict(int)
    for line in lines:
        days[line.at.date()][line.kind] += line.amount_micros
        workspaces[line.workspace or ""] += line.amount_micros
        kinds[line.kind] += line.amount_micros
    return Bill(
        month=month,
        lines=tuple(lines),
        total_micros=sum(kinds.values()),
        by_day=tuple((day, tuple(sorted(days[day].items()))) for day in sorted(days)),
        by_workspace=tuple(sorted(workspaces.items(), key=lambda item: -item[1])),
        by_kind=tuple(sorted(kinds.items(), key=lambda item: -item[1])),
    )


def months_with_bills(storage: Storage, *, user: str) -> list[date]:
    """Months in which something was charged, newest first."""
    b = bill_lines
    with storage.read() as connection:
        row = connection.execute(select(func.min(b.c.at).label("first"), func.max(b.c.at).label("last")).where(b.c.owner == user)).one()
    if row.first is None:
        return []
    months, month = [], row.last.date().replace(day=1)
    while month >= row.first.date().replace(day=1):
        months.append(month)
        month = (month - timedelta(days=1)).replace(day=1)
    return months


def run_events(storage: Storage, *, user: str, subject: str) -> list[EventView]:
    """The events that opened and closed a run (``run:ID``), oldest first; none for what is no run of this user's."""
    kind, _, run_id = subject.partition(":")
    r, e, w = t.runs, t.events, t.workspaces
    with storage.read() as connection:
        run = connection.execute(select(r).where(r.c.id == run_id, r.c.owner == user)).first() if kind == "run" else None
        if run is None:
            return []
        of_run = select(e, w.c.name.label("workspace_name")).join(w, w.c.id == e.c.workspace_id).where(e.c.workspace_id == run.workspace_id)
        opening = of_run.where(e.c.kind.in_(OPENING), e.c.at >= run.opened_at).order_by(e.c.id).limit(1)
        found = list(connection.execute(opening).all())
        if run.closed_at is not None:
            closing = of_run.where(e.c.kind.in_(CLOSING), e.c.at >= run.closed_at).order_by(e.c.id).limit(1)
            found += connection.execute(closing).all()
    return [event_of(row) for row in found]


@dataclass(frozen=True)
class Takings:
    """What an operator sees of a span: revenue by day and offer, and what users owe and hold."""

    by_day: tuple[tuple[date, int], ...]
    by_offer: tuple[tuple[str, int], ...]
    total_micros: int


def takings(storage: Storage, *, since: datetime, until: datetime) -> Takings:
    """Revenue charged within a span (refunds are in the journal, not here)."""
    b, p, o = bill_lines, t.price_versions, t.offers
    query = (
        select(b.c.at, b.c.kind, b.c.amount_micros, o.c.name.label("offer"))
        .outerjoin(p, p.c.id == b.c.price_version_id)
        .outerjoin(o, p.c.subject == "offer:" + o.c.id)
        .where(b.c.at >= since, b.c.at < until)
    )
    days: dict[date, int] = defaultdict(int)
    offers: dict[str, int] = defaultdict(int)
    with storage.read() as connection:
        for r in connection.execute(query):
            days[r.at.date()] += r.amount_micros
            offers[r.offer or r.kind] += r.amount_micros
    by_offer = tuple(sorted(offers.items(), key=lambda item: -item[1]))
    return Takings(tuple(sorted(days.items())), by_offer, sum(days.values()))


def receivables(storage: Storage) -> Page[tuple[str, int]]:
    """Wallets below zero, the deepest first: (user, micros owed)."""
    a = t.accounts
    owed = select(a.c.name, a.c.balance_micros).where(a.c.name.startswith("wallet:"), a.c.balance_micros < 0).order_by(a.c.balance_micros)
    with storage.read() as connection:
        return Page(tuple((r.name.removeprefix("wallet:"), -r.balance_micros) for r in connection.execute(owed)), None)
