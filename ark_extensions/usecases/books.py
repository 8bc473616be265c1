"""The books prove themselves: every balance is recomputed from entries, every charge from what was run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from ark_extensions.domain.ledger import REVENUE, credit
from ark_extensions.domain.metering import cost_micros
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import bill_lines, credit_lots


@dataclass(frozen=True)
class Difference:
    """One thing that does not add up, with the rows that show it."""

    kind: str
    message: str
    rows: tuple[dict[str, Any], ...]


def check_books(storage: Storage) -> list[Difference]:
    """All differences between the journal, the balances, the runs and the bills; an empty list is the only right answer."""
    with storage.read() as connection:
        return [*_check_journal(connection), *_check_balances(connection), *_check_charges(connection), *_check_credit(connection)]


def _check_journal(connection: Connection) -> Iterator[Difference]:
    e, x = t.entries, t.transactions
    total = func.sum(e.c.amount_micros)
    unbalanced = select(e.c.transaction_id, total.label("sum")).group_by(e.c.transaction_id).having(total != 0)
    for row in connection.execute(unbalanced):
        yield Difference("unbalanced", f"transaction {row.transaction_id} sums to {row.sum} micros", (dict(row._mapping),))
    lonely = select(x.c.id).where(~select(e.c.transaction_id).where(e.c.transaction_id == x.c.id).exists())
    for row in connection.execute(lonely):
        yield Difference("empty", f"transaction {row.id} has no entries", (dict(row._mapping),))


def _check_balances(connection: Connection) -> Iterator[Difference]:
    e, a = t.entries, t.accounts
    total = func.sum(e.c.amount_micros).label("sum")
    sums = {row.account: int(row.sum) for row in connection.execute(select(e.c.account, total).group_by(e.c.account))}
    kept = {row.name: row.balance_micros for row in connection.execute(select(a))}
    for name in sorted(sums.keys() | kept.keys()):
        if sums.get(name, 0) != kept.get(name, 0):
            shown = {"account": name, "entries": sums.get(name, 0), "balance": kept.get(name, 0)}
            yield Difference("balance", f"{name}: entries say {shown['entries']}, balance says {shown['balance']}", (shown,))


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
    for run in connection.execute(select(t.runs)):
        expected[f"run:{run.id}"] = run.charged_micros
        cost = cost_micros(run.price_micros_per_hour, run.opened_at, run.closed_at or run.seen_at)
        if run.charged_micros > cost or (run.closed_at is not None and run.charged_micros != cost):
            shown = {"run": run.id, "charged": run.charged_micros, "cost": cost}
            yield Difference("run_cost", f"run {run.id} cost {cost} and was charged {run.charged_micros}", (shown,))
    for term in connection.execute(select(t.asset_terms)):
        expected[f"term:{term.id}"] = term.charged_micros
    for disk in connection.execute(select(t.workspaces.c.id, t.workspaces.c.disk_charged_micros)):
        expected[f"disk:{disk.id}"] = disk.disk_charged_micros
    for subject in sorted(charged.keys() | billed.keys() | {s for s, amount in expected.items() if amount}):
        shown = {"subject": subject, "journal": charged.get(subject, 0), "bill": billed.get(subject, 0)}
        used = expected.get(subject, shown["bill"])
        if not shown["journal"] == shown["bill"] == used:
            said = f"{subject}: the journal says {shown['journal']}, the bill {shown['bill']}, usage {used}"
            yield Difference("charge", said, ({**shown, "usage": used},))


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
            yield Difference("credit", f"{name}: lots hold {shown['lots']}, balance says {shown['balance']}", (shown,))
