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
from ark_extensions.domain.errors import ArkError, NotFound
from ark_extensions.domain.listing import GROUPS, read_place, write_place
from ark_extensions.domain.offers import Plan
from ark_extensions.domain.workspaces import STARTABLE
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import events, market, workspace_list, workspaces
from ark_extensions.usecases.views import EventView
from ark_extensions.volumes import open_disks

DIALOGS = ("stop", "start", "release", "auto-stop", "budget", "grow")
EVENTS_A_PAGE = 100
ROWS_A_PART = 50
#: a list that is seen at a glance needs no search
SEARCH_FROM = 10


def raw(event: EventView) -> str:
    """The raw detail of an event for the advanced mode, as one JSON text."""
    return json.dumps(dict(event.detail), ensure_ascii=False, indent=2, default=str) if event.detail else ""


class Listing(Page):
    """What the list and its parts share: the search in the address, and the rows that it means."""

    async def rows(self) -> dict[str, Any]:
        search = " ".join(self.get_query_argument("q", "")[:100].split())
        group = self.get_query_argument("state", "")
        found = await self.use(
            workspace_list.list_part, owner=self.me, now=self.now, search=search, group=group, limit=ROWS_A_PART,
            after=read_place(self.get_query_argument("after", "")[:80]),
        )  # fmt: skip
        return {
            "workspaces": found.items, "found": found, "search": search, "group": group if group in GROUPS else "", "with_why": False,
            "next": write_place(found.part.next), "STARTABLE": STARTABLE, "ssh": await ssh_column(self),
        }  # fmt: skip


class Workspaces(Listing):
    section = "workspaces"

    async def get(self) -> None:
        context = await self.rows()
        if self.request.headers.get("HX-Target") == "ws-list":
            self.fragment("_list.html", **context)
            return
        chosen, new = self.get_query_argument("events", "")[:30], self.get_query_argument("new", "")[:30]
        searchable = context["found"].total >= SEARCH_FROM or bool(context["search"] or context["group"])
        await self.page("workspaces.html", chosen=chosen, new=new, open_events=bool(chosen or new), searchable=searchable, **context)


class Row(Page):
    """One workspace's row as it is now, with why it is so (the list leaves that out until somebody asks)."""

    async def get(self, name: str) -> None:
        view = await self.use(workspaces.get_workspace, owner=self.me, name=name, now=self.now)
        self.fragment("_row.html", w=view, STARTABLE=STARTABLE, with_why=True, ssh=await ssh_column(self))


class Rows(Listing):
    """A part of the list: the first, for rows that came meanwhile, or the one after a place."""

    async def get(self) -> None:
        self.fragment("_rows.html", **await self.rows())


class Dialog(Page):
    """What a person must know before they confirm."""

    async def get(self, name: str, kind: str) -> None:
        if kind not in DIALOGS:
            raise NotFound("There is nothing at this address, or it is not yours to see.")
        now = self.now
        view = await self.use(workspaces.get_workspace, owner=self.me, name=name, now=now)
        context: dict[str, Any] = {}
        if kind == "stop":
            context["outside_bytes"] = await self.use(outside_home, settings=self.console_settings, workspace_id=view.id)
        if kind in ("stop", "start"):
            offers = list(await self.use(market.list_offers, plan=Plan.PAYG, now=now))
            context |= {
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


def outside_home(_storage: Storage, *, settings: Settings, workspace_id: str) -> int | None:
    """How much lies where a stop deletes it; None when nobody can tell now."""
    try:
        return open_disks(settings).system_disk_usage(workspace_id)
    except ArkError:
        return None


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
