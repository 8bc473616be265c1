"""The books prove themselves: every balance is recomputed from entries, every charge from what was run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from ark_extensions.domain.ledger import REVENUE
from ark_extensions.domain.metering import cost_micros
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t


@dataclass(frozen=True)
class Difference:
    """One thing that does not add up, with the rows that show it."""

    kind: str
    message: str
    rows: tuple[dict[str, Any], ...]


def check_books(storage: Storage) -> list[Difference]:
    """All differences between the journal, the balances and the runs; an empty list is the only right answer."""
    found: list[Difference] = []
    e, x, a, r, w = t.entries, t.transactions, t.accounts, t.runs, t.workspaces
    with storage.read() as connection:
        total = func.sum(e.c.amount_micros)
        unbalanced = select(e.c.transaction_id, total.label("sum")).group_by(e.c.transaction_id).having(total != 0)
        for row in connection.execute(unbalanced):
            found.append(Difference("unbalanced", f"transaction {row.transaction_id} sums to {row.sum} micros", (dict(row._mapping),)))
        lonely = select(x.c.id).where(~select(e.c.transaction_id).where(e.c.transaction_id == x.c.id).exists())
        for row in connection.execute(lonely):
            found.append(Difference("empty", f"transaction {row.id} has no entries", (dict(row._mapping),)))
        sums = {row.account: row.sum for row in connection.execute(select(e.c.account, total.label("sum")).group_by(e.c.account))}
        kept = {row.name: row.balance_micros for row in connection.execute(select(a))}
        for name in sorted(sums.keys() | kept.keys()):
            if sums.get(name, 0) != kept.get(name, 0):
                shown = {"account": name, "entries": sums.get(name, 0), "balance": kept.get(name, 0)}
                found.append(Difference("balance", f"{name}: entries say {shown['entries']}, balance says {shown['balance']}", (shown,)))
        paid = select(x.c.subject, total.label("sum")).join(e, e.c.transaction_id == x.c.id).where(e.c.account == REVENUE)
        charged = {row.subject: row.sum for row in connection.execute(paid.group_by(x.c.subject))}
        expected: dict[str, int] = {}
        for run in connection.execute(select(r)):
            expected[f"run:{run.id}"] = run.charged_micros
            cost = cost_micros(run.price_micros_per_hour, run.opened_at, run.closed_at or run.seen_at)
            if run.charged_micros > cost or (run.closed_at is not None and run.charged_micros != cost):
                shown = {"run": run.id, "charged": run.charged_micros, "cost": cost}
                found.append(Difference("run_cost", f"run {run.id} cost {cost} and was charged {run.charged_micros}", (shown,)))
        terms = {
            f"term:{x.id}": x.charged_micros for x in connection.execute(select(t.asset_terms).where(t.asset_terms.c.charged_micros > 0))
        }
        for disk in connection.execute(select(w.c.id, w.c.disk_charged_micros).where(w.c.disk_charged_micros > 0)):
            expected[f"disk:{disk.id}"] = disk.disk_charged_micros
    expected |= terms
    for subject in sorted(expected.keys() | charged.keys()):
        if expected.get(subject, 0) != charged.get(subject, 0):
            shown = {"subject": subject, "journal": charged.get(subject, 0), "expected": expected.get(subject, 0)}
            found.append(Difference("charge", f"{subject}: the journal says {shown['journal']}, usage says {shown['expected']}", (shown,)))
    return found
