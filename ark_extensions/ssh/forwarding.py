"""The pipe between a client's channel and a workspace's socket: bytes are counted, never looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncssh.forward import SSHForwarder


class Traffic:
    """Bytes of one session, both ways."""

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved = 0


class Upstream(SSHForwarder):
    """The workspace's side. Names in asyncssh's base class: `_peer` is the other side."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._traffic.moved += len(data)
        super().data_received(data, datatype)


class Downstream(SSHForwarder):
    """The client's side: the session of its channel."""

    def __init__(self, peer: Upstream, traffic: Traffic, closed: Callable[[], None]) -> None:
        super().__init__(peer)
        self._traffic, self._closed = traffic, closed

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._traffic.moved += len(data)
        super().data_received(data, datatype)

    def close(self) -> None:
        closed, self._closed = self._closed, lambda: None
        super().close()
        closed()


async def joined(path: str, traffic: Traffic, closed: Callable[[], None]) -> Downstream:
    """Connect to a workspace's socket; raises OSError. ``closed`` is called once, when either side has ended."""
    _, upstream = await asyncio.get_running_loop().create_unix_connection(lambda: Upstream(traffic), path)
    return Downstream(upstream, traffic, closed)
