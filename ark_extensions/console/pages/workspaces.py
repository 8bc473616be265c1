"""The list of workspaces, its rows one by one, the dialogs before a stop, a start or a release, and the events window.

Rows are fetched again when the stream of events says that something happened: a row alone, never the page.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from ark_extensions.console.pages.assets import living
from ark_extensions.console.pages.base import Page
from ark_extensions.console.pages.ssh import ssh_column
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.offers import Plan
from ark_extensions.domain.workspaces import ACTIVE, STARTABLE, State
from ark_extensions.usecases import events, market, workspaces
from ark_extensions.usecases.views import EventView, WorkspaceView

DIALOGS = ("stop", "start", "release", "auto-stop", "budget", "grow")
EVENTS_A_PAGE = 100


def ordered(views: list[WorkspaceView]) -> list[WorkspaceView]:
    """What holds compute first, then the rest, the newest first; released ones last."""
    rank = {True: 0, False: 1}
    return sorted(views, key=lambda v: (2 if v.state is State.RELEASED else rank[v.state in ACTIVE], -v.created_at.timestamp()))


def raw(event: EventView) -> str:
    """The raw detail of an event for the advanced mode, as one JSON text."""
    return json.dumps(dict(event.detail), ensure_ascii=False, indent=2, default=str) if event.detail else ""


class Workspaces(Page):
    section = "workspaces"

    async def get(self) -> None:
        mine = ordered(list(await self.use(workspaces.list_workspaces, owner=self.me, now=self.now)))
        await self.page(
            "workspaces.html", workspaces=mine, STARTABLE=STARTABLE, with_why=False, ssh=await ssh_column(self),
            chosen=self.get_query_argument("events", "")[:30], new=self.get_query_argument("new", "")[:30],
            cursor=max((v.event_cursor for v in mine), default=0),
            open_events=bool(self.get_query_argument("events", "") or self.get_query_argument("new", "")),
        )  # fmt: skip


class Row(Page):
    """One workspace's row as it is now, with why it is so (the list leaves that out until somebody asks)."""

    async def get(self, name: str) -> None:
        view = await self.use(workspaces.get_workspace, owner=self.me, name=name, now=self.now)
        self.fragment("_row.html", w=view, STARTABLE=STARTABLE, with_why=True, ssh=await ssh_column(self))


class Rows(Page):
    """All rows, after the stream was interrupted."""

    async def get(self) -> None:
        mine = ordered(list(await self.use(workspaces.list_workspaces, owner=self.me, now=self.now)))
        self.fragment("_rows.html", workspaces=mine, STARTABLE=STARTABLE, with_why=False, ssh=await ssh_column(self))


class Dialog(Page):
    """What a person must know before they confirm."""

    async def get(self, name: str, kind: str) -> None:
        if kind not in DIALOGS:
            raise NotFound("There is nothing at this address, or it is not yours to see.")
        now = self.now
        view = await self.use(workspaces.get_workspace, owner=self.me, name=name, now=now)
        context: dict[str, Any] = {}
        if kind in ("stop", "start"):
            offers = list(await self.use(market.list_offers, plan=Plan.PAYG, now=now))
            context = {
                "offers": sorted(offers, key=lambda v: v.price_micros),
                "mine": next((v for v in offers if v.offer.id == view.offer.id), None) if view.asset_id is None else None,
            }
        if kind == "start":
            mine = list(await self.use(workspaces.list_workspaces, owner=self.me, now=now, include_released=False))
            context["assets"] = await living(self, mine)
        if kind == "grow":
            on_sale = await self.use(market.list_disks, now=now)
            context = {"sizes": [d for d in on_sale if d.size_gib > view.data_disk_gib]}
        if kind == "release":
            context = {
                "recycle_days": self.console_settings.recycle_days,
                "until": now + timedelta(days=self.console_settings.recycle_days),
            }
        self.fragment("_dialog.html", kind=kind, w=view, **context)


class Events(Page):
    """The events of one workspace or of all, newest first."""

    async def get(self) -> None:
        name = self.get_query_argument("name", "")[:30] or None
        before = self.get_query_argument("before", "")
        page = await self.use(
            events.list_events,
            owner=self.me,
            name=name,
            before=int(before[:15]) if before.isascii() and before.isdigit() else None,
            limit=EVENTS_A_PAGE,
        )
        advanced = self.get_query_argument("advanced", "") == "true"
        self.fragment("_events.html", events=page.items, next=page.next, name=name or "", advanced=advanced, raw=raw, more=bool(before))
