"""Files themselves, for the page and for scripts: download, small uploads, zip, previews.

An address is ``…/api/v1/files/<path>``, percent-encoded byte by byte, as in WebDAV.
"""

from __future__ import annotations

import asyncio
import os
import threading

from tornado.iostream import StreamClosedError
from tornado.web import stream_request_body

from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.files import IMAGE_TYPES, parse_checksum, parse_new_path, parse_path, preview_kind, split
from ark_extensions.netdisk import preview
from ark_extensions.netdisk.api import API, ApiHandler, entry_json
from ark_extensions.netdisk.dav_writes import parse_mtime
from ark_extensions.netdisk.receiving import Arrival, Receiver
from ark_extensions.netdisk.refusals import Exists
from ark_extensions.netdisk.sending import attachment, send_file
from ark_extensions.netdisk.session import SessionHandler
from ark_extensions.netdisk.taking import TakesAFile
from ark_extensions.netdisk.zipping import check_zip, write_zip

ZIPS_EACH = 3


@stream_request_body
class FileContent(TakesAFile, ApiHandler):
    """GET: the file, to save. PUT: a whole file in one request, folders above it made; ``?on_conflict=``."""

    body_max = None

    async def begin(self) -> None:
        await super().begin()
        if self.request.method == "PUT":
            conflict = self.get_query_argument("on_conflict", "refuse")
            if conflict not in ("refuse", "replace", "keep_both"):
                raise InvalidField("Choose refuse, replace or keep_both.", field="on_conflict")
            path = parse_new_path(self.path_in_address)
            await self.office.on_disk(self.tree.make_folders, split(path)[0])
            headers = self.request.headers
            arrival = Arrival(
                path, self.content_length, conflict, parse_checksum(headers.get("OC-Checksum", "")), parse_mtime(headers.get("X-OC-Mtime"))
            )  # fmt: skip
            if conflict == "refuse":
                await self.office.on_disk(self._refuse_taken, path)
            self.receiver = Receiver(self.office, self.desk, arrival)
            await self.receiver.begin()

    def _refuse_taken(self, path: str) -> None:
        try:
            self.tree.look_at_name(path)
        except NotFound:
            return
        raise Exists("“{name}” is there already.", name=split(path)[1])

    async def take(self, chunk: bytes) -> None:
        if self.receiver is not None:
            await self.receiver.take(chunk)

    async def put(self, quoted: str) -> None:
        if not self.body_arrived():
            return
        assert self.receiver is not None
        path, is_new, entry = await self.receiver.finish()
        await self.receiver.release()
        self.set_status(201 if is_new else 200)
        self.answer_json(entry_json(entry, split(path)[0]) | {"path": path})

    async def get(self, quoted: str) -> None:
        if not self.body_arrived():
            return
        fd, entry = await self.office.on_disk(self.tree.open_file, self.path_in_address)
        await send_file(self, fd, entry)

    head = get


class ViewHandler(ApiHandler):
    """An image, shown by the browser itself; nothing else."""

    async def get(self, quoted: str) -> None:
        path = self.path_in_address
        kind = IMAGE_TYPES.get(path.rpartition(".")[2].lower())
        if kind is None:
            raise Conflict("This file has no preview.", code="no_preview")
        fd, entry = await self.office.on_disk(self.tree.open_file, path)
        if entry.size > preview.IMAGE_BYTES:
            os.close(fd)
            raise Conflict("This image is too large for a preview. Download it.", code="no_preview")
        self.set_header("Content-Security-Policy", preview.IMAGE_POLICY)
        await send_file(self, fd, entry, kind=kind, inline=True)


class RenderHandler(ApiHandler):
    """A notebook as a page without scripts, for a sandboxed frame."""

    async def get(self, quoted: str) -> None:
        fd, _entry = await self.office.on_disk(self.tree.open_file, self.path_in_address)
        try:
            page = await self.office.at_length(preview.render_notebook, fd)
        finally:
            await self.office.on_disk(os.close, fd)
        self.set_header("Content-Security-Policy", preview.RENDERED_POLICY)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page)


class PreviewHandler(ApiHandler):
    """What a file's preview is, and for text the text."""

    async def get(self, quoted: str) -> None:
        path = self.path_in_address
        fd, entry = await self.office.on_disk(self.tree.open_file, path)
        try:
            kind = preview_kind(entry.name)
            shown = {**entry_json(entry, split(path)[0]), "preview": kind}
            if kind in ("text", "notebook"):
                text, more = await self.office.on_disk(preview.read_text, fd)
                shown |= {"text": text, "truncated": more}
        finally:
            await self.office.on_disk(os.close, fd)
        self.answer_json(shown)


class ZipHandler(SessionHandler):
    """``?path=…&path=…``: files and folders as one zip."""

    async def get(self) -> None:
        paths = [parse_path(value.decode("utf-8", "surrogateescape")) for value in self.request.query_arguments.get("path", [])]
        if not 1 <= len(paths) <= 100:
            raise InvalidField("Choose 1 to 100 files and folders.", field="path")
        zips: dict[str, int] = self.application.settings["zips"]
        if zips.get(self.caller.user, 0) >= ZIPS_EACH:
            raise Conflict("Some zips are still being downloaded. Wait for one of them.", code="too_many")
        await self.office.at_length(check_zip, self.desk.tree, paths)
        name = (split(paths[0])[1] or "netdisk") if len(paths) == 1 else "netdisk"
        self.set_header("Content-Type", "application/zip")
        self.set_header("Content-Disposition", attachment(f"{name}.zip"))
        zips[self.caller.user] = zips.get(self.caller.user, 0) + 1
        try:
            await self._stream(paths)
        finally:
            zips[self.caller.user] -= 1

    async def _stream(self, paths: list[str]) -> None:
        """The zip is written in a thread of its own, which waits for the client block by block."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        async def send(block: bytes) -> None:
            self.write(block)
            await self.flush()

        def work() -> None:
            error: BaseException | None = None
            try:
                write_zip(self.desk.tree, paths, lambda block: asyncio.run_coroutine_threadsafe(send(block), loop).result(300))
            except BaseException as caught:
                error = caught
            loop.call_soon_threadsafe(lambda: ended.set_exception(error) if error else ended.set_result(None))

        threading.Thread(target=work, name="zip", daemon=True).start()
        try:
            await ended
        except StreamClosedError:
            return
        self.finish()


ROUTES = [
    (rf"{API}/files/(.+)", FileContent),
    (rf"{API}/view/(.+)", ViewHandler),
    (rf"{API}/render/(.+)", RenderHandler),
    (rf"{API}/preview/(.+)", PreviewHandler),
    (rf"{API}/zip", ZipHandler),
]
