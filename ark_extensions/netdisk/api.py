"""The netdisk's JSON API: everything that the page does, for scripts too (`docs/netdisk.md`).

Bodies are validated models that refuse unknown keys. Paths are text; bytes of a name that are no UTF-8 travel as lone
surrogates (``\\udcff``), so that every file has a path that can be sent back.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ark_extensions.domain.catalog import KINDS
from ark_extensions.domain.errors import ArkError, Forbidden, InvalidField, Malformed
from ark_extensions.domain.files import Usage, billable_bytes, decode_url_path, is_inside, is_over, join, parse_new_path, parse_path, split
from ark_extensions.domain.money import format_amount
from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.netdisk.exchange import catalogue_mount, opener, weigh_item
from ark_extensions.netdisk.jobs import Job, Jobs
from ark_extensions.netdisk.listing import SORTS, list_folder, resolve_links, search
from ark_extensions.netdisk.removing import remove_in_background
from ark_extensions.netdisk.session import SessionHandler, validated
from ark_extensions.netdisk.tree import Entry, Tree
from ark_extensions.usecases import market, netdisk, netdisk_charges, netdisk_dav
from ark_extensions.usecases.views import ItemView
from ark_extensions.web.address import address_of
from ark_extensions.web.i18n import money

API = f"{PREFIX}/api/v1"
ITEMS_MAX = 1000
Conflicts = Literal["refuse", "replace", "keep_both"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FolderBody(Body):
    path: str


class MoveBody(Body):
    """``to``: the new path of the one item; ``into``: the folder into which all go."""

    items: list[str] = Field(min_length=1, max_length=ITEMS_MAX)
    to: str | None = None
    into: str | None = None
    on_conflict: Conflicts = "refuse"


class ImportBody(Body):
    """A public dataset or model, copied into the netdisk by the server."""

    kind: Literal["dataset", "model"]
    name: str = Field(max_length=100)
    version: int | None = Field(None, ge=1)
    into: str = ""


class ApiHandler(SessionHandler):
    """Base: JSON in, JSON out."""

    async def begin(self) -> None:
        await self.learn_language()

    @property
    def tree(self) -> Tree:
        return self.desk.tree

    @property
    def user(self) -> str:
        return self.caller.user

    @property
    def jobs(self) -> Jobs:
        jobs: Jobs = self.application.settings["jobs"]
        return jobs

    def asked(self, model: type[Body]) -> Any:
        return validated(model, self.request.body)

    def path_asked(self, name: str = "path") -> str:
        """A path in the query: percent-encoded bytes."""
        values = self.request.query_arguments.get(name, [b""])
        return parse_path(values[-1].decode("utf-8", "surrogateescape"), field=name)

    @property
    def path_in_address(self) -> str:
        """Of ``…/api/v1/<what>/<path>``, from the address as it was sent."""
        return decode_url_path(self.request.path[len(API) + 1 :].partition("/")[2])

    async def each(self, items: list[str], act: Any) -> list[dict[str, Any]]:
        """Do something with each of several; what is refused does not stop the others."""
        results: list[dict[str, Any]] = []
        for item in items:
            try:
                results.append({"item": item, "path": await act(item)})
            except ArkError as error:
                results.append({"item": item, "error": self.problem(error)})
        return results

    def answer_each(self, results: list[dict[str, Any]]) -> None:
        """One item that was refused is the request's own refusal."""
        self.set_status(200 if any("error" not in result for result in results) else 409)
        first = next((result["error"] for result in results if "error" in result), None)
        self.answer_json({"results": results, **({"error": first} if self.get_status() == 409 else {})})


def entry_json(entry: Entry, folder: str | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": entry.name, "kind": entry.kind, "size": entry.size, "modified": entry.modified.isoformat().replace("+00:00", "Z"),
        "etag": entry.etag, "link": entry.link,
    }  # fmt: skip
    return shown if folder is None else {**shown, "path": join(folder, entry.name)}


def iso(at: Any) -> str:
    return str(at.isoformat()).replace("+00:00", "Z")


def price_json(micros: int, currency: str) -> dict[str, str]:
    """Of a GiB beyond the free part, a day."""
    return {"amount": format_amount(micros, 2), "currency": currency, "per": "GiB·day", "text": money(micros, currency)}


class UsageHandler(ApiHandler):
    async def get(self) -> None:
        view = await self.office.use(netdisk.netdisk_view, owner=self.user, defaults=self.office.limits)
        used, limits = self.desk.usage, self.desk.limits
        price = await self.office.use(netdisk_charges.netdisk_price, now=self.office.clock())
        self.answer_json(
            {
                "used_bytes": used.bytes, "used_files": used.files, "limit_bytes": limits.bytes, "limit_files": limits.files,
                "free_quota_bytes": limits.free_bytes, "billable_bytes": billable_bytes(used.bytes, limits),
                "reserved_bytes": self.desk.reserved.bytes, "trash_bytes": view.trash.bytes, "unfinished_bytes": view.unfinished.bytes,
                "unfinished_uploads": view.unfinished.files, "measured_at": iso(view.scanned_at) if view.scanned_at else None,
                "price": None if price is None else price_json(price, self.office.settings.currency),
                "over_limit": is_over(used, limits), "charged_on": self.office.settings.netdisk_charge,
                "webdav_url": f"{address_of(self.request, self.office.settings)}{PREFIX}/dav/",
            }
        )  # fmt: skip


class ListHandler(ApiHandler):
    async def get(self) -> None:
        path = self.path_asked()
        sort = self.get_query_argument("sort", "name")
        if sort not in SORTS:
            raise InvalidField("Sort by name, size or modified.", field="sort")
        limit = self.get_query_argument("limit", "200")
        if not limit.isascii() or not limit.isdigit():
            raise Malformed("The limit is a number.")
        descending = self.get_query_argument("order", "asc") == "desc"
        cursor = self.get_query_argument("cursor", None)
        look = partial(list_folder, self.tree, path, sort=sort, descending=descending, cursor=cursor, limit=int(limit[:6]))
        page = await self.office.on_disk(look)
        entries = await self.office.on_disk(resolve_links, self.tree, path, page.entries)
        self.answer_json({"path": path, "items": [entry_json(entry) for entry in entries], "total": page.total, "next": page.next})


class SearchHandler(ApiHandler):
    async def get(self) -> None:
        text = self.get_query_argument("q", "", strip=True)
        if not 1 <= len(text) <= 200:
            raise InvalidField("Search for 1 to 200 characters.", field="q")
        found = await self.office.at_length(search, self.tree, self.path_asked(), text)
        items = [entry_json(entry, split(path)[0]) for path, entry in found.entries]
        self.answer_json({"items": items, "complete": found.complete})


class FoldersHandler(ApiHandler):
    async def post(self) -> None:
        path = parse_new_path(self.asked(FolderBody).path)
        with self.desk.admitted(Usage(0, 1)):
            await self.office.on_disk(self.tree.make_folder, path)
        self.desk.account(Usage(0, 1))
        self.set_status(201)
        self.answer_json({"path": path})


def pairs_of(body: MoveBody) -> list[tuple[str, str]]:
    """(from, to) of each item."""
    if (body.to is None) == (body.into is None):
        raise Malformed("Say either to or into.")
    sources = [parse_path(item, field="items") for item in body.items]
    if body.to is not None:
        if len(sources) != 1:
            raise InvalidField("Only one item can get a new name.", field="to")
        return [(sources[0], parse_new_path(body.to, field="to"))]
    into = parse_path(body.into or "", field="into")
    return [(source, join(into, split(source)[1])) for source in sources]


class MovesHandler(ApiHandler):
    async def post(self) -> None:
        body = self.asked(MoveBody)
        targets = dict(pairs_of(body))

        async def move(item: str) -> str:
            source = parse_path(item)
            async with self.desk.alone(targets[source]):
                path, doomed = await self.office.on_disk(self.tree.move, source, targets[source], on_conflict=body.on_conflict)
            if doomed is not None:
                remove_in_background(self.office, self.desk, doomed)
            await self.office.use(netdisk_dav.follow_files, owner=self.user, source=source, target=path, keep=False)
            return path

        self.answer_each(await self.each(body.items, move))


def job_json(handler: ApiHandler, job: Job) -> dict[str, Any]:
    return {
        "id": job.id, "state": job.state, "items": [source for source, _ in job.pairs], "into": split(job.pairs[0][1])[0],
        "total_bytes": job.total.bytes, "done_bytes": job.done.bytes, "total_files": job.total.files, "done_files": job.done.files,
        "results": job.results, "error": handler.problem(job.error) if job.error else None, "begun_at": iso(job.begun_at),
    }  # fmt: skip


class CopiesHandler(ApiHandler):
    async def post(self) -> None:
        body = self.asked(MoveBody)
        pairs = pairs_of(body)
        for source, target in pairs:
            if is_inside(target, source) and target != source:
                raise Forbidden("A folder cannot be put into itself.", code="into_itself")
            await self.office.on_disk(self.tree.look, source)
        # a copy beside the original gets another name of itself
        conflict = "keep_both" if any(source == target for source, target in pairs) else body.on_conflict
        job = self.jobs.begin(self.desk, pairs, on_conflict=conflict)
        self.set_status(202)
        self.answer_json(job_json(self, job))

    async def get(self) -> None:
        self.answer_json({"items": [job_json(self, job) for job in self.jobs.of(self.user)]})


class ImportsHandler(ApiHandler):
    async def get(self) -> None:
        """What can be imported."""
        items = [item for kind in KINDS for item in await self.office.use(market.list_items, kind=kind)]
        self.answer_json({"items": [item_json(item) for item in items]})

    async def post(self) -> None:
        body = self.asked(ImportBody)
        into = parse_path(body.into, field="into")
        mount = await self.office.use(catalogue_mount, kind=body.kind, name=body.name, version=body.version)
        # refused at once, not after a while of copying
        self.desk.check(await self.office.use(weigh_item, mount=mount))
        opens = opener(self.office.volumes, mount)
        os.close(await self.office.on_disk(opens))
        job = self.jobs.begin(self.desk, [(body.name, join(into, body.name))], on_conflict="keep_both", source=opens)
        self.set_status(202)
        self.answer_json(job_json(self, job))


def item_json(item: ItemView) -> dict[str, Any]:
    versions = [{"version": number, "size_bytes": size, "file_count": count} for number, size, count, _at in item.versions]
    return {
        "kind": item.kind, "name": item.name, "title": item.title, "description": item.description, "license": item.license,
        "versions": versions,
    }  # fmt: skip


class CopyHandler(ApiHandler):
    async def get(self, id: str) -> None:
        self.answer_json(job_json(self, self.jobs.get(self.user, id)))

    async def delete(self, id: str) -> None:
        self.answer_json(job_json(self, self.jobs.stop(self.user, id)))


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (rf"{API}/usage", UsageHandler),
    (rf"{API}/list", ListHandler),
    (rf"{API}/search", SearchHandler),
    (rf"{API}/folders", FoldersHandler),
    (rf"{API}/moves", MovesHandler),
    (rf"{API}/copies", CopiesHandler),
    (rf"{API}/imports", ImportsHandler),
    (rf"{API}/copies/([0-9a-f]{{16}})", CopyHandler),
]
