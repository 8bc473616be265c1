"""The web server that takes no more of a request than it may have: for the Hub, the console and the netdisk alike.

Tornado gathers a body in memory before a handler is asked whether its sender may send anything, and cuts off what is too long without
a word. Promises: of a body beyond the bound nothing is kept, whoever sends it, with a length or in chunks; its sender is told so at once
(413, in the API's form) even while still sending; one that comes too slowly is let go.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from ark_extensions.domain.errors import Malformed
from ark_extensions.web.i18n import choose_language, render_error

log = logging.getLogger("ark")

#: bytes: no form and no JSON document of the platform comes near it
BODY_MAX = 4 * 1024 * 1024
#: for the whole of such a body
BODY_SECONDS = 20.0
#: a connection that asks nothing, or has not said all its headers, by then
IDLE_SECONDS = 300.0
#: for so long the rest of a refused body is read and thrown away, so that its sender gets to reading the answer
DRAIN_SECONDS = 5.0
#: the connection's own bound, which would end it without an answer, is never the one that is met
_NEVER = 1 << 62
#: a length of more digits is no length
_DIGITS = 18
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",  # or a proxy would wait with its client for the end of a body that nobody reads
}


def bounded(_path: str) -> int | None:
    """The bound of a service in which no address takes files."""
    return BODY_MAX


class BoundedServer(HTTPServer):
    """``bound_of`` says how many bytes a body may have at an address, by its path; None: its handler sees to that itself."""

    bound_of: Callable[[str], int | None] = staticmethod(bounded)

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        return _Measured(super().start_request(server_conn, request_conn), request_conn, type(self).bound_of)


class _Measured(HTTPMessageDelegate):
    """Stands before what answers the request, and lets at most ``bound`` bytes of body through."""

    def __init__(self, inner: HTTPMessageDelegate, connection: HTTP1Connection, bound_of: Callable[[str], int | None]) -> None:
        self._inner, self._connection, self._bound_of = inner, connection, bound_of
        self._left: int | None = None
        self._refused = False

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        self._start_line, self._headers = start_line, headers
        self._left = self._bound_of(start_line.path)
        if self._left is not None:
            self._connection.set_max_body_size(_NEVER)
            self._connection.set_body_timeout(BODY_SECONDS)
            length = headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and (len(length) > _DIGITS or int(length) > self._left):
                nothing_follows = "100-continue" in headers.get("Expect", "").lower() or len(length) > _DIGITS
                self._refuse()
                if nothing_follows:
                    self._connection.finish()
                return None
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._refused:
            return None
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._inner.on_connection_close()
                self._refuse()
                return None
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        if not self._refused:
            self._inner.finish()
            return
        self._connection.finish()
        self._connection.stream.close()

    def on_connection_close(self) -> None:
        if not self._refused:
            self._inner.on_connection_close()

    def _refuse(self) -> None:
        self._refused = True
        error = Malformed("The request is longer than any request of its kind needs to be.", code="too_large")
        language = choose_language(None, self._headers.get("Accept-Language", ""), "en")
        shown: dict[str, Any] = {"code": error.code, "message": render_error(error, language, ""), "field": None, "detail": {}}
        body = json.dumps({"error": shown}, ensure_ascii=False).encode()
        headers = HTTPHeaders({**_HEADERS, "Content-Length": str(len(body))})
        log.info("413 %s %s", self._start_line.method, self._start_line.path[:200])
        self._connection.set_body_timeout(DRAIN_SECONDS)
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 413, "Content Too Large"), headers, body)
