"""The marketplace: what compute is on sale, filtered by what stands in the address, as cards or rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ark_extensions.console.pages.base import Page
from ark_extensions.domain.money import parse_amount
from ark_extensions.domain.offers import Plan, PriceVersion
from ark_extensions.usecases import market, price_changes
from ark_extensions.usecases.views import OfferView


@dataclass(frozen=True)
class Filters:
    """What the address asks for; what cannot be read is as if it was not there."""

    plan: str
    gpu_model: str
    gpu_count: str
    memory: str
    price: str
    available: bool

    @classmethod
    def read(cls, handler: Page) -> Filters:
        def text(name: str) -> str:
            return handler.get_query_argument(name, "")[:40].strip()

        plan = text("plan")
        return cls(
            plan=plan if plan in tuple(Plan) else Plan.PAYG.value,
            gpu_model=text("gpu_model"),
            gpu_count=text("gpu_count") if text("gpu_count").isascii() and text("gpu_count").isdigit() else "",
            memory=text("memory") if text("memory").isascii() and text("memory").isdigit() else "",
            price=text("price") if _amount(text("price")) is not None else "",
            available=text("available") == "true",
        )

    @property
    def any(self) -> bool:
        return bool(self.gpu_model or self.gpu_count or self.memory or self.price or self.available)


def _amount(text: str) -> int | None:
    try:
        return max(parse_amount(text), 0) if text else None
    except ValueError:
        return None


def matching(offers: list[OfferView], filters: Filters) -> list[OfferView]:
    """The offers a reader asked for, cheapest first within a GPU model; CPU only is ``gpu_model=none``."""
    found = [
        view
        for view in offers
        if market.is_wanted(
            view,
            plan=filters.plan,
            gpu_model="cpu" if filters.gpu_model == "none" else filters.gpu_model or None,
            min_gpu_count=int(filters.gpu_count or 0),
            min_memory_gib=int(filters.memory or 0),
            max_price_micros=_amount(filters.price),
            only_available=filters.available,
        )
    ]
    return sorted(
        found, key=lambda v: (v.offer.quantities.gpu_model is None, v.offer.quantities.gpu_model or "", v.price_micros, v.offer.name)
    )


class Marketplace(Page):
    section = "marketplace"

    async def coming(self) -> dict[str, PriceVersion]:
        """offer id → its next price, where one is announced: a buyer sees what they will pay."""
        now, found = self.now, {}
        for history in await self.use(price_changes.price_history):
            later = [v for v in history.versions if v.valid_from > now]
            if later:
                found[history.subject.removeprefix("offer:")] = min(later, key=lambda v: v.valid_from)
        return found

    async def get(self) -> None:
        filters = Filters.read(self)
        everything = list(await self.use(market.list_offers, now=self.now))
        models = sorted({v.offer.quantities.gpu_model for v in everything if v.offer.quantities.gpu_model})
        context: dict[str, Any] = {
            "filters": filters,
            "offers": matching(everything, filters),
            "on_sale": sum(1 for v in everything if v.offer.plan == filters.plan),
            "models": models,
            "counts": sorted({v.offer.quantities.gpu_count for v in everything if v.offer.quantities.gpu_count}),
            "memories": sorted({v.offer.quantities.memory_mib // 1024 for v in everything}),
            "coming": await self.coming(),
            "view": self.choice("view", ("cards", "rows")),
        }
        if self.request.headers.get("HX-Target") == "offers":
            self.fragment("_offers.html", **context)
        else:
            await self.page("marketplace.html", **context)
