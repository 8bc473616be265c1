"""The base of the netdisk's handlers: who calls, how bodies come in, how a refusal goes out.

Promises: a request is refused before its body is read, and the client hears it even if it is in the middle of sending;
a client that stops sending is let go; nothing of a user's is ever answered in a form that a browser would run.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import HTTPError, RequestHandler

from ark_extensions.domain import errors
from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.files import ChecksumMismatch, Full
from ark_extensions.netdisk.auth import Caller, caller_of, credentials
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.usecases.netdisk_dav import Locked
from ark_extensions.web.i18n import render_error
from ark_extensions.web.tokens import TokenLookup, Unauthenticated

log = logging.getLogger("ark.netdisk")

#: a body that is no file
SMALL_BODY_MAX = 1024 * 1024
#: after a refusal the rest of the body is read and thrown away, so that the client gets to reading the answer
DRAIN_SECONDS = 5.0
STALL_SECONDS = 120.0
NEVER_RUN = "sandbox; default-src 'none'; frame-ancestors 'none'"


#: of every answer that is not the page itself
SAFE_HEADERS = {"Content-Security-Policy": NEVER_RUN, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class PreconditionFailed(ArkError):
    """It is not as the client believed (HTTP 412)."""

    code = "precondition_failed"


class TooLarge(errors.Malformed):
    """A body longer than this kind of request has (HTTP 413)."""

    code = "too_large"


STATUS: tuple[tuple[type[ArkError], int], ...] = (
    (TooLarge, 413),
    (Full, 507),
    (ChecksumMismatch, 422),
    (PreconditionFailed, 412),
    (Locked, 423),
    (errors.Malformed, 400),
    (Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.InvalidField, 422),
    (errors.Unavailable, 503),
)


def status_of(error: ArkError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 400)


class FileHandler(RequestHandler):
    """Handlers whose requests carry a token. ``self.caller`` and ``self.desk`` are there when a method runs.

    A subclass that streams its body (``@stream_request_body``) overrides `begin` and `take`; one that does not gets a body of at
    most ``SMALL_BODY_MAX``.
    """

    caller: Caller
    desk: Desk
    #: set when the request was refused and answered, while its body is still coming in
    refused = False
    _ends_connection = False
    _drained_until = 0.0
    _stall: asyncio.TimerHandle | None = None
    body_max: int | None = SMALL_BODY_MAX
    #: gathered here when the connection is not the web server's any more
    _body_of_answer: list[bytes] | None = None

    @property
    def office(self) -> Office:
        office: Office = self.application.settings["office"]
        return office

    @property
    def tokens(self) -> TokenLookup:
        tokens: TokenLookup = self.application.settings["tokens"]
        return tokens

    # who calls

    async def prepare(self) -> None:
        try:
            await self._authenticate()
            self.desk = await self.office.desk(self.caller.user)
            self._check_length()
            await self.begin()
        except ArkError as error:
            await self._refuse_early(error)
        else:
            if self.pulls:
                await self._receive_past_the_server()
                return
        self._watch()

    async def _authenticate(self) -> None:
        name, token = credentials(self.request.headers.get("Authorization", ""))
        owner = await self.tokens.owner_of(token) if token else None
        if owner is None:
            raise Unauthenticated("Sign in with your user name, and a token of the netdisk's page as the password.")
        self.caller = caller_of(owner, token, name=name, by_cookie=False)

    async def begin(self) -> None:
        """Before the body: refuse here what can be refused."""

    async def take(self, chunk: bytes) -> None:
        """A part of the body, of a handler that streams."""

    @property
    def pulls(self) -> bool:
        """Whether the body is to be taken straight from the socket, by `pull`."""
        return False

    async def pull(self, stream: IOStream) -> None:
        raise NotImplementedError

    async def _receive_past_the_server(self) -> None:
        """The body without the web server's copies of it. The connection is ours from here, and ends with the answer."""
        stream: Any = self.request.connection.detach()  # type: ignore[union-attr]
        self._body_of_answer = []
        complete = False
        try:
            if "100-continue" in self.request.headers.get("Expect", "").lower():
                await stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                await self.pull(stream)
                complete = True
                await getattr(self, (self.request.method or "").lower())(*self.path_args)
            except ArkError as error:
                self.answer_problem(error)
            await self._answer_past_the_server(stream)
            if not complete:
                await drain(stream.socket)
        except (StreamClosedError, ConnectionError, TimeoutError):
            pass
        except Exception:
            log.exception("%s %s failed", self.request.method, self.request.path)
        finally:
            self._finished = True
            self.application.log_request(self)
            await self.release()
            stream.close()

    async def _answer_past_the_server(self, stream: Any) -> None:
        body = b"".join(self._body_of_answer or [])
        self.set_header("Content-Length", str(len(body)))
        self.set_header("Connection", "close")
        head = [f"HTTP/1.1 {self.get_status()} {self._reason}", *(f"{name}: {value}" for name, value in self._headers.get_all())]
        await stream.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def write(self, chunk: str | bytes | dict[Any, Any]) -> None:
        if self._body_of_answer is None:
            super().write(chunk)
        else:
            self._body_of_answer.append(chunk if isinstance(chunk, bytes) else str(chunk).encode())

    def check_xsrf_cookie(self) -> None:
        """A token in a header is no ambient authority."""

    # bodies

    @property
    def content_length(self) -> int | None:
        text = self.request.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def _has_body(self) -> bool:
        return bool(self.content_length) or "Transfer-Encoding" in self.request.headers

    def _check_length(self) -> None:
        if self.body_max is not None and (self.content_length or 0) > self.body_max:
            raise TooLarge("The request is longer than any request of its kind needs to be.")

    async def data_received(self, chunk: bytes) -> None:
        self._alive = time.monotonic()
        if self.refused:
            if self._alive > self._drained_until:
                self.request.connection.stream.close()  # type: ignore[union-attr]
            return
        try:
            await self.take(chunk)
        except ArkError as error:
            await self._refuse_early(error)

    async def _refuse_early(self, error: ArkError) -> None:
        """Answer now; with a body on the way, keep reading for a moment and let the method end the request."""
        streams = bool(getattr(type(self), "_stream_request_body", False))
        if not streams or not self._has_body or "100-continue" in self.request.headers.get("Expect", "").lower():
            raise error
        self.refused = True
        # whatever the method is, it does not run any more
        setattr(self, (self.request.method or "").lower(), self._end_refused)
        self._drained_until = time.monotonic() + DRAIN_SECONDS
        self.set_header("Connection", "close")
        await self.release()
        self.answer_problem(error)
        await self.flush()

    async def _end_refused(self, *arguments: str) -> None:
        if self._stall is not None:
            self._stall.cancel()
        if not self._finished:
            self.finish()

    def _watch(self) -> None:
        self._alive = time.monotonic()
        if self._has_body:
            self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS / 4, self._look_for_life)

    def _look_for_life(self) -> None:
        if time.monotonic() - self._alive > STALL_SECONDS:
            self.request.connection.stream.close()  # type: ignore[union-attr]
            return
        self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS / 4, self._look_for_life)

    def body_arrived(self) -> bool:
        """To be asked first in every method that has a body: False when the request was refused already."""
        if self._stall is not None:
            self._stall.cancel()
        if self.refused:
            self.finish()
        return not self.refused

    @property
    def holds(self) -> bool:
        """Whether there is something to give back at the end."""
        return False

    async def release(self) -> None:
        """Give back what the request holds; called once, whatever its end."""

    def on_finish(self) -> None:
        self._let_go()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._let_go()

    def _let_go(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        if self.holds:
            asyncio.ensure_future(self.release())

    # answers

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in SAFE_HEADERS.items():
            self.set_header(name, value)
        if self._ends_connection:
            self.set_header("Connection", "close")

    def compute_etag(self) -> str | None:
        return None

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, ArkError) or (isinstance(value, HTTPError) and value.status_code < 500):
            return
        reference = secrets.token_hex(4)
        log.error("%s %s failed (%s)", self.request.method, self.request.path, reference, exc_info=(typ, value, tb))  # type: ignore[arg-type]

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if self.refused or self._headers_written:
            if not self._finished:
                self.request.connection.stream.close()  # type: ignore[union-attr]
            return
        # the web server ends a connection whose body it has not read to its end, if only of no length: a proxy must hear that, or the
        # next request that it sends there is lost
        coming_in = getattr(self.request, "_body_future", None)
        self._ends_connection = coming_in is not None and not coming_in.done()
        super().send_error(status_of(error) if isinstance(error, ArkError) else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, ArkError):
            error = problem_of(status_code)
        self.answer_problem(error, status_code)
        self.finish()

    def answer_problem(self, error: ArkError, status: int | None = None) -> None:
        """The refusal as plain text; subclasses have their own form."""
        self.set_status(status or status_of(error))
        if isinstance(error, Unauthenticated):
            self.set_header("WWW-Authenticate", 'Basic realm="Ark netdisk", charset="UTF-8"')
        body = plain_problem(error, self.office.settings.currency)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Length", str(len(body)))
        self.write(body)


def plain_problem(error: ArkError, currency: str) -> bytes:
    """The refusal for programs, which show it as it is."""
    return (render_error(error, "en", currency) + "\n").encode("utf-8", "replace")


async def drain(socket: Any) -> None:
    """Read what a client goes on sending after its request was refused, for a moment, so that it gets to reading the answer."""
    until = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < until:
        try:
            if not socket.recv(256 * 1024):
                return
        except BlockingIOError:
            await asyncio.sleep(0.01)


def problem_of(status: int) -> ArkError:
    """The domain error for what Tornado itself refuses, and for what should not have happened."""
    if status == 404:
        return errors.NotFound("There is nothing at this address.")
    if status == 405:
        return ArkError("This address does not take this method.", code="method_not_allowed")
    if 400 <= status < 500:
        return errors.Malformed("The request cannot be read. Check its address and form.")
    return ArkError("Something went wrong on the platform's side. It is on record; try again in a moment.", code="internal")


def one_header(headers: HTTPHeaders, name: str) -> str | None:
    """The value of a header that may come once; None when it is not there. Raises Malformed for several."""
    values = headers.get_list(name)
    if len(values) > 1:
        raise errors.Malformed("The header {name} comes more than once.", name=name)
    return values[0] if values else None
