"""Whether a workspace's server answers: any HTTP answer will do, the Hub judges the rest."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

NO_CONNECTION = 599
#: of an answer: its beginning, and mostly all of it
READ_BYTES = 16_384


async def answers(url: str, *, timeout_seconds: float = 5.0) -> bool:
    """Whether something speaks HTTP there now."""
    if urlsplit(url).scheme == "http":
        return await _begins_to_answer(url, timeout_seconds)
    try:
        await AsyncHTTPClient().fetch(url, request_timeout=timeout_seconds, connect_timeout=timeout_seconds, follow_redirects=False)
    except HTTPClientError as error:
        return int(error.code) != NO_CONNECTION
    except OSError:
        return False
    return True


async def _begins_to_answer(url: str, timeout_seconds: float) -> bool:
    """One small request over a plain socket: a client for all that HTTP can be costs the event loop ten times as much."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
            try:
                writer.write(f"GET {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.read(READ_BYTES)).startswith(b"HTTP/")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
