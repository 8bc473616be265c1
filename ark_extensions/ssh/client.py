"""One client at the gateway: signs in with a key, may open channels to its own running workspaces, and nothing else.

Everything else that SSH knows (passwords, a shell here, listening here, agents, sockets, other hosts, other ports) is
refused; the refusals that a person may meet by mistake are sentences with the way out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime

import asyncssh

from ark_extensions.domain.errors import ArkError, NotFound
from ark_extensions.domain.ssh_access import INNER_PORT
from ark_extensions.domain.ssh_keys import fingerprint_of
from ark_extensions.loop import in_thread, utc_now
from ark_extensions.ssh.admission import Admission, place_of
from ark_extensions.ssh.connector import Connector
from ark_extensions.ssh.forwarding import Downstream, Traffic, joined
from ark_extensions.ssh.starting import Starter
from ark_extensions.ssh.tally import Tally
from ark_extensions.storage import Storage
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.ssh_keys import KeyHolder, key_holder
from ark_extensions.usecases.ssh_sessions import SessionOpened, Target

log = logging.getLogger("ark")

#: keys that one connection may try: an agent offers all it has
KEYS_TRIED_MAX = 12
#: dialling a workspace
DIAL_SECONDS = 10.0
WINDOW_BYTES = 4 * 1024 * 1024

ONLY_A_GATEWAY = "This is a gateway, not a workspace. Use: ssh -J {user}@GATEWAY user@WORKSPACE"
ONLY_PORT_22 = "Only port 22 of a workspace is reached here. For another port of it use -L in the session: ssh -L 8080:localhost:{port} ..."
TOO_MANY = "You have {count} SSH sessions open, which is the limit. Close some and connect again."
NO_SSH_YET = "Workspace {name} does not take SSH now. If it has just started, connect again in a moment; else restart it."


class LiveSession:
    """One channel into one workspace."""

    def __init__(self, workspace_id: str, now: datetime) -> None:
        self.id = new_id()
        self.workspace_id = workspace_id
        self.traffic = Traffic()
        self.worked_at = now
        self.counted, self.counted_at = 0, time.monotonic()
        self.pipe: Downstream | None = None


@dataclass
class Shared:
    """What all clients of one gateway share. ``clients``: those whose connection is open, signed in or not."""

    storage: Storage
    connector: Connector
    admission: Admission
    starter: Starter
    sessions_max: int
    tally: Tally = field(default_factory=Tally)
    clients: set[Client] = field(default_factory=set)

    def sessions_of(self, owner: str) -> int:
        return sum(len(client.sessions) for client in self.clients if client.holder is not None and client.holder.owner == owner)


class Client(asyncssh.SSHServer):
    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._admitted, self._gone = True, False
        self._tried: dict[str, KeyHolder | None] = {}
        self._offered: tuple[str, KeyHolder] | None = None
        self.connection: asyncssh.SSHServerConnection | None = None
        self.address = self.user = self.fingerprint = ""
        self.holder: KeyHolder | None = None
        self.since = utc_now()
        self.sessions: dict[str, LiveSession] = {}

    # signing in

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        peer = conn.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._shared.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave(signed_in=False)
        if self.holder is None:
            self._refused("no_key" if not self._tried else "no_signature" if self._offered else "unknown_key")
        self._shared.clients.discard(self)
        self._gone = True
        for session in list(self.sessions.values()):
            if session.pipe is not None:
                session.pipe.close()

    def begin_auth(self, username: str) -> bool:
        self.user = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Called before the signature is checked and again with it; the answer is looked up once a key."""
        self._offered = None
        fingerprint = fingerprint_of(key.public_data)
        if fingerprint not in self._tried:
            if len(self._tried) >= KEYS_TRIED_MAX:
                assert self.connection is not None
                self._refused("too_many_keys", fingerprint)
                self.connection.disconnect(
                    asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
                    "Too many keys were tried. Name the right one: ssh -o IdentitiesOnly=yes -i FILE, or in ~/.ssh/config",
                )
                return False
            self._tried[fingerprint] = await in_thread(key_holder, self._shared.storage, fingerprint=fingerprint)
            if not self._is_mine(fingerprint):
                self._refused("unknown_key" if self._tried[fingerprint] is None else "foreign_key", fingerprint)
        holder = self._tried[fingerprint]
        if holder is None or holder.owner != username:
            return False
        self._offered = (fingerprint, holder)
        return True

    def _is_mine(self, fingerprint: str) -> bool:
        holder = self._tried[fingerprint]
        return holder is not None and holder.owner == self.user

    def auth_completed(self) -> None:
        assert self._offered is not None
        self.fingerprint, self.holder = self._offered
        self.since = utc_now()
        self._leave(signed_in=True)
        tally = self._shared.tally
        tally.report.used[self.holder.key_id] = self.since
        tally.totals["signed_in"] += 1

    def _leave(self, *, signed_in: bool) -> None:
        if self._admitted:
            self._admitted = False
            self._shared.admission.left(place_of(self.address), time.monotonic(), signed_in=signed_in)

    def _refused(self, reason: str, fingerprint: str = "", workspace: str = "") -> None:
        self._shared.tally.refused(
            reason, address=self.address, now=utc_now(), user=self.user, fingerprint=fingerprint or self.fingerprint, workspace=workspace
        )

    def kept_alive(self) -> None:
        """The client has answered a keep-alive."""
        self._shared.tally.totals["keepalives_answered"] += 1

    # what a client may ask

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Awaitable[Downstream]]:
        assert self.connection is not None
        return self.connection.create_tcp_channel(window=WINDOW_BYTES), self._open(dest_host, dest_port)

    def session_requested(self) -> bool:
        self._refused("shell")
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, ONLY_A_GATEWAY.format(user=self.user))

    def unix_connection_requested(self, dest_path: str) -> bool:
        self._refused("socket")
        return False

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        self._refused("listen")
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        self._refused("listen")
        return False

    # channels

    async def _open(self, host: str, port: int) -> Downstream:
        if self.holder is None:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "Sign in first.")
        name = host.lower()
        if port != INNER_PORT:
            self._refused("port", workspace=name)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, ONLY_PORT_22.format(port=port))
        if (count := self._shared.sessions_of(self.holder.owner)) >= self._shared.sessions_max:
            self._refused("too_many_sessions", workspace=name)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, TOO_MANY.format(count=count))
        session = LiveSession("", utc_now())
        self.sessions[session.id] = session  # it counts from here on, so that a burst cannot pass the limit
        try:
            target = await self._target(name)
            session.workspace_id = target.workspace_id
            return await self._dial(session, target, name)
        except asyncssh.ChannelOpenError:
            self.sessions.pop(session.id, None)
            raise
        except Exception as error:
            self.sessions.pop(session.id, None)
            log.warning("ssh: %s could not be reached: %s: %s", name, type(error).__name__, error)
            log.debug("ssh: the failed attempt", exc_info=True)
            self._refused("failed", workspace=name)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, NO_SSH_YET.format(name=name)) from None

    async def _target(self, name: str) -> Target:
        assert self.holder is not None
        try:
            return await self._shared.starter.running(self.holder.owner, name)
        except ArkError as refusal:
            self._refused("no_workspace" if isinstance(refusal, NotFound) else refusal.code, workspace=name)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(refusal)) from None

    async def _dial(self, session: LiveSession, target: Target, name: str) -> Downstream:
        connector = self._shared.connector
        await in_thread(connector.authorize, target.workspace_id, target.launch_id, target.authorized_keys)
        try:
            opening = joined(lambda made: connector.dial(target, made), session.traffic, lambda: self._session_closed(session.id))
            pipe = await asyncio.wait_for(opening, DIAL_SECONDS)
        except (OSError, TimeoutError):
            self._refused("no_answer", workspace=name)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, NO_SSH_YET.format(name=name)) from None
        if self._gone:
            pipe.close()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "The connection has ended.")
        assert self.holder is not None
        session.pipe = pipe
        tally, now = self._shared.tally, utc_now()
        opened = SessionOpened(session.id, target.workspace_id, self.holder.owner, self.fingerprint, self.address, now)
        tally.report.opened.append(opened)
        log.info(
            "ssh: session=%s workspace=%s owner=%s address=%s key=%s begins",
            session.id,
            target.workspace_id,
            opened.owner,
            self.address,
            self.fingerprint,
        )
        tally.totals["sessions"] += 1
        return pipe

    def _session_closed(self, session_id: str) -> None:
        session = self.sessions.pop(session_id, None)
        if session is not None and session.workspace_id:
            self._shared.tally.totals["bytes"] += session.traffic.moved
            self._shared.tally.report.closed[session_id] = utc_now()
            log.info("ssh: session=%s workspace=%s bytes=%d ended", session_id, session.workspace_id, session.traffic.moved)
