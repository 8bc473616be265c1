"""What a program asks for each of thousands of small files (MKCOL of a folder that is there, PUT, PROPFIND of one file), answered
in front of the web framework, whose machinery costs more than the work.

Only plain requests are taken: a known token, an open desk without locks and properties, and none but the headers listed here. All
others, and whatever would be refused, go to the full handlers, which therefore stay the only place that says no before the body.
Promises: the same answers as theirs, byte by byte on disk and in the tree; the event loop touches a file only where the kernel
answers from memory.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from http.client import responses

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)
from tornado.web import Application

from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.files import parse_checksum, parse_new_path
from ark_extensions.netdisk import dav_xml
from ark_extensions.netdisk.auth import Caller, caller_of, credentials
from ark_extensions.netdisk.conditions import DAV, path_of
from ark_extensions.netdisk.dav import dav_status
from ark_extensions.netdisk.dav_writes import parse_mtime
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.handlers import SAFE_HEADERS, STALL_SECONDS, plain_problem, problem_of
from ark_extensions.netdisk.receiving import SMALL, Arrival, Receiver
from ark_extensions.netdisk.refusals import refusal
from ark_extensions.netdisk.tree import Entry
from ark_extensions.web.tokens import TokenLookup

log = logging.getLogger("ark.netdisk")

#: a request with any other header means something that only the full handlers know
KNOWN_HEADERS = frozenset(
    "Host User-Agent Authorization Content-Length Content-Type Referer Accept Accept-Encoding Accept-Language Connection Depth"
    " Oc-Checksum X-Oc-Mtime X-Forwarded-For X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Host X-Forwarded-Path X-Real-Ip".split()
)
#: of a PROPFIND's body
QUESTION_MAX = 2048


class QuickDav(HTTPServerConnectionDelegate):
    """In front of an application: each request is taken here or handed on untouched."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.office: Office = app.settings["office"]
        self.tokens: TokenLookup = app.settings["tokens"]

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return Turn(self, server_conn, request_conn)

    def taken(self, start: RequestStartLine, headers: HTTPHeaders, connection: HTTPConnection) -> Plain | None:
        """What answers the request, or None when it is for the full handlers."""
        kind = KINDS.get(start.method)
        if kind is None or not start.path.startswith(DAV + "/") or "?" in start.path or "#" in start.path:
            return None
        length = headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit() or any(name not in KNOWN_HEADERS for name in headers):
            return None
        name, token = credentials(headers.get("Authorization", ""))
        owner = self.tokens.known(token) if token else None
        if owner is None:
            return None
        try:
            caller = caller_of(owner, token, name=name, by_cookie=False)
            desk = self.office.open_desk(caller.user)
            if desk is None or desk.locks:
                return None
            return kind(self, caller, desk, path_of(start.path), headers, connection, int(length))
        except (ArkError, NotPlain):
            return None  # nothing was done: the full handler refuses it in its own words


class Turn(HTTPMessageDelegate):
    """One request, before it is known whose it is."""

    def __init__(self, door: QuickDav, server_conn: object, request_conn: HTTPConnection) -> None:
        self._door, self._server_conn, self._request_conn = door, server_conn, request_conn
        self._answering: HTTPMessageDelegate | None = None

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> Awaitable[None] | None:  # type: ignore[override]
        self._answering = self._door.taken(start_line, headers, self._request_conn)
        if self._answering is not None:
            return None
        self._answering = self._door.app.start_request(self._server_conn, self._request_conn)
        return self._answering.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._answering is not None
        return self._answering.data_received(chunk)

    def finish(self) -> None:
        assert self._answering is not None
        self._answering.finish()

    def on_connection_close(self) -> None:
        if self._answering is not None:
            self._answering.on_connection_close()


class NotPlain(Exception):
    """For the full handler."""


class Plain(HTTPMessageDelegate):
    """A request that is answered here. A constructor raises ArkError for what is not plain after all."""

    method = ""

    def __init__(
        self, door: QuickDav, caller: Caller, desk: Desk, path: str, headers: HTTPHeaders, connection: HTTPConnection, length: int
    ) -> None:
        self.office, self.caller, self.desk, self.path, self.connection = door.office, caller, desk, path, connection
        self.begin(headers, length)

    def begin(self, headers: HTTPHeaders, length: int) -> None:
        raise NotImplementedError

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        said = HTTPHeaders({**SAFE_HEADERS, "Date": date_of(int(time.time())), **headers})
        if status != 204:
            said["Content-Length"] = str(len(body))
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", status, responses.get(status, "")), said, body)
        self.connection.finish()

    def refuse(self, error: ArkError) -> None:
        status, headers = dav_status(error, self.method)
        body = plain_problem(error, self.office.settings.currency)
        self.answer(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, body)

    def go_on(self, work: Awaitable[None]) -> None:
        """The rest of the answer, in its own time."""

        async def run() -> None:
            try:
                await work
            except ArkError as error:
                self.refuse(error)
            except Exception:
                log.exception("%s %s failed", self.method, self.path[:200])
                self.refuse(problem_of(500))

        _working.add(task := asyncio.ensure_future(run()))
        task.add_done_callback(_working.discard)


_working: set[asyncio.Task[None]] = set()


class Folder(Plain):
    """MKCOL of what is there already: what rclone asks before each file."""

    method = "MKCOL"

    def begin(self, headers: HTTPHeaders, length: int) -> None:
        if length or not self.path or self.desk.tree.look_in_memory(self.path) is None:
            raise NotPlain

    def finish(self) -> None:
        self.refuse(refusal(FileExistsError(errno.EEXIST, ""), self.path))


class Question(Plain):
    """PROPFIND of a file or folder itself."""

    method = "PROPFIND"

    def begin(self, headers: HTTPHeaders, length: int) -> None:
        if headers.get("Depth") != "0" or length > QUESTION_MAX or self.desk.may_have_properties:
            raise NotPlain
        self._body = b""

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    def finish(self) -> None:
        try:
            asked = dav_xml.parse_question(self._body)
            entry = self.desk.tree.look_in_memory(self.path)
        except ArkError as error:
            self.refuse(error)
            return
        if entry is not None:
            self._tell(asked, entry)
        else:
            self.go_on(self._look(asked))

    async def _look(self, asked: tuple[str, tuple[str, ...]]) -> None:
        self._tell(asked, await self.office.on_disk(self.desk.tree.look, self.path))

    def _tell(self, asked: tuple[str, tuple[str, ...]], entry: Entry) -> None:
        response = dav_xml.found(asked, self.path, entry, {}, "", self.desk.quota)
        body = f'{dav_xml.HEAD}<D:multistatus xmlns:D="DAV:">\n{response}</D:multistatus>\n'
        self.answer(207, {"Content-Type": "application/xml; charset=utf-8"}, body.encode())


class SmallFile(Plain):
    """PUT of a file that fits into memory."""

    method = "PUT"

    def begin(self, headers: HTTPHeaders, length: int) -> None:
        if length > SMALL or "Content-Length" not in headers:
            raise NotPlain
        checksum, modified = parse_checksum(headers.get("Oc-Checksum", "")), parse_mtime(headers.get("X-Oc-Mtime"))
        self._accepted = {"X-OC-Mtime": "accepted"} if modified is not None else {}
        self._receiver = Receiver(self.office, self.desk, Arrival(parse_new_path(self.path), length, "replace", checksum, modified))
        self._receiver.begin_small()
        self._heard = time.monotonic()
        self._watch: asyncio.TimerHandle | None = None
        if length:
            self._listen()

    def data_received(self, chunk: bytes) -> None:
        self._heard = time.monotonic()
        self._receiver.take_small(chunk)

    def finish(self) -> None:
        self._stop_listening()
        self.go_on(self._place())

    async def _place(self) -> None:
        try:
            _path, is_new, entry = await self._receiver.finish()
        finally:
            await self._receiver.release()
        self.answer(201 if is_new else 204, {"ETag": entry.etag, "OC-ETag": entry.etag, **self._accepted})

    def on_connection_close(self) -> None:
        self._stop_listening()
        asyncio.ensure_future(self._receiver.release())

    def _listen(self) -> None:
        """A client that says no more is let go."""
        if time.monotonic() - self._heard > STALL_SECONDS:
            self.connection.stream.close()  # type: ignore[attr-defined]
            return
        self._watch = asyncio.get_running_loop().call_later(STALL_SECONDS / 4, self._listen)

    def _stop_listening(self) -> None:
        if self._watch is not None:
            self._watch.cancel()


KINDS: dict[str, Callable[..., Plain]] = {kind.method: kind for kind in (Folder, Question, SmallFile)}


@lru_cache(maxsize=2)
def date_of(second: int) -> str:
    return format_timestamp(second)
