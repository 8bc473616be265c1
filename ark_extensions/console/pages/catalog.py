"""Datasets and models of the platform: what they are, how large, where they appear in a workspace."""

from __future__ import annotations

from ark_extensions.console.pages.base import Page
from ark_extensions.domain.catalog import DATASET, MODEL
from ark_extensions.usecases import market


class Datasets(Page):
    section = "datasets"
    kind = DATASET

    async def get(self) -> None:
        items = await self.use(market.list_items, kind=self.kind)
        await self.page("catalog.html", items=items, kind=self.kind)


class Models(Datasets):
    section = "models"
    kind = MODEL
