"""The operator's money pages: revenue and books, recharges to confirm, vouchers, prices, and the record of acts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from ark_extensions.console.pages.admin import AdminPage
from ark_extensions.console.pages.plots import plot
from ark_extensions.console.pages.words import ACTS as ACT_WORDS
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.offers import PriceVersion, price_at
from ark_extensions.payments.manual import transfer_reference
from ark_extensions.usecases import audit, bills, books, halts, market, price_changes, recharges, vouchers

SPANS = ("30", "7", "90", "365")
STATUSES = ("pending", "paid", "cancelled", "all")
RECHARGES_SHOWN = 200
ACTS_A_PAGE = 100


class Revenue(AdminPage):
    section = "admin-money"

    async def get(self) -> None:
        now = self.now
        wanted = self.get_query_argument("days", SPANS[0])
        days = int(wanted) if wanted in SPANS else int(SPANS[0])
        first: date = now.date() - timedelta(days=days - 1)
        since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
        found = await self.use(bills.takings, since=since, until=now)
        owed = await self.use(bills.receivables)
        drawn = plot({day: {"revenue": micros} for day, micros in found.by_day}, first, days)
        await self.page(
            "admin_money.html", tab="revenue", days=days, spans=sorted(SPANS, key=int), takings=found, plot=drawn, owed=owed.items,
            halt=await self.use(halts.posting_halt),
        )  # fmt: skip


class Books(AdminPage):
    """The result of a check, made now: on a large installation it takes a while, so nobody gets it unasked."""

    async def get(self) -> None:
        self.fragment("_books.html", differences=await self.use(books.check_books))


class Recharges(AdminPage):
    section = "admin-money"

    async def get(self) -> None:
        wanted = self.get_query_argument("status", "")
        status = wanted if wanted in STATUSES else STATUSES[0]
        found = await self.use(recharges.list_recharges, status=None if status == "all" else status, limit=RECHARGES_SHOWN)
        await self.page(
            "admin_recharges.html", tab="recharges", status=status, statuses=STATUSES, recharges=found.items, reference=transfer_reference,
            providers=list(self.ark.providers),
        )  # fmt: skip


class ConfirmDialog(AdminPage):
    async def get(self, recharge_id: str) -> None:
        found = await self.use(recharges.list_recharges, status="pending", limit=10_000)
        view = next((r for r in found.items if r.id == recharge_id and r.provider == "manual"), None)
        if view is None:
            raise NotFound("There is no such transfer.")
        self.fragment("_act.html", act="confirm", user=view.owner, recharge=view, reference=transfer_reference(view.id))


class Vouchers(AdminPage):
    section = "admin-money"

    async def get(self) -> None:
        await self.page("admin_vouchers.html", tab="vouchers", batches=await self.use(vouchers.list_batches))


class Prices(AdminPage):
    section = "admin-money"

    async def get(self) -> None:
        now = self.now
        history = await self.use(price_changes.price_history)
        offers = {f"offer:{v.offer.id}": v.offer for v in await self.use(market.list_offers, now=now)}
        rows: list[dict[str, Any]] = []
        for found in history:
            coming = [v for v in found.versions if v.valid_from > now]
            rows.append(
                {
                    "subject": found.subject,
                    "name": subject_name(found.subject, offers),
                    "plan": offers[found.subject].plan.value if found.subject in offers else "",
                    "on_sale": is_on_sale(found.subject, offers),
                    "now": price_at(found.versions, now),
                    "next": min(coming, key=lambda v: v.valid_from, default=None),
                    "versions": found.versions,
                }
            )
        places = {subject: place for place, subject in enumerate(offers)}
        rows.sort(key=lambda r: (not r["on_sale"], r["subject"].startswith("disk:"), places.get(r["subject"], 0), r["name"]))
        await self.page("admin_prices.html", tab="prices", rows=rows)


def subject_name(subject: str, offers: dict[str, Any]) -> str:
    """What a price is of, as people know it; "" for the netdisk, which has but one."""
    kind, _, id = subject.partition(":")
    if kind == "disk":
        return f"{id} GiB"
    return str(offers[subject].name) if subject in offers else id


def is_on_sale(subject: str, offers: dict[str, Any]) -> bool:
    return subject in offers or subject == "netdisk" or subject.startswith("disk:")


class PriceDialog(AdminPage):
    async def get(self) -> None:
        subject = self.get_query_argument("subject", "")[:200]
        history = await self.use(price_changes.price_history)
        versions: tuple[PriceVersion, ...] = next((h.versions for h in history if h.subject == subject), ())
        current = price_at(versions, self.now) or (versions[-1] if versions else None)
        if current is None:
            raise NotFound("There is nothing at this address, or it is not yours to see.")
        offers = {f"offer:{v.offer.id}": v.offer for v in await self.use(market.list_offers, now=self.now)}
        self.fragment("_price.html", subject=subject, name=subject_name(subject, offers), current=current)


class Acts(AdminPage):
    """The record, by page; what is chosen (act, on whom, by whom) goes with the way to older ones."""

    section = "admin-money"

    async def get(self) -> None:
        before = self.get_query_argument("before", "")
        chosen = {name: self.get_query_argument(name, "").strip()[:255] or None for name in ("act", "subject", "actor")}
        page = await self.use(
            audit.list_acts, **chosen, before=int(before[:15]) if before.isascii() and before.isdigit() else None, limit=ACTS_A_PAGE
        )
        wanted = urlencode({name: value for name, value in chosen.items() if value})
        context = {"acts": page.items, "next": page.next, "more": f"&{wanted}" if wanted else ""}
        if before:
            self.fragment("_acts.html", **context)
        else:
            await self.page("admin_acts.html", tab="acts", kinds=tuple(ACT_WORDS), chosen=chosen, **context)
