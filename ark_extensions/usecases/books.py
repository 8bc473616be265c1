"""The books prove themselves: every balance is recomputed from entries, every charge from what was run.

`audit_books` is what runs nightly: a difference that no operator has accepted halts all posting, and says so; `resume_posting`
is the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select, update

from ark_extensions.domain.errors import Conflict
from ark_extensions.domain.ledger import REVENUE, credit
from ark_extensions.domain.metering import cost_micros
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import bill_lines, credit_lots, deferred_postings, posting_halts
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.charges import settle_runs
from ark_extensions.usecases.halts import halt, halted
from ark_extensions.usecases.users import give_opening
from ark_extensions.usecases.views import Sentence

#: differences named in a halt's record; the check itself shows all
NAMED = 20


@dataclass(frozen=True)
class Difference:
    """One thing that does not add up, with the rows that show it."""

    kind: str
    said: Sentence
    rows: tuple[dict[str, Any], ...]

    @property
    def message(self) -> str:
        """In English whoever reads it: what an operator accepted is known again by it."""
        return self.said.msgid.format(**self.said.params)


def check_books(storage: Storage) -> list[Difference]:
    """All differences between the journal, the balances, the runs and the bills; an empty list is the only right answer."""
    with storage.read() as connection:
        return _differences(connection)


def _differences(connection: Connection) -> list[Difference]:
    checks = (_check_journal, _check_balances, _check_charges, _check_intervals, _check_credit)
    return [difference for check in checks for difference in check(connection)]


def audit_books(storage: Storage, *, now: datetime) -> list[Difference]:
    """Check the books; a difference that no operator has accepted halts posting. Returns all differences."""
    found = check_books(storage)
    if not found:
        return found
    with storage.write() as connection:
        accepted = {message for row in connection.execute(select(posting_halts.c.accepted)) for message in row.accepted or ()}
        if new := [difference.said for difference in found if difference.message not in accepted]:
            more = [Sentence("and {count} more", {"count": len(new) - NAMED})] if len(new) > NAMED else []
            halt(connection, new[:NAMED] + more, now)
    return found


def resume_posting(storage: Storage, *, actor: str, reason: str, now: datetime) -> tuple[list[Difference], int]:
    """Let posting go on: what still differs is accepted by name, so that only new differences halt again; what waited is posted.

    Returns (what was accepted, how much was posted). Corrections are new entries, made afterwards. Raises Conflict when
    posting is not halted.
    """
    reason = check_reason(reason)
    with storage.write() as connection:
        if not halted(connection):
            raise Conflict("Posting is not halted.", code="not_halted")
        found = _differences(connection)
        lifted = {"lifted_at": now, "accepted": [difference.message for difference in found]}
        connection.execute(update(posting_halts).where(posting_halts.c.lifted_at.is_(None)).values(**lifted))
        posted = _post_deferred(connection, now)
        detail = {"accepted": len(found), "posted": posted}
        log_act(connection, at=now, actor=actor, act="resume_posting", subject="books", reason=reason, detail=detail)
    return found, posted


def _post_deferred(connection: Connection, now: datetime) -> int:
    waiting = connection.execute(select(deferred_postings).order_by(deferred_postings.c.at)).all()
    connection.execute(deferred_postings.delete())
    for row in waiting:
        kind, _, name = row.subject.partition(":")
        if kind == "opening":
            give_opening(connection, name, row.detail["amount_micros"], now)
        else:
            settle_runs(connection, connection.execute(select(t.runs).where(t.runs.c.id == name)).all(), now)
    return len(waiting)


def _check_journal(connection: Connection) -> Iterator[Difference]:
    e, x = t.entries, t.transactions
    total = func.sum(e.c.amount_micros)
    unbalanced = select(e.c.transaction_id, total.label("sum")).group_by(e.c.transaction_id).having(total != 0)
    for row in connection.execute(unbalanced):
        said = Sentence("transaction {number} sums to {sum} micros", {"number": row.transaction_id, "sum": int(row.sum)})
        yield Difference("unbalanced", said, (dict(row._mapping),))
    lonely = select(x.c.id).where(~select(e.c.transaction_id).where(e.c.transaction_id == x.c.id).exists())
    for row in connection.execute(lonely):
        yield Difference("empty", Sentence("transaction {number} has no entries", {"number": row.id}), (dict(row._mapping),))


def _check_balances(connection: Connection) -> Iterator[Difference]:
    e, a = t.entries, t.accounts
    total = func.sum(e.c.amount_micros).label("sum")
    sums = {row.account: int(row.sum) for row in connection.execute(select(e.c.account, total).group_by(e.c.account))}
    kept = {row.name: row.balance_micros for row in connection.execute(select(a))}
    for name in sorted(sums.keys() | kept.keys()):
        if sums.get(name, 0) != kept.get(name, 0):
            shown = {"account": name, "entries": sums.get(name, 0), "balance": kept.get(name, 0)}
            yield Difference("balance", Sentence("{account}: entries say {entries}, balance says {balance}", shown), (shown,))


def _check_charges(connection: Connection) -> Iterator[Difference]:
    """What was used, what the journal took for it and what the bill says must be the same for every run, disk and term."""
    e, x, b = t.entries, t.transactions, bill_lines
    paid = select(x.c.subject, func.sum(e.c.amount_micros).label("sum")).join(e, e.c.transaction_id == x.c.id)
    charged = {row.subject: int(row.sum) for row in connection.execute(paid.where(_charging(x, e)).group_by(x.c.subject))}
    billed = {
        row.subject: int(row.sum)
        for row in connection.execute(select(b.c.subject, func.sum(b.c.amount_micros).label("sum")).group_by(b.c.subject))
    }
    expected: dict[str, int] = {}
    waiting = set(connection.execute(select(deferred_postings.c.subject)).scalars())
    for run in connection.execute(select(t.runs)):
        expected[f"run:{run.id}"] = run.charged_micros
        cost = cost_micros(run.price_micros_per_hour, run.opened_at, run.closed_at or run.seen_at)
        over = run.closed_at is not None and f"run:{run.id}" not in waiting
        if run.charged_micros > cost or (over and run.charged_micros != cost):
            shown = {"run": run.id, "charged": run.charged_micros, "cost": cost}
            yield Difference("run_cost", Sentence("run {run} cost {cost} and was charged {charged}", shown), (shown,))
    for term in connection.execute(select(t.asset_terms)):
        expected[f"term:{term.id}"] = term.charged_micros
    for disk in connection.execute(select(t.workspaces.c.id, t.workspaces.c.disk_charged_micros)):
        expected[f"disk:{disk.id}"] = disk.disk_charged_micros
    for subject in sorted(charged.keys() | billed.keys() | {s for s, amount in expected.items() if amount}):
        shown = {"subject": subject, "journal": charged.get(subject, 0), "bill": billed.get(subject, 0)}
        shown["usage"] = expected.get(subject, shown["bill"])
        if not shown["journal"] == shown["bill"] == shown["usage"]:
            said = Sentence("{subject}: the journal says {journal}, the bill {bill}, usage {usage}", shown)
            yield Difference("charge", said, (shown,))


def _check_intervals(connection: Connection) -> Iterator[Difference]:
    """Each second is billed once: the lines of a run follow one another without gap or overlap, those of a disk without overlap."""
    b = bill_lines.c
    before = func.lag(b.until_at, type_=b.until_at.type).over(partition_by=b.subject, order_by=(b.from_at, b.until_at)).label("before")
    lines = select(b.key, b.subject, b.kind, b.from_at, before).where(b.kind.in_(["charge_compute", "charge_disk"])).subquery()
    line = lines.c
    gap = and_(line.kind == "charge_compute", line.from_at > line.before)
    for row in connection.execute(select(lines).where(or_(line.from_at < line.before, gap)).order_by(line.key)):
        kind = "duplicate" if row.from_at < row.before else "gap"
        shown = {"bill_line": row.key, "subject": row.subject, "from": row.from_at.isoformat(), "before": row.before.isoformat()}
        about = {"subject": row.subject, "moment": shown["from"]}
        overlap = Sentence("{subject}: a duplicate in what was billed, at {moment}", about)
        said = overlap if kind == "duplicate" else Sentence("{subject}: a gap in what was billed, at {moment}", about)
        yield Difference(kind, said, (shown,))


def _charging(x: Table, e: Table) -> ColumnElement[bool]:
    return and_(e.c.account == REVENUE, x.c.kind.startswith("charge_"))


def _check_credit(connection: Connection) -> Iterator[Difference]:
    """The lots still to spend must be the balance of each credit account."""
    c = credit_lots.c
    lots = select(c.owner, func.sum(c.remaining_micros).label("sum")).group_by(c.owner)
    kept = {credit(row.owner): int(row.sum) for row in connection.execute(lots)}
    held = select(t.accounts).where(t.accounts.c.name.startswith(credit("")))
    balances = {row.name: row.balance_micros for row in connection.execute(held)}
    for name in sorted(kept.keys() | balances.keys()):
        if kept.get(name, 0) != balances.get(name, 0):
            shown = {"account": name, "lots": kept.get(name, 0), "balance": balances.get(name, 0)}
            yield Difference("credit", Sentence("{account}: lots hold {lots}, balance says {balance}", shown), (shown,))
