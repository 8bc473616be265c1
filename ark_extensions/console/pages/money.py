"""The wallet with its movements and its last 30 days, and the page on which money is paid in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from ark_extensions.console.pages.base import Page
from ark_extensions.console.pages.bills import KINDS, by_day
from ark_extensions.console.pages.plots import plot
from ark_extensions.domain.money import MICROS
from ark_extensions.payments.manual import transfer_reference
from ark_extensions.usecases import bills, recharges, wallet
from ark_extensions.usecases.bills import BillLine
from ark_extensions.usecases.views import TransactionView

MOVEMENTS_A_PAGE = 50
PLOT_DAYS = 30
#: a page of movements is named from the bills of so many months at most
MONTHS_NAMED = 3
PRESETS = tuple(amount * MICROS for amount in (20, 50, 100, 200, 500, 1000))


def names(lines: Iterable[BillLine]) -> dict[str, str]:
    """What charges are about, by the names people gave: ``run:ID`` → a workspace's name, ``term:ID`` → an offer's."""
    return {line.subject: line.workspace or line.offer or "" for line in lines if line.workspace or line.offer}


async def month_lines(page: Page, user: str, months: Iterable[date]) -> dict[date, Sequence[BillLine]]:
    """The bill lines of some months, each asked for once."""
    return {month: (await page.use(bills.bill, user=user, month=month)).lines for month in sorted(set(months))}


async def movements_of(page: Page, user: str, older: str, known: dict[date, Sequence[BillLine]] | None = None) -> dict[str, Any]:
    """A page of a user's movements as its template takes it. ``known``: bills that were read already."""
    before = page.get_query_argument("before", "")
    found = await page.use(
        wallet.list_transactions,
        user=user,
        before=int(before[:15]) if before.isascii() and before.isdigit() else None,
        limit=MOVEMENTS_A_PAGE,
    )
    wanted = sorted({m.at.date().replace(day=1) for m in found.items if charged(m)})[-MONTHS_NAMED:]
    lines = dict(known or {})
    lines |= await month_lines(page, user, [month for month in wanted if month not in lines])
    subjects: dict[str, str] = {}
    for month in wanted:
        subjects |= names(lines[month])
    return {"movements": found.items, "next": found.next, "subjects": subjects, "older": older, "refundable": False}


def charged(movement: TransactionView) -> bool:
    return movement.kind.startswith("charge_")


class Wallet(Page):
    section = "wallet"

    async def get(self) -> None:
        older = "wallet"
        if self.get_query_argument("before", ""):
            self.fragment("_movements.html", **await movements_of(self, self.me, older))
            return
        today = self.now.date()
        first = today - timedelta(days=PLOT_DAYS - 1)
        lines = await month_lines(self, self.me, {first.replace(day=1), today.replace(day=1)})
        drawn = plot(by_day([line for month in lines.values() for line in month], "kind"), first, PLOT_DAYS, KINDS)
        await self.page("wallet.html", plot=drawn, **await movements_of(self, self.me, older, lines))


class Recharge(Page):
    section = "recharge"

    async def get(self) -> None:
        found = await self.use(recharges.list_recharges, user=self.me, limit=MOVEMENTS_A_PAGE)
        await self.page(
            "recharge.html", recharges=found.items, providers=list(self.ark.providers), presets=PRESETS,
            instructions=self.console_settings.payments.manual_instructions, reference=transfer_reference,
        )  # fmt: skip
