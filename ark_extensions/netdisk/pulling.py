"""Take a large body straight from the socket into the file, past the web server's buffers: the kernel moves it (splice), or, when
a checksum is asked for, one buffer of ours sees it on the way.

Promises: the memory of an upload does not depend on its size; a thread is held only while bytes flow; a client that stops
sending is let go; what was moved is where it belongs, byte for byte, whatever the socket's pieces were.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import select
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from ark_extensions.netdisk.desk import Office
from ark_extensions.netdisk.handlers import STALL_SECONDS
from ark_extensions.netdisk.refusals import refusal
from ark_extensions.netdisk.sink import WRITE_BACK_EVERY, write_back

#: shorter bodies come through the web server
PULL_FROM = 4 * 1024 * 1024
PIPE = 1024 * 1024
STEP = 64 * 1024 * 1024
POLL_MILLIS = 20
_SPLICE_F_MOVE, _SPLICE_F_NONBLOCK = 1, 2
_F_SETPIPE_SZ = 1031


class Pull:
    """One body of ``length`` bytes from ``stream`` (detached from its connection) to ``fd``."""

    def __init__(self, office: Office, stream: IOStream, fd: int, length: int, *, path: str, algorithm: str | None) -> None:
        self._office = office
        self._stream = stream
        self._fd = fd
        self._length = length
        self._path = path
        self._hash: Any = hashlib.new(algorithm) if algorithm else None
        self._pushed = 0
        self.received = 0

    async def run(self) -> None:
        """Until all is in the file; raises StreamClosedError when the client went away, a refusal when the disk says no."""
        await self._what_came_with_the_headers()
        socket = os.dup(self._stream.socket.fileno())
        pipe: tuple[int, int] | None = None
        try:
            if self._hash is None:
                pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                widen(pipe[1])
            while self.received < self._length:
                waits = await self._office.on_disk(self._step, socket, pipe)
                if waits:
                    await asyncio.wait_for(readable(socket), STALL_SECONDS)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise StreamClosedError from error
            raise refusal(error, self._path) from error
        finally:
            for fd in (socket, *(pipe or ())):
                os.close(fd)

    def digest(self) -> str:
        return str(self._hash.hexdigest()) if self._hash else ""

    async def _what_came_with_the_headers(self) -> None:
        stop_reading(self._stream)
        waiting = min(self._stream._read_buffer_size, self._length)
        if waiting:
            begin = await self._stream.read_bytes(waiting)
            await self._office.on_disk(self._write, begin)
            stop_reading(self._stream)

    def _write(self, data: bytes | memoryview) -> None:
        if self._hash:
            self._hash.update(data)
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, self.received)
            self.received += done
            view = view[done:]

    def _step(self, socket: int, pipe: tuple[int, int] | None) -> bool:
        """Move what comes, as long as the client keeps up. → whether to wait for it."""
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        until = min(self._length, self.received + STEP)
        buffer = None if pipe else bytearray(PIPE // 4)
        while self.received < until:
            try:
                moved = self._splice(socket, pipe) if pipe else self._copy(socket, buffer or bytearray(1))
            except BlockingIOError:
                if not poll.poll(POLL_MILLIS):
                    return True
                continue
            if moved == 0:
                raise ConnectionResetError("the client went away")
            if self.received - self._pushed >= WRITE_BACK_EVERY:
                write_back(self._fd, self._pushed, self.received)
                self._pushed = self.received
        return False

    def _splice(self, socket: int, pipe: tuple[int, int]) -> int:
        want = min(PIPE, self._length - self.received)
        came = os.splice(socket, pipe[1], want, flags=_SPLICE_F_MOVE | _SPLICE_F_NONBLOCK)
        left = came
        while left:
            gone = os.splice(pipe[0], self._fd, left, offset_dst=self.received, flags=_SPLICE_F_MOVE)
            self.received += gone
            left -= gone
        return came

    def _copy(self, socket: int, buffer: bytearray) -> int:
        view = memoryview(buffer)[: self._length - self.received]
        came = os.readv(socket, [view])
        self._write(view[:came])
        return came


def stop_reading(stream: IOStream) -> None:
    """The event loop does not read from this socket any more: the bytes are ours."""
    if stream._state is not None:
        stream.io_loop.remove_handler(stream.fileno())
        stream._state = None


def widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, PIPE)
    except OSError:
        pass  # above the limit of an ordinary user: it moves less at a time


async def readable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(socket, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(socket)
