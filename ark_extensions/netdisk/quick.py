"""What a program asks for each of thousands of small files (MKCOL of a folder that is there, PUT, PROPFIND of one file), answered
in front of the web framework, whose machinery costs more than the work.

Only plain requests are taken: written in the strictest form of HTTP/1.1, with a known token, an open desk without locks and properties,
and none but the headers listed here. All others, and whatever would be refused, are put back and go to the full handlers, which
therefore stay the only place that says no before a body is read. Promises: the same answers as theirs, byte by byte on disk and in
the tree; the event loop touches a file only where the kernel answers from memory; one request of a connection at a time.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from functools import lru_cache
from http.client import responses
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import _HTTPRequestContext
from tornado.httputil import HTTPServerConnectionDelegate, format_timestamp
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.web import Application

from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.files import parse_checksum, parse_new_path
from ark_extensions.hub import TokenOwner
from ark_extensions.netdisk import dav_xml
from ark_extensions.netdisk.auth import PREFIX, Caller, caller_of, credentials
from ark_extensions.netdisk.conditions import DAV, path_of
from ark_extensions.netdisk.dav import dav_status
from ark_extensions.netdisk.dav_writes import parse_mtime
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.handlers import SAFE_HEADERS, SMALL_BODY_MAX, STALL_SECONDS, plain_problem, problem_of
from ark_extensions.netdisk.receiving import SMALL, Arrival, Receiver
from ark_extensions.netdisk.refusals import refusal
from ark_extensions.netdisk.tree import Entry
from ark_extensions.web.bodies import BoundedServer
from ark_extensions.web.tokens import TokenLookup

log = logging.getLogger("ark.netdisk")

#: a request with any other header means something that only the full handlers know
KNOWN_HEADERS = (
    "Host User-Agent Authorization Content-Length Content-Type Referer Accept Accept-Encoding Accept-Language Connection Depth"
    " Oc-Checksum X-Oc-Mtime X-Forwarded-For X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Host X-Forwarded-Path X-Real-Ip".split()
)
#: as they are mostly written → lower-case
_USUAL = {name: name.lower() for name in KNOWN_HEADERS}
_KNOWN = frozenset(_USUAL.values())
#: of a PROPFIND's body
QUESTION_MAX = 2048
READ_BYTES = 16 * 1024
END_OF_HEAD = rb"\r?\n\r?\n"


#: below these a body may be a file, and its handler reads it as it comes
TAKES_FILES = (f"{DAV}/", f"{PREFIX}/tus/", f"{PREFIX}/api/v1/files/")


def bound_of(path: str) -> int | None:
    return None if path.startswith(TAKES_FILES) or path in (DAV, f"{PREFIX}/tus") else SMALL_BODY_MAX


class QuickServer(BoundedServer):
    """The web server, with the short way in each of its connections."""

    bound_of = staticmethod(bound_of)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        context = _HTTPRequestContext(stream, address, self.protocol, self.trusted_downstream)
        connection = QuickConnection(stream, self.conn_params, context, Door(self.request_callback))
        self._connections.add(connection)
        connection.start_serving(self)


class QuickConnection(HTTP1ServerConnection):
    """Takes each request by the short way if it is plain, else leaves it to the web server as it came."""

    def __init__(self, stream: IOStream, params: Any, context: object, door: Door) -> None:
        super().__init__(stream, params, context)
        self._door = door
        self._server_reads = stream.read_chunk_size

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        try:
            while await self._take_plain() or await self._leave_to_the_server(delegate):
                pass
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            return
        except Exception:
            log.exception("a connection ended badly")
            self.stream.close()
        finally:
            delegate.on_close(self)

    async def _leave_to_the_server(self, delegate: HTTPServerConnectionDelegate) -> bool:
        """→ whether the connection goes on."""
        self.stream.read_chunk_size = self._server_reads
        connection = HTTP1Connection(self.stream, False, self.params, self.context)
        goes_on = await connection.read_response(delegate.start_request(self, connection))
        await asyncio.sleep(0)
        return goes_on

    async def _take_plain(self) -> bool:
        """Answer the next request; False: it is not plain, and not a byte of it is lost."""
        self.stream.read_chunk_size = READ_BYTES  # each read clears a buffer of this size first
        head = await self._within(
            self.params.header_timeout, self.stream.read_until_regex(END_OF_HEAD, max_bytes=self.params.max_header_size)
        )
        request = self._door.plain(head)
        if request is None:
            self.stream._read_buffer[:0] = head
            self.stream._read_buffer_size += len(head)
            return False
        try:
            body = await self._within(STALL_SECONDS, self.stream.read_bytes(request.length)) if request.length else b""
            answer = await request.answered(body)
        finally:
            await request.release()
        await self._send(answer)
        return True

    async def _send(self, answer: bytes) -> None:
        """Straight to the socket as a rule: an answer fits into its buffer."""
        sent = 0
        if not self.stream.writing():
            try:
                sent = self.stream.socket.send(answer)
            except BlockingIOError:
                pass
            except OSError:
                self.stream.close()
        if sent < len(answer):
            await self.stream.write(answer[sent:])

    async def _within(self, seconds: float | None, reading: Any) -> bytes:
        """What comes, or StreamClosedError: a client that says nothing for so long is let go."""
        if reading.done():
            return bytes(reading.result())
        watch = asyncio.get_running_loop().call_later(seconds, self.stream.close) if seconds else None
        try:
            return bytes(await reading)
        finally:
            if watch is not None:
                watch.cancel()


class Door:
    """Knows which requests are plain."""

    def __init__(self, app: Any) -> None:
        assert isinstance(app, Application)
        self.office: Office = app.settings["office"]
        self.tokens: TokenLookup = app.settings["tokens"]
        #: of the connection's last requests, which mostly is that of the next: headers, what the token's header says, and whose it was
        self._blocks: dict[type[Plain], tuple[bytes, dict[str, str] | None]] = {}
        self._authorization = ""
        self._said: tuple[str | None, str] = (None, "")
        self._owner: TokenOwner | None = None
        self._caller: Caller | None = None

    def plain(self, head: bytes) -> Plain | None:
        """What answers the request, or None when it is for the full handlers."""
        end = head.find(b"\r\n")
        read = read_first(head[: max(0, end)])
        kind = KINDS.get(read[0]) if read is not None else None
        if read is None or kind is None:
            return None
        path, headers = read[1], self._headers_of(kind, head[end:])
        if headers is None:
            return None
        length = headers.get("content-length", "0")
        if not path.startswith(DAV + "/") or "?" in path or "#" in path or not length.isdigit() or len(length) > 9:
            return None
        try:
            caller = self._caller_of(headers.get("authorization", ""))
            desk = self.office.open_desk(caller.user) if caller is not None else None
            if caller is None or desk is None or desk.locks:
                return None
            return kind(self.office, caller, desk, _path_of(path), headers, int(length))
        except (ArkError, NotPlain):
            return None  # nothing was done: the full handler refuses it in its own words

    def _headers_of(self, kind: type[Plain], block: bytes) -> dict[str, str] | None:
        """Read once for all requests of a kind that come with the very same headers."""
        known = self._blocks.get(kind)
        if known is None or known[0] != block:
            known = self._blocks[kind] = (block, read_headers(block))
        return known[1]

    def _caller_of(self, authorization: str) -> Caller | None:
        """Who calls, if that is known without asking; the token is looked up at each request, so a revoked one is heard of."""
        if authorization != self._authorization:
            self._authorization, self._said, self._owner = authorization, credentials(authorization), None
        name, token = self._said
        owner = self.tokens.known(token) if token else None
        if owner is None:
            return None
        if owner is not self._owner:
            self._caller = caller_of(owner, token, name=name, by_cookie=False)
            self._owner = owner
        return self._caller


def read_first(line: bytes) -> tuple[str, str] | None:
    """(method, path) of a request's first line in the strictest form, else None."""
    try:
        first = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        return None
    if len(first) != 3 or first[2] != "HTTP/1.1" or not first[0].isprintable() or not first[1].isprintable():
        return None
    return first[0], first[1]


def read_headers(block: bytes) -> dict[str, str] | None:
    """Headers by lower-case name, in the strictest form; None for everything that two readers could read in two ways: other line ends,
    folded lines, repeated or unknown headers, bytes that are no printable ASCII. ``block`` begins and ends with a line end."""
    try:
        lines = block.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    if lines[-2:] != ["", ""] or not "".join(lines).isprintable():
        return None
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        name = _USUAL.get(name) or name.lower()
        if not colon or name not in _KNOWN or name in headers:
            return None
        headers[name] = value.strip(" ")
    if "host" not in headers or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return headers


class NotPlain(Exception):
    """For the full handlers."""


class Plain:
    """A request that is answered here. `begin` raises NotPlain or ArkError for what is for the full handlers after all."""

    method = ""

    def __init__(self, office: Office, caller: Caller, desk: Desk, path: str, headers: dict[str, str], length: int) -> None:
        self.office, self.caller, self.desk, self.path, self.length = office, caller, desk, path, length
        self.begin(headers)

    def begin(self, headers: dict[str, str]) -> None:
        raise NotImplementedError

    async def answer(self, body: bytes) -> bytes:
        raise NotImplementedError

    async def release(self) -> None:
        """Give back what `begin` took; called whatever happens."""

    async def answered(self, body: bytes) -> bytes:
        try:
            return await self.answer(body)
        except ArkError as error:
            return self.refused(error)
        except Exception:
            log.exception("%s %s failed", self.method, self.path[:200])
            return self.refused(problem_of(500))

    def refused(self, error: ArkError) -> bytes:
        return said(*_refusal(error, self.method, self.office.settings.currency))


class Folder(Plain):
    """MKCOL of what is there already: what rclone asks before each file."""

    method = "MKCOL"

    def begin(self, headers: dict[str, str]) -> None:
        if self.length or not self.path or self.desk.tree.look_in_memory(self.path) is None:
            raise NotPlain

    async def answer(self, body: bytes) -> bytes:
        return said(*_there_already(self.path, self.office.settings.currency))


class Question(Plain):
    """PROPFIND of a file or folder itself."""

    method = "PROPFIND"

    def begin(self, headers: dict[str, str]) -> None:
        if headers.get("depth") != "0" or self.length > QUESTION_MAX or self.desk.may_have_properties:
            raise NotPlain

    async def answer(self, body: bytes) -> bytes:
        asked = dav_xml.parse_question(body)
        entry: Entry | None = self.desk.tree.look_in_memory(self.path)
        if entry is None:
            entry = await self.office.on_disk(self.desk.tree.look, self.path)
        response = dav_xml.found(asked, self.path, entry, {}, "", self.desk.quota)
        text = f'{dav_xml.HEAD}<D:multistatus xmlns:D="DAV:">\n{response}</D:multistatus>\n'
        return said(207, {"Content-Type": "application/xml; charset=utf-8"}, text.encode())


class SmallFile(Plain):
    """PUT of a file that fits into memory."""

    method = "PUT"

    def begin(self, headers: dict[str, str]) -> None:
        if self.length > SMALL or "content-length" not in headers:
            raise NotPlain
        checksum, modified = parse_checksum(headers.get("oc-checksum", "")), parse_mtime(headers.get("x-oc-mtime"))
        self._accepted = {"X-OC-Mtime": "accepted"} if modified is not None else {}
        self._receiver = Receiver(self.office, self.desk, Arrival(parse_new_path(self.path), self.length, "replace", checksum, modified))
        self._receiver.begin_small()

    async def answer(self, body: bytes) -> bytes:
        self._receiver.take_small(body)
        _path, is_new, entry = await self._receiver.finish()
        return said(201 if is_new else 204, {"ETag": entry.etag, "OC-ETag": entry.etag, **self._accepted})

    async def release(self) -> None:
        await self._receiver.release()


KINDS: dict[str, type[Plain]] = {kind.method: kind for kind in (Folder, Question, SmallFile)}
_path_of = lru_cache(maxsize=256)(path_of)  # a program asks twice or thrice about one path
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS.items())


def said(status: int, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The whole answer as it goes out."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
    date = _date(int(time.time()))
    return f"HTTP/1.1 {status} {responses.get(status, '')}\r\n{_SAFE}Date: {date}\r\n{more}{length}\r\n".encode("latin-1") + body


def _refusal(error: ArkError, method: str, currency: str) -> tuple[int, dict[str, str], bytes]:
    status, headers = dav_status(error, method)
    return status, {"Content-Type": "text/plain; charset=utf-8", **headers}, plain_problem(error, currency)


@lru_cache(maxsize=256)  # asked once for each file of a folder
def _there_already(path: str, currency: str) -> tuple[int, dict[str, str], bytes]:
    return _refusal(refusal(FileExistsError(errno.EEXIST, ""), path), Folder.method, currency)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return format_timestamp(second)
