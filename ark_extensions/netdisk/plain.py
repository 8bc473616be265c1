"""What a program asks for each of thousands of small files (MKCOL of a folder that is there, PUT, PROPFIND of one file), answered
in front of the web framework (`quick`).

Only plain requests are taken: written in the strictest form of HTTP/1.1, with a known token, an open desk without locks and properties,
and none but the headers listed here. All others, and whatever would be refused, go to the full handlers, which therefore stay the only
place that says no before a body is read. Promises: the same answers as theirs, byte by byte on disk and in the tree; the event loop
touches a file only where the kernel answers from memory.
"""

from __future__ import annotations

import errno
import logging
import time
from functools import lru_cache
from http.client import responses
from typing import Any

from tornado.httputil import format_timestamp
from tornado.web import Application

from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.files import parse_checksum, parse_new_path
from ark_extensions.hub import TokenOwner
from ark_extensions.netdisk import dav_xml
from ark_extensions.netdisk.auth import Caller, caller_of, credentials
from ark_extensions.netdisk.conditions import DAV, path_of
from ark_extensions.netdisk.dav import dav_status
from ark_extensions.netdisk.dav_writes import parse_mtime
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.handlers import SAFE_HEADERS, plain_problem, problem_of
from ark_extensions.netdisk.receiving import SMALL, Arrival, Receiver
from ark_extensions.netdisk.refusals import refusal
from ark_extensions.netdisk.tree import Entry
from ark_extensions.web.tokens import TokenLookup, key_of

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
        self._key = b""
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
            self._key = key_of(self._said[1])
        name, token = self._said
        owner = self.tokens.known(self._key) if token else None
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

    def answer_at_once(self, body: bytes) -> bytes | None:
        """The answer, or None when a disk has to be waited for."""
        return None

    async def answer(self, body: bytes) -> bytes:
        """The answer when `answer_at_once` has none."""
        raise NotImplementedError

    def release(self) -> None:
        """Give back what `begin` took; called whatever happens."""

    def answered_at_once(self, body: bytes) -> bytes | None:
        try:
            return self.answer_at_once(body)
        except Exception as error:
            return self.refused(error)

    async def answered(self, body: bytes) -> bytes:
        try:
            return await self.answer(body)
        except Exception as error:
            return self.refused(error)

    def refused(self, error: Exception) -> bytes:
        if not isinstance(error, ArkError):
            log.error("%s %s failed", self.method, self.path[:200], exc_info=error)
            error = problem_of(500)
        return said(*_refusal(error, self.method, self.office.settings.currency))


class Folder(Plain):
    """MKCOL of what is there already: what rclone asks before each file."""

    method = "MKCOL"

    def begin(self, headers: dict[str, str]) -> None:
        if self.length or not self.path or not self.desk.tree.is_in_memory(self.path):
            raise NotPlain

    def answer_at_once(self, body: bytes) -> bytes:
        return _there_already(self.path, self.office.settings.currency, int(time.time()))


class Question(Plain):
    """PROPFIND of a file or folder itself."""

    method = "PROPFIND"

    def begin(self, headers: dict[str, str]) -> None:
        if headers.get("depth") != "0" or self.length > QUESTION_MAX or self.desk.may_have_properties:
            raise NotPlain

    def answer_at_once(self, body: bytes) -> bytes | None:
        asked = dav_xml.parse_question(body)
        entry = self.desk.tree.look_in_memory(self.path)
        return self._described(asked, entry) if entry is not None else None

    async def answer(self, body: bytes) -> bytes:
        return self._described(dav_xml.parse_question(body), await self.office.on_disk(self.desk.tree.look, self.path))

    def _described(self, asked: tuple[str, tuple[str, ...]], entry: Entry) -> bytes:
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

    def release(self) -> None:
        self._receiver.release_small()


KINDS: dict[str, type[Plain]] = {kind.method: kind for kind in (Folder, Question, SmallFile)}
_path_of = lru_cache(maxsize=256)(path_of)  # a program asks twice or thrice about one path
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS.items())


def said(status: int, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The whole answer as it goes out."""
    return said_at(int(time.time()), status, headers, body)


def said_at(second: int, status: int, headers: dict[str, str], body: bytes) -> bytes:
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
    return f"{_begin(status, second)}{more}{length}\r\n".encode("latin-1") + body


@lru_cache(maxsize=16)
def _begin(status: int, second: int) -> str:
    return f"HTTP/1.1 {status} {responses.get(status, '')}\r\n{_SAFE}Date: {format_timestamp(second)}\r\n"


def _refusal(error: ArkError, method: str, currency: str) -> tuple[int, dict[str, str], bytes]:
    status, headers = dav_status(error, method)
    return status, {"Content-Type": "text/plain; charset=utf-8", **headers}, plain_problem(error, currency)


@lru_cache(maxsize=256)  # asked once for each file of a folder
def _there_already(path: str, currency: str, second: int) -> bytes:
    return said_at(second, *_refusal(refusal(FileExistsError(errno.EEXIST, ""), path), Folder.method, currency))
