"""The short way in front of the web framework, whose machinery costs more than the work on a small file: plain requests (`plain`) are
read from the socket, answered and written to it here, all others go to the web server as they came.

Promises: no byte is lost or read twice between the two ways; one request of a connection at a time; a client that says nothing, or does
not take its answer, is let go; the event loop waits for no disk.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from dataclasses import dataclass
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.netdisk.conditions import DAV
from ark_extensions.netdisk.handlers import SMALL_BODY_MAX, STALL_SECONDS
from ark_extensions.netdisk.plain import Door, Plain
from ark_extensions.web.bodies import BoundedServer

log = logging.getLogger("ark.netdisk")

#: as the web server finds it; what ends otherwise than with two CRLF is not plain
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
#: of what a client sends while its last request is being answered
AHEAD_MAX = 64 * 1024
RECEIVE_BYTES = 64 * 1024
#: more than a stream holds
_ALL = 1 << 30
#: below these a body may be a file, and its handler reads it as it comes
TAKES_FILES = (f"{DAV}/", f"{PREFIX}/tus/", f"{PREFIX}/api/v1/files/")


def bound_of(path: str) -> int | None:
    return None if path.startswith(TAKES_FILES) or path in (DAV, f"{PREFIX}/tus") else SMALL_BODY_MAX


class QuickServer(BoundedServer):
    """The web server, with the short way in each of its connections."""

    bound_of = staticmethod(bound_of)

    def initialize(self, *arguments: Any, **options: Any) -> None:
        super().initialize(*arguments, **options)
        self.open: set[QuickConnection] = set()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        # the stream itself has read nothing and is not used: each request that is not plain gets one of its own
        self.open.add(QuickConnection(self, stream.socket, Peer(str(address[0]), self.protocol or "http")))

    async def close_all_connections(self) -> None:
        while self.open:
            await next(iter(self.open)).close()


@dataclass(frozen=True)
class Peer:
    """What the web server's requests are to know of where they come from."""

    remote_ip: str
    protocol: str

    def __str__(self) -> str:
        return self.remote_ip


class Refilled(IOStream):
    """A stream that first gives what was read of its socket already, and gives back what it has read too much."""

    def __init__(self, connection: socket.socket, ahead: bytes, **options: Any) -> None:
        super().__init__(connection, **options)
        self._ahead = ahead
        self._given_back = False

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if not self._ahead:
            return super().read_from_fd(buf)
        part, self._ahead = self._ahead[: len(buf)], self._ahead[len(buf) :]
        buf[: len(part)] = part
        return len(part)

    def give_back(self) -> bytes:
        """What it has read and nobody has taken. From now on it does nothing any more, whoever still knows it; raises StreamClosedError."""
        rest = asyncio.ensure_future(self.read_bytes(_ALL, partial=True))
        if not self.closed():
            self.io_loop.remove_handler(self.fileno())
            self._given_back = True
        return rest.result() if rest.done() else b""

    def close(self, exc_info: Any = False) -> None:
        if not self._given_back:
            super().close(exc_info)


class QuickConnection:
    """One client, from its first byte to its last. Used in the event loop only."""

    def __init__(self, server: QuickServer, connection: socket.socket, peer: Peer) -> None:
        self._server, self._socket, self._peer = server, connection, peer
        self._params = server.conn_params
        self._fd = connection.fileno()
        self._loop = asyncio.get_running_loop()
        self._door = Door(server.request_callback)
        #: what was read and not used yet
        self._came = b""
        self._unsent = b""
        #: the plain request whose body is awaited, or that is being answered
        self._request: Plain | None = None
        #: the web server's connection while it answers
        self._stream: Refilled | None = None
        self._task: asyncio.Future[Any] | None = None
        #: a request is being answered; the event loop tells us of bytes, or of room for them
        self._busy = self._listens = self._writes = False
        #: the client says no more; we are to end
        self._last = self._closing = False
        #: no handler has taken the socket for itself
        self._ours = True
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._waits_since = self._loop.time()
        self._watch: asyncio.TimerHandle = self._loop.call_later(STALL_SECONDS, self._look_for_life)
        self._listen()

    async def close(self) -> None:
        """Let the answer under way go out, if it is a plain request's, and end."""
        self._closing = True
        if self._stream is not None:
            self._stream.close()
        elif not self._busy:
            self._end()
        await asyncio.shield(self._ended)

    # reading

    def _listen(self) -> None:
        if not self._listens:
            self._loop.add_reader(self._fd, self._readable)
            self._listens = True

    def _stop_listening(self) -> None:
        if self._listens:
            self._loop.remove_reader(self._fd)
            self._listens = False

    def _readable(self) -> None:
        try:
            came = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        self._came = self._came + came if self._came else came
        if not came:
            self._last = True
            self._stop_listening()
        if not self._busy:
            self._go_on()
        elif len(self._came) > AHEAD_MAX:
            self._stop_listening()

    def _go_on(self) -> None:
        """Take up the next request, if it is there as a whole; other connections have their turn before the one after it."""
        if self._busy or self._ended.done():
            return
        if self._closing:
            self._end()
            return
        try:
            if self._request is None and self._came:
                self._take_head()
            if self._request is not None and len(self._came) >= self._request.length:
                self._take_body(self._request)
            elif self._busy:
                pass
            elif self._last:
                self._end()
            else:
                self._listen()
        except Exception:
            log.exception("a connection ended badly")
            self._end()

    def _take_head(self) -> None:
        end = self._came.find(b"\r\n\r\n")
        if end < 0 and len(self._came) <= self._params.max_header_size and END_OF_HEAD.search(self._came) is None:
            return
        request = self._door.plain(self._came[: end + 4]) if 0 <= end <= self._params.max_header_size else None
        if request is None:
            self._leave_to_the_server()
            return
        self._came = self._came[end + 4 :]
        self._request = request
        self._waits_since = self._loop.time()

    # answering

    def _take_body(self, request: Plain) -> None:
        body, self._came = self._came[: request.length], self._came[request.length :]
        self._busy = True
        answer = request.answered_at_once(body)
        if answer is not None:
            self._send(answer)
            return
        self._task = self._loop.create_task(request.answered(body))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Future[bytes]) -> None:
        self._task = None
        if task.cancelled():
            self._end()
        else:
            self._send(task.result())

    def _send(self, answer: bytes) -> None:
        """Straight to the socket: as a rule an answer fits into its buffer."""
        assert self._request is not None
        self._request.release()
        self._request = None
        self._waits_since = self._loop.time()
        self._unsent = answer
        self._write()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._fd, self._write)
            self._writes = True
            return
        if self._writes:
            self._loop.remove_writer(self._fd)
            self._writes = False
        self._busy = False
        if self._came or self._last or self._closing:
            self._loop.call_soon(self._go_on)
        else:
            self._listen()

    # the long way

    def _leave_to_the_server(self) -> None:
        self._busy = True
        self._stop_listening()
        ahead, self._came = self._came, b""
        self._stream = Refilled(
            self._socket, ahead, max_buffer_size=self._server.max_buffer_size, read_chunk_size=self._server.read_chunk_size
        )
        self._task = self._loop.create_task(self._by_the_server(self._stream))
        self._task.add_done_callback(self._take_back)

    async def _by_the_server(self, stream: Refilled) -> bool:
        """→ whether the connection goes on, with what the server has read of the next request in ``_came``."""
        connection = HTTP1Connection(stream, False, self._params, self._peer)
        try:
            if await connection.read_response(self._server.start_request(self, connection)) and not stream.closed():
                self._came = stream.give_back()
                return True
        except (StreamClosedError, UnsatisfiableReadError):
            pass
        except Exception:
            log.exception("a connection ended badly")
        self._ours = connection.stream is not None
        if self._ours:
            stream.close()
        return False

    def _take_back(self, task: asyncio.Future[bool]) -> None:
        self._task, self._stream = None, None
        if task.cancelled() or not task.result():
            self._end()
            return
        self._waits_since = self._loop.time()
        self._busy = False
        self._go_on()

    # the end

    def _look_for_life(self) -> None:
        """One timer for all waits of a connection: it looks often enough to be there when the shortest of them is over."""
        now = self._loop.time()
        due = now + STALL_SECONDS
        if self._unsent or not self._busy:
            idle = self._request is None and not self._unsent
            due = self._waits_since + (self._params.header_timeout or STALL_SECONDS if idle else STALL_SECONDS)
        if due <= now:
            self._end()
        else:
            self._watch = self._loop.call_at(min(due, now + STALL_SECONDS), self._look_for_life)

    def _end(self) -> None:
        if self._ended.done():
            return
        if self._request is not None:
            self._request.release()
        self._watch.cancel()
        self._stop_listening()
        if self._writes:
            self._loop.remove_writer(self._fd)
        if self._ours:
            self._socket.close()
        self._server.open.discard(self)
        self._ended.set_result(None)
