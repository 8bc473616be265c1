"""What the SSH gateway asks and tells: which workspace a name means, which keys it takes, which sessions live and work.

The gateway tells everything in one report every few seconds, one transaction each, so that connections wait for no
write. A report can be told again after a failure: it changes nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import ColumnElement, Connection, case, func, select, update

from ark_extensions.domain.errors import Conflict, NotFound
from ark_extensions.domain.ssh_access import SESSION_STALE_SECONDS
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_ssh import ssh_audit, ssh_hosts, ssh_keys, ssh_sessions
from ark_extensions.usecases.sealing import is_sealed, seal, unseal
from ark_extensions.usecases.views import Sentence

#: how long sessions and refusals are kept
KEPT = timedelta(days=90)
NAMES_SHOWN = 5

NO_SUCH = "You have no workspace {name}. Create one in the console: {url}"
NO_SUCH_BUT = "You have no workspace {name}. Yours are: {names}."
NOT_RUNNING = {
    State.STOPPED: "Workspace {name} is stopped. Start it in the console, then connect again: {url}",
    State.FAILED: "Workspace {name} did not start. Look at its events in the console, and start it again: {url}",
    State.CREATING: "Workspace {name} is being created. Connect again in a minute.",
    State.STARTING: "Workspace {name} is starting. Connect again in a minute.",
    State.STOPPING: "Workspace {name} is stopping. Start it again in the console, then connect: {url}",
    State.RELEASED: "Workspace {name} was released. Restore it in the console: {url}",
}


@dataclass(frozen=True)
class Target:
    """A running workspace of the caller, and the content of its authorized_keys."""

    workspace_id: str
    launch_id: str
    authorized_keys: str


@dataclass(frozen=True)
class HostKey:
    """``private``: OpenSSH's PEM; ``public``: ``algorithm base64``."""

    private: str
    public: str


@dataclass(frozen=True)
class SessionOpened:
    id: str
    workspace_id: str
    owner: str
    fingerprint: str
    address: str
    at: datetime


@dataclass(frozen=True)
class Refusal:
    """``at``: the beginning of the minute that ``count`` is of."""

    at: datetime
    user: str
    address: str
    fingerprint: str
    reason: str
    workspace: str = ""
    count: int = 1


@dataclass
class Report:
    """What happened at the gateway since its last report. ``seen``: session id → (seen at, when it last worked)."""

    used: dict[str, datetime] = field(default_factory=dict)
    opened: list[SessionOpened] = field(default_factory=list)
    seen: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    closed: dict[str, datetime] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.used or self.opened or self.seen or self.closed or self.refusals)


def _lines(keys: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in keys)


def find_target(storage: Storage, *, owner: str, workspace: str, console_url: str) -> Target:
    """The owner's running workspace of this name; raises NotFound or Conflict with what to do."""
    w = t.workspaces
    with storage.read() as connection:
        row = connection.execute(select(w).where(w.c.owner == owner, w.c.name == workspace, w.c.disk_deleted_at.is_(None))).first()
        if row is None:
            names = connection.execute(
                select(w.c.name).where(w.c.owner == owner, w.c.state != State.RELEASED, w.c.disk_deleted_at.is_(None)).order_by(w.c.name)
            )
            shown = ", ".join(names.scalars().all()[:NAMES_SHOWN])
            raise NotFound(NO_SUCH_BUT if shown else NO_SUCH, name=workspace[:60], names=shown, url=console_url)
        state = State(row.state)
        if state is not State.RUNNING:
            raise Conflict(NOT_RUNNING[state], code=f"workspace_{state.value}", name=row.name, url=console_url)
        keys = connection.execute(select(ssh_keys.c.public_key).where(ssh_keys.c.owner == owner).order_by(ssh_keys.c.id))
        return Target(row.id, row.launch_id or "", _lines(keys.scalars().all()))


def running_targets(storage: Storage) -> list[Target]:
    """Every workspace that runs, with the keys it is to take now."""
    w = t.workspaces
    with storage.read() as connection:
        rows = connection.execute(select(w.c.id, w.c.launch_id, w.c.owner).where(w.c.state == State.RUNNING)).all()
        keys: dict[str, list[str]] = {}
        for key in connection.execute(select(ssh_keys.c.owner, ssh_keys.c.public_key).order_by(ssh_keys.c.id)):
            keys.setdefault(key.owner, []).append(key.public_key)
        return [Target(row.id, row.launch_id or "", _lines(keys.get(row.owner, []))) for row in rows]


def authorized_keys(storage: Storage, *, owner: str) -> str:
    """What a workspace of this owner takes: the content of its authorized_keys."""
    with storage.read() as connection:
        keys = connection.execute(select(ssh_keys.c.public_key).where(ssh_keys.c.owner == owner).order_by(ssh_keys.c.id))
        return _lines(keys.scalars().all())


def host_key(storage: Storage, *, workspace_id: str, secret: str, now: datetime) -> HostKey:
    """The workspace's host key; made at the first call, the same for its whole life and as long as ``secret`` is the same, with
    which the database's copy of it is sealed."""
    purpose = f"host key of {workspace_id}"
    found = select(ssh_hosts).where(ssh_hosts.c.workspace_id == workspace_id)
    with storage.read() as connection:
        row = connection.execute(found).first()
    if row is not None and (private := unseal(row.private_key, secret=secret, purpose=purpose)) is not None:
        return HostKey(private, row.public_key)
    made = _new_host_key()
    with storage.write() as connection:
        row = connection.execute(found).first()
        if row is not None and (private := unseal(row.private_key, secret=secret, purpose=purpose)) is not None:
            return HostKey(private, row.public_key)  # another made it meanwhile
        if row is not None and not is_sealed(row.private_key):  # of a version that did not seal
            made = HostKey(row.private_key, row.public_key)
        values = {"private_key": seal(made.private, secret=secret, purpose=purpose), "public_key": made.public}
        if row is None:
            connection.execute(ssh_hosts.insert().values(workspace_id=workspace_id, created_at=now, **values))
        else:
            connection.execute(update(ssh_hosts).where(ssh_hosts.c.workspace_id == workspace_id).values(values))
    return made


def _new_host_key() -> HostKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return HostKey(
        private.decode(), key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    )


def seal_host_keys(storage: Storage, *, secret: str, now: datetime) -> int:
    """Seal what a version that did not seal has left; how many there were."""
    with storage.read() as connection:
        rows = connection.execute(select(ssh_hosts.c.workspace_id, ssh_hosts.c.private_key)).all()
    left = [row.workspace_id for row in rows if not is_sealed(row.private_key)]
    for workspace_id in left:
        host_key(storage, workspace_id=workspace_id, secret=secret, now=now)
    return len(left)


def host_public_keys(storage: Storage, *, owner: str) -> dict[str, str]:
    """Workspace name → its host key's public line, for the owner's workspaces that have run."""
    w = t.workspaces
    with storage.read() as connection:
        query = select(w.c.name, ssh_hosts.c.public_key).join(w, w.c.id == ssh_hosts.c.workspace_id)
        rows = connection.execute(query.where(w.c.owner == owner, w.c.disk_deleted_at.is_(None)).order_by(w.c.name))
        return {row.name: row.public_key for row in rows}


def gateway_started(storage: Storage, *, now: datetime) -> int:
    """Sessions that an earlier gateway could not close have ended with it; how many there were. Old records go."""
    with storage.write() as connection:
        ended = case((ssh_sessions.c.seen_at > ssh_sessions.c.opened_at, ssh_sessions.c.seen_at), else_=ssh_sessions.c.opened_at)
        left = connection.execute(update(ssh_sessions).where(ssh_sessions.c.closed_at.is_(None)).values(closed_at=ended))
        connection.execute(ssh_sessions.delete().where(ssh_sessions.c.opened_at < now - KEPT))
        connection.execute(ssh_audit.delete().where(ssh_audit.c.at < now - KEPT))
        return left.rowcount


def record_gateway(storage: Storage, *, report: Report) -> None:
    """Write a report down; the idle deadline of a workspace moves to after the last moment a session in it worked."""
    with storage.write() as connection:
        for key_id, at in report.used.items():
            connection.execute(update(ssh_keys).where(ssh_keys.c.id == key_id).values(last_used_at=at))
        _open(connection, report.opened)
        for session_id, (seen_at, worked_at) in report.seen.items():
            connection.execute(update(ssh_sessions).where(ssh_sessions.c.id == session_id).values(seen_at=seen_at, worked_at=worked_at))
        for session_id, at in report.closed.items():
            connection.execute(update(ssh_sessions).where(ssh_sessions.c.id == session_id).values(closed_at=at, seen_at=at))
        for refusal in report.refusals:
            _refused(connection, refusal)
        _move_idle_deadlines(connection, list(report.seen))


def _open(connection: Connection, opened: Sequence[SessionOpened]) -> None:
    for one in opened:
        if connection.execute(select(ssh_sessions.c.id).where(ssh_sessions.c.id == one.id)).first() is not None:
            continue
        values = {"workspace_id": one.workspace_id, "owner": one.owner, "fingerprint": one.fingerprint, "address": one.address}
        connection.execute(ssh_sessions.insert().values(id=one.id, **values, opened_at=one.at, seen_at=one.at, worked_at=one.at))


def _refused(connection: Connection, refusal: Refusal) -> None:
    """One row a minute for the same thing from the same place."""
    values: dict[str, Any] = {
        "at": refusal.at,
        "kind": "refused",
        "user": refusal.user[:255],
        "address": refusal.address[:64],
        "fingerprint": refusal.fingerprint[:64],
        "workspace": refusal.workspace[:64],
        "reason": refusal.reason[:64],
    }
    same: list[ColumnElement[bool]] = [ssh_audit.c[name] == value for name, value in values.items()]
    changed = connection.execute(
        update(ssh_audit).where(*same).values(count=case((ssh_audit.c.count > refusal.count, ssh_audit.c.count), else_=refusal.count))
    )
    if changed.rowcount == 0:
        connection.execute(ssh_audit.insert().values(**values, count=refusal.count))


def _move_idle_deadlines(connection: Connection, session_ids: Sequence[str]) -> None:
    w, s = t.workspaces, ssh_sessions
    worked = select(s.c.workspace_id, func.max(s.c.worked_at).label("at")).where(s.c.id.in_(session_ids)).group_by(s.c.workspace_id)
    for row in connection.execute(worked).all():
        place = connection.execute(select(w).where(w.c.id == row.workspace_id)).one()
        if place.state != State.RUNNING or place.idle_stop_minutes is None:
            continue
        later = row.at + timedelta(minutes=place.idle_stop_minutes)
        if place.idle_stop_at is None or later > place.idle_stop_at:
            connection.execute(update(w).where(w.c.id == place.id).values(idle_stop_at=later))


def session_sentences(connection: Connection, now: datetime, chosen: Any) -> dict[str, Sentence]:
    """Workspace id → what is to be said of its live SSH sessions; ``chosen``: a select of workspace ids."""
    s = ssh_sessions
    query = (
        select(s.c.workspace_id, func.count().label("count"), func.max(s.c.worked_at).label("worked_at"))
        .where(s.c.workspace_id.in_(chosen), s.c.closed_at.is_(None), s.c.seen_at > now - timedelta(seconds=SESSION_STALE_SECONDS))
        .group_by(s.c.workspace_id)
    )
    return {
        row.workspace_id: Sentence(
            "SSH sessions open: {count}. Last work in them at {worked_at}.", {"count": row.count, "worked_at": row.worked_at.isoformat()}
        )
        for row in connection.execute(query)
    }


def audit_log(storage: Storage, *, since: datetime, limit: int = 200) -> list[Mapping[str, Any]]:
    """The audit log's newest rows, for operators: who did or tried what."""
    with storage.read() as connection:
        query = select(ssh_audit).where(ssh_audit.c.at >= since).order_by(ssh_audit.c.id.desc()).limit(limit)
        return [dict(row._mapping) for row in connection.execute(query)]
