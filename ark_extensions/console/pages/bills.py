"""The bill of a month: what each run, disk and term cost, its settlements on demand, plots by day, and all of it as CSV.

Promises: the total is the sum of the lines, to the micro-unit; the CSV holds every line however long the page's list is.
"""

from __future__ import annotations

import csv
import io
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from ark_extensions.console.pages.base import Page
from ark_extensions.console.pages.plots import Plot, plot
from ark_extensions.domain.money import format_amount
from ark_extensions.usecases import bills
from ark_extensions.usecases.bills import BillLine

#: things shown on the page; more are in the file
GROUPS_SHOWN = 300
STACKS = ("kind", "workspace")
#: kinds of charges, in the order of their colours
KINDS = ("charge_compute", "charge_term", "charge_disk", "charge_netdisk")


def read_month(text: str, today: date) -> date:
    """``2026-11`` → its first day; what is no month is this one."""
    try:
        return date.fromisoformat(f"{text[:7]}-01")
    except ValueError:
        return today.replace(day=1)


def month_before(month: date) -> date:
    return date(month.year - (month.month == 1), 12 if month.month == 1 else month.month - 1, 1)


def month_after(month: date) -> date:
    return date(month.year + (month.month == 12), 1 if month.month == 12 else month.month + 1, 1)


@dataclass(frozen=True)
class Group:
    """What one run, disk or term cost in the month at one price. ``first`` is its newest line, for what all lines share."""

    first: BillLine
    from_at: datetime
    until_at: datetime
    quantity: int
    amount_micros: int
    settlements: int


def grouped(lines: Iterable[BillLine]) -> list[Group]:
    """The lines by subject and price version, the latest first."""
    found: dict[tuple[str, str | None], list[BillLine]] = {}
    for line in lines:
        found.setdefault((line.subject, line.price_version_id), []).append(line)
    groups = [
        Group(
            same[0], min(line.from_at for line in same), max(line.until_at for line in same), sum(line.quantity for line in same),
            sum(line.amount_micros for line in same), len(same),
        )
        for same in found.values()
    ]  # fmt: skip
    return sorted(groups, key=lambda g: g.until_at, reverse=True)


def by_day(lines: Iterable[BillLine], stack: str) -> dict[date, dict[str, int]]:
    """day → series → micros; a series is a kind, or a workspace (else the kind of what belongs to none)."""
    days: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        key = line.kind if stack == "kind" or line.workspace is None else line.workspace
        days[line.at.date()][key] += line.amount_micros
    return days


def month_plot(lines: Iterable[BillLine], month: date, stack: str) -> Plot:
    return plot(by_day(lines, stack), month, monthrange(month.year, month.month)[1], KINDS if stack == "kind" else ())


class Bills(Page):
    section = "bills"

    async def get(self) -> None:
        now = self.now
        month = read_month(self.get_query_argument("month", ""), now.date())
        found = await self.use(bills.bill, user=self.me, month=month)
        after = month_after(month)
        stack = self.choice("by", STACKS)
        groups = grouped(found.lines)
        await self.page(
            "bills.html", bill=found, charges=groups[:GROUPS_SHOWN], hidden=max(len(groups) - GROUPS_SHOWN, 0), month=month,
            before=month_before(month), after=after if after <= now.date() else None, stack=stack,
            plot=month_plot(found.lines, month, stack), months=await self.use(bills.months_with_bills, user=self.me),
        )  # fmt: skip


class BillLines(Page):
    """The settlements of one run, disk or term in a month."""

    async def get(self) -> None:
        month = read_month(self.get_query_argument("month", ""), self.now.date())
        subject, version = self.get_query_argument("subject", "")[:200], self.get_query_argument("version", "")[:100]
        found = await self.use(bills.bill, user=self.me, month=month)
        lines = [line for line in found.lines if line.subject == subject and (line.price_version_id or "") == version]
        events = await self.use(bills.run_events, user=self.me, subject=subject)
        self.fragment("_bill_lines.html", lines=lines, events=events)


class BillsFile(Page):
    """Every line of a month as CSV: exact amounts, UTC times, one header line."""

    async def get(self) -> None:
        month = read_month(self.get_query_argument("month", ""), self.now.date())
        found = await self.use(bills.bill, user=self.me, month=month)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(
            ["charged_at", "kind", "subject", "workspace", "offer", "from", "until", "quantity", "unit_price", "per", "price_version",
             "amount", "currency", "closed_because"]
        )  # fmt: skip
        for line in found.lines:
            unit = "" if line.unit_micros is None else format_amount(line.unit_micros)
            writer.writerow([
                line.at.isoformat(), line.kind, line.subject, line.workspace or "", line.offer or "", line.from_at.isoformat(),
                line.until_at.isoformat(), line.quantity, unit, line.per or "", line.price_version_id or "",
                format_amount(line.amount_micros), self.console_settings.currency, line.closed_because or "",
            ])  # fmt: skip
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="ark-{month:%Y-%m}.csv"')
        self.finish(out.getvalue())
