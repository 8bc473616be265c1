"""What a user owns: terms of monthly compute (buy, renew), and the data disks of their workspaces."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ark_extensions.console.pages.base import Page
from ark_extensions.domain.assets import MAX_AHEAD_MONTHS, MAX_MONTHS, MIN_MONTHS, add_months
from ark_extensions.domain.errors import Conflict, NotFound
from ark_extensions.domain.offers import Plan
from ark_extensions.domain.workspaces import ACTIVE, State
from ark_extensions.usecases import assets, conversions, market, wallet, workspaces
from ark_extensions.usecases.assets import AssetView
from ark_extensions.usecases.views import WorkspaceView


@dataclass(frozen=True)
class Choice:
    """A number of months, what it costs and when the term then ends."""

    months: int
    total_micros: int
    ends_at: datetime


def months_paid(asset: AssetView) -> int:
    """How many months a term has so far: its end is counted from its beginning, so that the 31st stays the 31st."""
    months = 1
    while add_months(asset.bought_at, months) < asset.expires_at:
        months += 1
    return months


def choices(price_micros: int, begin: datetime, paid: int, now: datetime) -> list[Choice]:
    """The months that can be bought on a term that began at ``begin`` and has ``paid`` months already."""
    latest = add_months(now, MAX_AHEAD_MONTHS)
    ends = ((months, add_months(begin, paid + months)) for months in range(MIN_MONTHS, MAX_MONTHS + 1))
    return [Choice(months, price_micros * months, end) for months, end in ends if end <= latest]


def passed(asset: AssetView, now: datetime) -> int:
    """How much of a term is over, in percent."""
    whole = (asset.expires_at - asset.bought_at).total_seconds()
    return round(100 * min(max((now - asset.bought_at).total_seconds() / whole, 0), 1)) if whole else 100


def in_use(mine: list[WorkspaceView]) -> dict[str, str]:
    """asset id → the workspace that holds it now."""
    return {w.asset_id: w.display_name for w in mine if w.asset_id and w.state in ACTIVE}


async def living(page: Page, mine: list[WorkspaceView]) -> list[tuple[AssetView, str]]:
    """The reader's terms that run, each with the name of the workspace that holds it now (or nothing)."""
    now, busy = page.now, in_use(mine)
    found = await page.use(assets.list_assets, user=page.me, now=now)
    return [(asset, busy.get(asset.id, "")) for asset in found if asset.ended_at is None and asset.expires_at > now]


class MyCompute(Page):
    section = "assets"

    async def get(self) -> None:
        found = await self.use(assets.list_assets, user=self.me, now=self.now)
        mine = list(await self.use(workspaces.list_workspaces, owner=self.me, now=self.now, include_released=False))
        titles = {w.name: w.display_name for w in mine}
        convertible = self.console_settings.term_conversion_percent > 0
        await self.page("assets.html", terms=found, passed=passed, busy=in_use(mine), titles=titles, convertible=convertible)


class BuyDialog(Page):
    """Months and what they cost, before monthly compute is bought."""

    async def get(self) -> None:
        now, wanted = self.now, self.get_query_argument("offer", "")[:64]
        offers = await self.use(market.list_offers, plan=Plan.MONTHLY, now=now)
        view = next((v for v in offers if v.offer.id == wanted), None)
        if view is None:
            raise Conflict("This compute is not offered any more. Choose another in the marketplace.", code="withdrawn")
        purse = await self.use(wallet.wallet, user=self.me, now=now)
        self.fragment(
            "_term.html", offer=view.offer, price_micros=view.price_micros, free=view.free, asset=None,
            choices=choices(view.price_micros, now, 0, now), available=purse.available_micros,
        )  # fmt: skip


class RenewDialog(Page):
    async def get(self, asset_id: str) -> None:
        now = self.now
        asset = next((a for a in await self.use(assets.list_assets, user=self.me, now=now) if a.id == asset_id), None)
        if asset is None:
            raise NotFound("You have no such compute.")
        price = asset.renewal_micros_per_month
        if asset.ended_at is not None or asset.expires_at <= now:
            raise Conflict("This term is over. Buy the compute again in the marketplace.", code="term_over")
        if price is None:
            raise Conflict("This compute is no longer sold and cannot be renewed.", code="withdrawn")
        purse = await self.use(wallet.wallet, user=self.me, now=now)
        self.fragment(
            "_term.html", offer=asset.offer, price_micros=price, free=1, asset=asset, available=purse.available_micros,
            choices=choices(price, asset.bought_at, months_paid(asset), now),
        )  # fmt: skip


class ConvertDialog(Page):
    """What comes back and what is lost, before a term is given up."""

    async def get(self, asset_id: str) -> None:
        percent = self.console_settings.term_conversion_percent
        plan = await self.use(conversions.quote_conversion, owner=self.me, asset_id=asset_id, percent=percent, now=self.now)
        self.fragment("_convert.html", plan=plan, percent=percent)


class Disks(Page):
    section = "disks"

    async def get(self) -> None:
        mine = await self.use(workspaces.list_workspaces, owner=self.me, now=self.now, include_released=False)
        on_sale = [disk.size_gib for disk in await self.use(market.list_disks, now=self.now)]
        bought = [w for w in mine if w.data_disk_gib]
        context: dict[str, Any] = {"total": sum(w.disk_price_micros_per_day for w in bought), "largest": max(on_sale, default=0)}
        await self.page("disks.html", disks=bought, default_disk=self.console_settings.data_disk_default_gib, State=State, **context)
