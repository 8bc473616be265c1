"""The wallet with its movements, and the bill of a month run by run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

from ark_extensions.console.pages.base import Page
from ark_extensions.domain.money import format_amount
from ark_extensions.usecases import wallet, workspaces
from ark_extensions.usecases.views import TransactionView

MOVEMENTS_A_PAGE = 50
#: a page of movements is named from the bills of so many months at most
MONTHS_NAMED = 3


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


class Wallet(Page):
    section = "wallet"

    async def subjects(self, movements: Sequence[TransactionView]) -> dict[str, str]:
        """What charges are about, by the names people gave: ``run:ID`` and ``disk:ID`` → a workspace's name."""
        found: dict[str, str] = {}
        if any(m.subject.startswith("disk:") for m in movements):
            mine = await self.use(workspaces.list_workspaces, owner=self.me, now=self.now)
            found |= {f"disk:{w.id}": w.name for w in mine}
        # a run stands in the bill of every month that it touches, and its charges fall into these months
        for month in sorted({m.at.date().replace(day=1) for m in movements if m.subject.startswith("run:")})[-MONTHS_NAMED:]:
            runs = await self.use(wallet.list_runs, user=self.me, month=month, now=self.now)
            found |= {f"run:{run.id}": run.workspace_name for run in runs}
        return found

    async def get(self) -> None:
        before = self.get_query_argument("before", "")
        page = await self.use(
            wallet.list_transactions,
            user=self.me,
            before=int(before[:15]) if before.isascii() and before.isdigit() else None,
            limit=MOVEMENTS_A_PAGE,
        )
        context: dict[str, Any] = {"movements": page.items, "next": page.next, "subjects": await self.subjects(page.items)}
        if self.request.headers.get("HX-Request"):
            self.fragment("_movements.html", **context)
        else:
            await self.page("wallet.html", **context)


class BillsFile(Page):
    """The runs of a month as CSV: exact amounts, UTC times, one header line."""

    async def get(self) -> None:
        month = read_month(self.get_query_argument("month", ""), self.now.date())
        runs = await self.use(wallet.list_runs, user=self.me, month=month, now=self.now)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(
            ["run", "workspace", "offer", "from", "to", "seconds", "price_per_hour", "price_version", "cost", "currency", "ended_by"]
        )
        for run in runs:
            writer.writerow([
                run.id, run.workspace_name, run.offer_name, run.opened_at.isoformat(), run.closed_at.isoformat() if run.closed_at else "",
                run.seconds, format_amount(run.price_micros_per_hour), run.price_version_id, format_amount(run.cost_micros),
                self.console_settings.currency, run.close_reason or "",
            ])  # fmt: skip
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="ark-{month:%Y-%m}.csv"')
        self.finish(out.getvalue())


class Bills(Page):
    section = "bills"

    async def get(self) -> None:
        now = self.now
        month = read_month(self.get_query_argument("month", ""), now.date())
        runs = list(await self.use(wallet.list_runs, user=self.me, month=month, now=now))
        after = month_after(month)
        await self.page(
            "bills.html", runs=runs, month=month, before=month_before(month), after=after if after <= now.date() else None,
            total=sum(run.cost_micros for run in runs), seconds=sum(run.seconds for run in runs),
        )  # fmt: skip
