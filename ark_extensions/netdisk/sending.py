"""Send a file to a client: ranges, conditions, small ones kept alive, large ones by sendfile.

Promises: a user's file is sent as something to save, never to run; a slow disk or a slow client holds no thread for long and
never the event loop; a client that stops reading is let go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from tornado.iostream import StreamClosedError

from ark_extensions.domain.files import shown
from ark_extensions.netdisk.conditions import etag_matches, parse_range
from ark_extensions.netdisk.handlers import STALL_SECONDS, FileHandler
from ark_extensions.netdisk.tree import Entry

#: above it the connection is given to sendfile, and closed at the end
SENDFILE_FROM = 1024 * 1024
STEP = 32 * 1024 * 1024
POLL_MILLIS = 20


def attachment(name: str) -> str:
    """A Content-Disposition that saves under ``name``, in any script."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in shown(name))
    return f"attachment; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(shown(name), safe='')}"


async def send_file(handler: FileHandler, fd: int, entry: Entry, *, kind: str = "application/octet-stream", inline: bool = False) -> None:
    """Answer a GET or HEAD with the open file; closes ``fd``."""
    try:
        span = _headers(handler, entry, kind, inline)
        if span is None:
            handler.finish()
            return
        begin, end = span
        handler.set_header("Content-Length", str(end - begin))
        if handler.request.method == "HEAD":
            handler.finish()
        elif end - begin < SENDFILE_FROM:
            handler.finish(await handler.office.on_disk(_read, fd, begin, end))
        else:
            await _send_large(handler, fd, begin, end)
    finally:
        os.close(fd)


def _headers(handler: FileHandler, entry: Entry, kind: str, inline: bool) -> tuple[int, int] | None:
    """Set status and headers. → the bytes to send, or None when the headers are the whole answer."""
    wants = handler.request.headers
    handler.set_header("ETag", entry.etag)
    handler.set_header("Last-Modified", format_datetime(entry.modified, usegmt=True))
    handler.set_header("Cache-Control", "private, no-cache")
    if "If-Match" in wants and not etag_matches(wants["If-Match"], entry.etag):
        handler.set_status(412)
        return None
    if "If-None-Match" in wants:
        unchanged = etag_matches(wants["If-None-Match"], entry.etag)
    else:
        unchanged = _not_modified_since(wants.get("If-Modified-Since"), entry.modified)
    if unchanged:
        handler.set_status(304)
        return None
    handler.set_header("Content-Type", kind)
    handler.set_header("Accept-Ranges", "bytes")
    if not inline:
        handler.set_header("Content-Disposition", attachment(entry.name))
    asked = wants.get("Range")
    if asked and wants.get("If-Range", entry.etag) not in (entry.etag, format_datetime(entry.modified, usegmt=True)):
        asked = None
    try:
        span = parse_range(asked, entry.size)
    except ValueError:
        handler.set_status(416)
        handler.set_header("Content-Range", f"bytes */{entry.size}")
        return None
    if span is None:
        return 0, entry.size
    handler.set_status(206)
    handler.set_header("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{entry.size}")
    return span


def _not_modified_since(header: str | None, modified: datetime) -> bool:
    try:
        since = parsedate_to_datetime(header or "")
    except (ValueError, TypeError):
        return False
    return modified.replace(microsecond=0) <= since.replace(tzinfo=since.tzinfo or UTC)


def _read(fd: int, begin: int, end: int) -> bytes:
    parts = []
    while begin < end and (part := os.pread(fd, end - begin, begin)):
        parts.append(part)
        begin += len(part)
    return b"".join(parts)


async def _send_large(handler: FileHandler, fd: int, begin: int, end: int) -> None:
    handler.set_header("Connection", "close")
    head = [f"HTTP/1.1 {handler.get_status()} OK", *(f"{name}: {value}" for name, value in handler._headers.get_all())]
    stream: Any = handler.detach()
    try:
        await stream.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        # a second descriptor, so that our waiting and the stream's own do not meet in the event loop
        socket = os.dup(stream.socket.fileno())
        try:
            await _pump(handler, socket, fd, begin, end)
        finally:
            os.close(socket)
    except (StreamClosedError, OSError, TimeoutError):
        pass
    finally:
        stream.close()


async def _pump(handler: FileHandler, socket: int, fd: int, begin: int, end: int) -> None:
    while begin < end:
        sent, waits = await handler.office.on_disk(_step, socket, fd, begin, min(end, begin + STEP))
        begin += sent
        if waits:
            await asyncio.wait_for(_writable(socket), STALL_SECONDS)
        elif sent == 0:  # the file became shorter meanwhile: the client sees that the answer is cut
            return


def _step(socket: int, fd: int, begin: int, end: int) -> tuple[int, bool]:
    """Send as long as the client keeps up. → (bytes sent, whether the client has to catch up)."""
    poll = select.poll()
    poll.register(socket, select.POLLOUT)
    at = begin
    while at < end:
        try:
            sent = os.sendfile(socket, fd, at, end - at)
        except BlockingIOError:
            if not poll.poll(POLL_MILLIS):
                return at - begin, True
            continue
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            raise
        if sent == 0:
            break
        at += sent
    return at - begin, False


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(socket)
