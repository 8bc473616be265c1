"""The listener and its rounds: admit, serve, and every two seconds compare what is open with what may be.

A round tells the database what happened, ends connections whose key was deleted or whose user signed off, and writes
changed keys to the workspaces that run. A round that fails is made again; nothing it would have told is lost.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import asyncssh

from ark_extensions.domain.ssh_access import is_work
from ark_extensions.domain.ssh_keys import SIGNATURES
from ark_extensions.loop import in_thread, utc_now
from ark_extensions.ssh.admission import Admission, place_of
from ark_extensions.ssh.client import Client, Shared
from ark_extensions.ssh.connector import Connector
from ark_extensions.ssh.starting import Starter
from ark_extensions.ssh.wire import GatewayConnection
from ark_extensions.storage import Storage
from ark_extensions.usecases.ssh_keys import void_connections
from ark_extensions.usecases.ssh_sessions import record_gateway, running_targets

log = logging.getLogger("ark")

LOGIN_SECONDS = 30
ACCEPTED_AT_ONCE = 64
#: a client that leaves so many keep-alives in a row unanswered is gone
KEEPALIVES_MISSED = 5
#: AES-GCM alone: OpenSSH has it since 2013, and it is the one that costs this process least
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
NOT_NOW = b"Not now: too many connections. Try again in a minute.\r\n"
KEY_GONE = "This connection was ended: its key was deleted, or its user signed off."


class Gateway:
    def __init__(
        self,
        storage: Storage,
        connector: Connector,
        key: asyncssh.SSHKey,
        *,
        admission: Admission,
        sessions_max: int,
        starter: Starter,
        look_seconds: float,
        keepalive_seconds: float,
    ) -> None:
        self._shared = Shared(storage, connector, admission, starter, sessions_max)
        self._look_seconds, self._keepalive_seconds = look_seconds, keepalive_seconds
        self._key = key
        self._options: asyncssh.SSHServerConnectionOptions | None = None
        self._listeners: list[socket.socket] = []
        self._accepting: set[asyncio.Task[None]] = set()

    async def _make_options(self) -> asyncssh.SSHServerConnectionOptions:
        return await asyncssh.SSHServerConnectionOptions.construct(
            server_factory=lambda: Client(self._shared),
            server_host_keys=[self._key],
            encryption_algs=CIPHERS,
            signature_algs=SIGNATURES,
            compression_algs=["none"],
            login_timeout=LOGIN_SECONDS,
            keepalive_interval=self._keepalive_seconds,
            keepalive_count_max=KEEPALIVES_MISSED,
            server_version="Ark",
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            rekey_bytes=1 << 32,
        )

    async def listen(self, host: str, port: int) -> int:
        """Begin to accept; the port. Raises OSError when it is taken."""
        self._options = await self._make_options()
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, _, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            try:
                listener.bind((address[0], port, *address[2:]))
            except OSError:
                listener.close()
                self.close()
                raise
            listener.listen(512)
            port = listener.getsockname()[1]
            self._listeners.append(listener)
            loop.add_reader(listener, self._accept, listener)
        return port

    def close(self) -> None:
        """Accept no more, and end what is open."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners = []
        for client in list(self._shared.clients):
            if client.connection is not None:
                client.connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The gateway is restarted. Connect again.")

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                log.warning("ssh: a connection could not be accepted: %s", error)
                return
            connection.setblocking(False)
            reason = self._shared.admission.admit(place_of(str(peer[0])), time.monotonic())
            if reason is not None:
                self._turn_away(connection, str(peer[0]), reason)
                continue
            task = asyncio.get_running_loop().create_task(self._serve(connection, str(peer[0])))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    def _turn_away(self, connection: socket.socket, address: str, reason: str) -> None:
        self._shared.tally.refused(reason, address=address, now=utc_now())
        try:
            connection.send(NOT_NOW)
        except OSError:
            pass
        connection.close()

    async def _serve(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        options, made = self._options, list[GatewayConnection]()
        assert options is not None

        def protocol() -> GatewayConnection:
            made.append(GatewayConnection(loop, options))
            return made[0]

        try:
            await loop.connect_accepted_socket(protocol, connection)
        except OSError:
            connection.close()
            if not any(client.connection is one for client in self._shared.clients for one in made):
                self._shared.admission.left(place_of(address), time.monotonic(), signed_in=False)

    # rounds

    async def report(self) -> None:
        """Tell the database what has happened."""
        self._look_at_traffic()
        report = self._shared.tally.take()
        if not report:
            return
        try:
            await in_thread(record_gateway, self._shared.storage, report=report)
        except BaseException:
            self._shared.tally.give_back(report)
            raise

    def _look_at_traffic(self) -> None:
        now, clock = utc_now(), time.monotonic()
        for client in self._shared.clients:
            for session in client.sessions.values():
                span = clock - session.counted_at
                if not session.workspace_id or span < self._look_seconds:
                    continue
                if is_work(session.traffic.moved - session.counted, span):
                    session.worked_at = now
                session.counted, session.counted_at = session.traffic.moved, clock
                self._shared.tally.report.seen[session.id] = (now, session.worked_at)

    async def end_void(self) -> str | None:
        """End the connections whose key is gone or whose user signed off."""
        live = {(c.holder.key_id, c.holder.owner, c.since): c for c in self._shared.clients if c.holder is not None}
        if not live:
            return None
        void = await in_thread(void_connections, self._shared.storage, opened=list(live))
        ended = 0
        for client in list(self._shared.clients):
            if client.holder is not None and (client.holder.key_id, client.holder.owner, client.since) in void and client.connection:
                client.connection.disconnect(asyncssh.DISC_BY_APPLICATION, KEY_GONE)
                ended += 1
        return f"{ended} connections were ended: their key was deleted or their user signed off." if ended else None

    async def authorize(self) -> None:
        """Write changed keys to the workspaces that run."""
        targets = await in_thread(running_targets, self._shared.storage)

        def write() -> None:
            for target in targets:
                self._shared.connector.authorize(target.workspace_id, target.launch_id, target.authorized_keys)
            self._shared.connector.forget_all_but({target.workspace_id for target in targets})

        await in_thread(write)

    def metrics(self) -> str:
        signed_in = sum(1 for client in self._shared.clients if client.holder is not None)
        sessions = sum(len(client.sessions) for client in self._shared.clients)
        unauthenticated = self._shared.admission.unauthenticated
        return self._shared.tally.metrics({"connections": signed_in, "unauthenticated": unauthenticated, "open_sessions": sessions})
