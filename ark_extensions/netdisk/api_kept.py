"""The API of what is kept for a while: the trash, unfinished uploads, personal tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from ark_extensions.domain.errors import Forbidden, InvalidField
from ark_extensions.domain.files import parse_path, split
from ark_extensions.netdisk.api import API, ITEMS_MAX, ApiHandler, Body, Conflicts, iso
from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.netdisk.housekeeping import drop_upload, remove_trash
from ark_extensions.netdisk.personal_tokens import DAYS_MAX, PersonalTokens
from ark_extensions.netdisk.trashing import throw_away
from ark_extensions.netdisk.tus_files import bytes_there
from ark_extensions.usecases import netdisk, netdisk_dav


class PathsBody(Body):
    paths: list[str] = Field(min_length=1, max_length=ITEMS_MAX)


class RestoreBody(Body):
    ids: list[str] = Field(min_length=1, max_length=ITEMS_MAX)
    on_conflict: Conflicts = "keep_both"


class IdsBody(Body):
    """No ids: all."""

    ids: list[str] | None = Field(None, max_length=ITEMS_MAX)


class TokenBody(Body):
    name: str = Field(min_length=1, max_length=60)
    days: int = Field(ge=1, le=DAYS_MAX)


class TrashHandler(ApiHandler):
    async def get(self) -> None:
        items = await self.office.use(netdisk.list_trash, owner=self.user)
        self.answer_json({"items": [trash_json(item) for item in items]})

    async def post(self) -> None:
        """Put things into the trash."""
        self.answer_each(await self.each(self.asked(PathsBody).paths, self._throw))

    async def _throw(self, item: str) -> str:
        path = parse_path(item)
        await throw_away(self.office, self.desk, path)
        await self.office.use(netdisk_dav.follow_files, owner=self.user, source=path, target=None, keep=False)
        return path

    async def delete(self) -> None:
        """Delete for good: the ones named, or all."""
        ids = self.asked(IdsBody).ids
        while items := [item for item in await self.office.use(netdisk.list_trash, owner=self.user) if ids is None or item.id in ids]:
            for item in items:
                await remove_trash(self.office, self.desk, item)
            if ids is not None:
                break
        self.set_status(204)


class RestoreHandler(ApiHandler):
    async def post(self) -> None:
        body = self.asked(RestoreBody)

        async def restore(id: str) -> str:
            item = await self.office.use(netdisk.get_trash, owner=self.user, id=id)
            path = await self.office.on_disk(self.tree.take_from_trash, id, item.path, on_conflict=body.on_conflict)
            await self.office.use(netdisk.drop_trash, id=id)
            return path

        self.answer_each(await self.each(body.ids, restore))


def trash_json(item: netdisk.TrashItem) -> dict[str, Any]:
    return {
        "id": item.id, "path": item.path, "name": split(item.path)[1], "kind": "folder" if item.folder else "file",
        "size": item.usage.bytes, "files": item.usage.files, "deleted_at": iso(item.deleted_at), "expires_at": iso(item.expires_at),
    }  # fmt: skip


class UploadsHandler(ApiHandler):
    """Unfinished uploads, and the button that cleans them."""

    async def get(self) -> None:
        uploads = await self.office.use(netdisk.list_uploads, owner=self.user)
        items = []
        for upload in uploads:
            at = await self.office.on_disk(bytes_there, self.tree, upload, self.office.boot_id)
            items.append(
                {
                    "id": upload.id, "path": upload.path, "length": upload.length, "offset": at, "url": f"{PREFIX}/tus/{upload.id}",
                    "begun_at": iso(upload.created_at), "expires_at": iso(upload.expires_at), "active": upload.id in self.desk.writers,
                }
            )  # fmt: skip
        self.answer_json({"items": items})

    async def delete(self) -> None:
        ids = self.asked(IdsBody).ids
        for upload in await self.office.use(netdisk.list_uploads, owner=self.user):
            if (ids is None and upload.id not in self.desk.writers) or (ids is not None and upload.id in ids):
                writer = self.desk.writers.get(upload.id)
                if writer is not None:
                    writer.interrupt()
                    await asyncio.wait_for(writer.ended.wait(), 5)
                await drop_upload(self.office, self.desk, upload.id)
        self.set_status(204)


class TokensHandler(ApiHandler):
    """Personal tokens: only in a signed-in session, never with such a token."""

    async def begin(self) -> None:
        await super().begin()
        if not self.caller.account:
            raise Forbidden("A personal token cannot make or see tokens. Sign in on the netdisk's page.", code="not_an_account")

    @property
    def personal(self) -> PersonalTokens:
        personal: PersonalTokens = self.application.settings["personal"]
        return personal

    async def get(self) -> None:
        self.answer_json({"items": [vars(token) for token in await self.personal.list(self.user, self.caller.token)]})

    async def post(self) -> None:
        body = self.asked(TokenBody)
        if not body.name.isprintable():
            raise InvalidField("A name has 1 to {max} printable characters.", field="name", max=60)
        token, secret = await self.personal.make(self.user, self.caller.token, name=body.name.strip(), days=body.days)
        self.set_status(201)
        self.answer_json({**vars(token), "token": secret})


class TokenHandler(TokensHandler):
    async def delete(self, id: str) -> None:  # type: ignore[override]
        await self.personal.revoke(self.user, self.caller.token, id)
        self.tokens.forget()
        self.set_status(204)


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (rf"{API}/trash", TrashHandler),
    (rf"{API}/trash/restore", RestoreHandler),
    (rf"{API}/uploads", UploadsHandler),
    (rf"{API}/tokens", TokensHandler),
    (rf"{API}/tokens/([A-Za-z0-9]{{1,40}})", TokenHandler),
]
