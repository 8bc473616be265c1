"""The pipe between a client's channel and a workspace's socket: bytes are counted, never looked at.

sshd speaks first, often before the client's channel is confirmed; asyncssh's own forwarder would drop that. Here it is kept until
somebody can hear it, and so are an end and a death that come as early.

One side's end is the other's: sshd closes its connection only when it is done, and a client says that it has ended only
then. So neither waits for the other to hang up; what has been said before the end is still delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asyncssh.forward import SSHForwarder

from ark_extensions.ssh.wire import GatheredWrites

#: how long a workspace may take what was written to it, and hang up, after its client has ended; then its socket is closed
LINGER_SECONDS = 3.0


class Traffic:
    """Bytes of one session, both ways."""

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved = 0


class Upstream(SSHForwarder):
    """The workspace's side. Names in asyncssh's base class: ``_peer`` is the other side, ``_transport`` the socket."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic
        self._gathered = GatheredWrites(super().write)
        self._begun = self._ended_early = self._lost_early = False
        self._early = b""

    def begin(self) -> None:
        """The client's channel is open: say what was kept for it, and go on."""
        self._begun = True
        if self._early and self._peer is not None:
            self._peer.write(self._early)
        self._early = b""
        if self._lost_early or self._ended_early:
            self.close()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._traffic.moved += len(data)
        if self._begun:
            super().data_received(data, datatype)
        else:
            self._early += data

    def eof_received(self) -> bool:
        """sshd has ended: whatever its client does or does not do, so does the client's channel, after what is left to say."""
        self._ended_early = True
        if self._begun:
            self.close()
        return not self._begun

    def connection_lost(self, exc: Exception | None) -> None:
        if self._begun:
            super().connection_lost(exc)
        else:
            self._lost_early, self._transport = True, None

    def write(self, data: bytes) -> None:
        self._gathered.add(data)

    def write_eof(self) -> None:
        self._gathered.flush()
        super().write_eof()
        self._let_go()

    def close(self) -> None:
        self._gathered.flush()
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        """The client has ended: a workspace that reads no more (it may be frozen) is not waited for without end."""
        if self._transport is not None:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)


class Downstream(SSHForwarder):
    """The client's side: the session of its channel."""

    def __init__(self, peer: Upstream, traffic: Traffic, closed: Callable[[], None]) -> None:
        super().__init__(peer)
        self._traffic, self._closed, self._upstream = traffic, closed, peer

    def session_started(self) -> None:
        self._upstream.begin()

    def write(self, data: bytes) -> None:
        """To the client. Where nothing waits and the client has room, the channel's own queue is left out."""
        channel = cast(Any, self._transport)
        if channel is None or channel._send_buf or channel._send_state != "open" or channel._send_window < len(data):
            super().write(data)
            return
        view, most = memoryview(data), channel._send_pktsize
        channel._send_window -= len(data)
        for at in range(0, len(data), most):
            channel._conn.send_data(channel._send_chan, view[at : at + most])

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._traffic.moved += len(data)
        super().data_received(data, datatype)

    def close(self) -> None:
        closed, self._closed = self._closed, lambda: None
        super().close()
        closed()


async def joined(dial: Callable[[Callable[[], Upstream]], Awaitable[Upstream]], traffic: Traffic, closed: Callable[[], None]) -> Downstream:
    """Connect to a workspace's sshd as ``dial`` does; raises OSError. ``closed`` is called once, when either side has ended."""
    return Downstream(await dial(lambda: Upstream(traffic)), traffic, closed)
