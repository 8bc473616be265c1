"""Charging what was used: round(cumulative cost) − already posted, keyed by what is charged and until when.

A retry posts nothing (what was charged is recorded in the same transaction); rounding never drifts. Each charge leaves a
bill line that says what it was for. Credit is spent before what was paid in, the soonest to expire first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from ark_extensions.domain.errors import PostingHalted
from ark_extensions.domain.ledger import Lot, Posting, charge, run_charge_key, spend_credit
from ark_extensions.domain.metering import cost_micros
from ark_extensions.storage.journal import KeysTaken
from ark_extensions.storage.sets import set_numbers
from ark_extensions.storage.tables import runs, workspaces
from ark_extensions.storage.tables_money import bill_lines, credit_lots
from ark_extensions.storage.types import to_micros
from ark_extensions.usecases.halts import defer, halt, refuse_when_halted
from ark_extensions.usecases.journal import post
from ark_extensions.usecases.purse import disk_due
from ark_extensions.usecases.views import Sentence

#: what a settlement writes on a run and on a workspace's disk
_RUN = ("charged_micros", "charged_until")
_DISK = ("disk_charged_micros", "disk_charged_until")


class BooksHalted(PostingHalted):
    """A charge met its own key in the journal though the books say that it is due. Who settles halts posting (`halts`)."""

    def __init__(self, found: Sentence) -> None:
        super().__init__()
        self.found = found


@dataclass(frozen=True)
class Charge:
    """One charge and its bill line. ``quantity``: seconds of use, months of a term, or bytes of a day on the netdisk."""

    key: str
    owner: str
    kind: str
    subject: str
    amount_micros: int
    from_at: datetime
    until_at: datetime
    quantity: int
    workspace_id: str | None = None
    price_version_id: str | None = None


def read_lots(connection: Connection, owners: Sequence[str], now: datetime) -> dict[str, list[Lot]]:
    """Credit still to spend by owner, the soonest to expire first."""
    c = credit_lots.c
    query = select(credit_lots).where(c.owner.in_(owners), c.remaining_micros > 0)
    found: dict[str, list[Lot]] = {}
    for row in connection.execute(query.order_by(c.expires_at.is_(None), c.expires_at, c.created_at, c.id)):
        if row.expires_at is None or row.expires_at > now:
            found.setdefault(row.owner, []).append(Lot(row.id, row.remaining_micros, row.expires_at))
    return found


def post_charges(connection: Connection, charges: Sequence[Charge], now: datetime) -> int:
    """Post charges with their bill lines, in the caller's transaction; returns their number.

    Raises BooksHalted on a used key and PostingHalted while posting is halted, both before anything is written."""
    if not charges:
        return 0
    lots = read_lots(connection, sorted({c.owner for c in charges}), now)
    postings: list[Posting] = []
    spent: dict[str, int] = {}
    for c in charges:
        paid = 0
        if c.owner in lots:
            paid, lots[c.owner] = spend_credit(lots[c.owner], c.amount_micros)
            spent.update({lot.id: lot.remaining_micros for lot in lots[c.owner]})
        fields = {"key": c.key, "user": c.owner, "at": now, "subject": c.subject, "kind": c.kind}
        postings.append(charge(**fields, amount_micros=c.amount_micros, from_credit_micros=paid))  # type: ignore[arg-type]
    try:
        post(connection, postings, all_new=True)
    except KeysTaken as taken:
        raise BooksHalted(Sentence("duplicate: a charge that is due was posted before ({why})", {"why": str(taken)})) from taken
    set_numbers(connection, credit_lots, ("remaining_micros",), list(spent.items()))
    connection.execute(bill_lines.insert(), [{**vars(c), "at": now} for c in charges])
    return len(charges)


def settle_runs(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> int:
    """Charge these runs up to the last moment they were seen alive (or their end); returns the number of charges.

    A charge that was posted before halts posting, in the caller's transaction, and nothing of these is charged."""
    charges: list[Charge] = []
    changes: list[tuple[str, int, int]] = []
    for row in rows:
        until = row.closed_at or min(row.seen_at, now)
        cost = cost_micros(row.price_micros_per_hour, row.opened_at, until)
        if cost > row.charged_micros:
            since = row.charged_until or row.opened_at
            about = (run_charge_key(row.id, until), row.owner, "charge_compute", f"run:{row.id}", cost - row.charged_micros)
            seconds = int((until - since).total_seconds())
            charges.append(Charge(*about, since, until, seconds, row.workspace_id, row.price_version_id))
            changes.append((row.id, cost, to_micros(until)))
    return _post_and_mark(connection, charges, lambda: set_numbers(connection, runs, _RUN, changes), now)


def settle_closed_run(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Charge a run that has just ended; while posting is halted it waits, and the stop goes on."""
    try:
        settled = settle_runs(connection, [row], now)
    except PostingHalted:
        settled = 0
    if not settled and cost_micros(row.price_micros_per_hour, row.opened_at, row.closed_at) > row.charged_micros:
        defer(connection, f"run:{row.id}", now)


def _post_and_mark(connection: Connection, charges: list[Charge], mark: Callable[[], None], now: datetime) -> int:
    """Post, then record on runs or disks what was charged."""
    try:
        posted = post_charges(connection, charges, now)
    except BooksHalted as wrong:
        halt(connection, [wrong.found], now)
        return 0
    mark()
    return posted


def settle_disks(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> int:
    """Charge these workspaces' data disks up to ``now``; returns the number of charges."""
    charges: list[Charge] = []
    changes: list[tuple[str, int, int]] = []
    for row in rows:
        due = disk_due(row, now)
        if due > 0:
            since = max(row.disk_charged_until or row.disk_since, row.disk_since)
            about = (f"disk:{row.id}:{now.isoformat()}", row.owner, "charge_disk", f"disk:{row.id}", due)
            seconds = int((now - since).total_seconds())
            charges.append(Charge(*about, since, now, seconds, row.id, row.disk_price_version_id))
            changes.append((row.id, row.disk_charged_micros + due, to_micros(now)))
    return _post_and_mark(connection, charges, lambda: set_numbers(connection, workspaces, _DISK, changes), now)


def settle_disk(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Charge one disk, as at its release; raises PostingHalted, so that nothing is released or grown without its charge."""
    refuse_when_halted(connection)
    settle_disks(connection, [row], now)
