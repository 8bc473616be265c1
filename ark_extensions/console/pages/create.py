"""The form that creates a workspace. What may stand in it comes from the address: an offer, a dataset, a workspace to clone."""

from __future__ import annotations

from dataclasses import dataclass

from ark_extensions.console.pages.assets import living
from ark_extensions.console.pages.base import Page
from ark_extensions.domain.catalog import DATASET, MODEL
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.money import format_amount
from ark_extensions.domain.offers import Plan
from ark_extensions.usecases import market, workspaces


@dataclass(frozen=True)
class Prefill:
    """What is chosen when the form opens; datasets and models: name → version (0: the newest). Compute is an offer, or
    ``asset:ID``."""

    offer: str = ""
    image: str = ""
    disk: int = 0
    datasets: dict[str, int] | None = None
    models: dict[str, int] | None = None
    idle: int | None = None
    display_name: str = ""
    cloned_from: str = ""
    budget_run: str = ""
    budget_total: str = ""


def amount(micros: int | None) -> str:
    """A budget as it stands in its box."""
    return "" if micros is None else format_amount(micros)


class Create(Page):
    section = "workspaces"

    async def prefill(self) -> Prefill:
        name = self.get_query_argument("clone", "")[:30]
        if name:
            try:
                source = await self.use(workspaces.get_workspace, owner=self.me, name=name, now=self.now)
            except NotFound:
                return Prefill()
            return Prefill(
                offer=f"asset:{source.asset_id}" if source.asset_id else source.offer.id, image=source.image_id,
                disk=source.data_disk_gib, datasets=dict(source.datasets),
                models=dict(source.models),
                idle=source.idle_stop_minutes, display_name=source.display_name, cloned_from=source.display_name,
                budget_run=amount(source.budget_run_micros), budget_total=amount(source.budget_total_micros),
            )  # fmt: skip
        asset = self.get_query_argument("asset", "")[:64]
        return Prefill(
            offer=f"asset:{asset}" if asset else self.get_query_argument("offer", "")[:64],
            datasets={n[:60]: 0 for n in self.get_query_arguments("dataset")[:20]},
            models={n[:60]: 0 for n in self.get_query_arguments("model")[:20]},
        )

    async def get(self) -> None:
        now = self.now
        chosen = await self.prefill()
        offers = list(await self.use(market.list_offers, plan=Plan.PAYG, now=now))
        mine = list(await self.use(workspaces.list_workspaces, owner=self.me, now=now, include_released=False))
        await self.page(
            "create.html",
            chosen=chosen,
            assets=await living(self, mine),
            offers=sorted(offers, key=lambda v: (v.offer.quantities.gpu_model is None, v.offer.quantities.gpu_model or "", v.price_micros)),
            images=await self.use(market.list_images),
            disks=await self.use(market.list_disks, now=now),
            default_disk=self.console_settings.data_disk_default_gib,
            datasets=await self.use(market.list_items, kind=DATASET),
            models=await self.use(market.list_items, kind=MODEL),
        )
