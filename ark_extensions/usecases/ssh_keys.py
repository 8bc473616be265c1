"""SSH keys of people: add, list, delete; who a key belongs to; signing off. No private key and no pasted text is kept.

A key belongs to one user: who holds it is that user. A deleted key and a sign-off are seen by the gateway within
seconds, and it closes what they had opened.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.exc import IntegrityError

from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.ssh_keys import PublicKey, check_key_name, parse_public_key
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.storage.tables_ssh import ssh_accounts, ssh_audit, ssh_keys
from ark_extensions.usecases.identifiers import new_id

MAX_KEYS = 50


@dataclass(frozen=True)
class KeyView:
    id: str
    owner: str
    name: str
    algorithm: str
    fingerprint: str
    public_key: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class KeyHolder:
    """Who a key stands for."""

    key_id: str
    owner: str


@dataclass(frozen=True)
class SshAccount:
    start_on_connect: bool
    signed_off_at: datetime | None


def _view(row: Row[Any]) -> KeyView:
    return KeyView(
        row.id, row.owner, row.name, row.algorithm, row.fingerprint, row.public_key, row.created_at, row.last_used_at
    )  # fmt: skip


def _parsed(text: str) -> PublicKey:
    key = parse_public_key(text)
    try:
        load_ssh_public_key(key.line.encode())
    except UnsupportedAlgorithm:
        pass  # its shape was checked; a security key's point is checked when it signs
    except ValueError:
        raise InvalidField("The key is damaged or incomplete. Copy the whole line again.", field="public_key", code="invalid_key") from None
    return key


def add_key(storage: Storage, *, user: str, public_key: str, name: str | None = None, now: datetime) -> KeyView:
    """Raises InvalidField for what is no safe public key, Conflict for one that is known already."""
    key = _parsed(public_key)
    chosen = check_key_name(name, key)
    taken = Conflict(
        "This key cannot be added: it is in use already. Make a new one: {command}", code="key_taken", command="ssh-keygen -t ed25519"
    )
    try:
        with storage.write() as connection:
            if connection.execute(select(users.c.name).where(users.c.name == user)).first() is None:
                raise NotFound("There is no user {name}.", name=user[:60])
            known = connection.execute(select(ssh_keys).where(ssh_keys.c.fingerprint == key.fingerprint)).first()
            if known is not None and known.owner == user:
                raise Conflict("You have added this key before. Its name is “{name}”.", code="key_exists", name=known.name)
            if known is not None:
                raise taken
            if (connection.execute(select(func.count()).where(ssh_keys.c.owner == user)).scalar() or 0) >= MAX_KEYS:
                raise Conflict("You have {max} keys. Delete one that you do not use.", code="too_many_keys", max=MAX_KEYS)
            values = {"id": new_id(), "owner": user, "name": chosen, "algorithm": key.algorithm, "public_key": key.line}
            connection.execute(ssh_keys.insert().values(**values, fingerprint=key.fingerprint, created_at=now))
            connection.execute(ssh_audit.insert().values(at=now, kind="key_added", user=user, fingerprint=key.fingerprint))
            return _view(connection.execute(select(ssh_keys).where(ssh_keys.c.fingerprint == key.fingerprint)).one())
    except IntegrityError:
        raise taken from None


def list_keys(storage: Storage, *, user: str) -> list[KeyView]:
    """Newest first."""
    with storage.read() as connection:
        query = select(ssh_keys).where(ssh_keys.c.owner == user).order_by(ssh_keys.c.created_at.desc(), ssh_keys.c.id)
        return [_view(row) for row in connection.execute(query)]


def delete_key(storage: Storage, *, user: str, key_id: str, now: datetime) -> None:
    """Raises NotFound when it is not the user's. Connections that it opened end within 5 seconds."""
    with storage.write() as connection:
        mine = (ssh_keys.c.id == key_id) & (ssh_keys.c.owner == user)
        row = connection.execute(select(ssh_keys).where(mine)).first()
        if row is None:
            raise NotFound("There is no such key.")
        connection.execute(ssh_keys.delete().where(mine))
        connection.execute(ssh_audit.insert().values(at=now, kind="key_deleted", user=user, fingerprint=row.fingerprint))


def key_holder(storage: Storage, *, fingerprint: str) -> KeyHolder | None:
    """Whose key this is, if anybody's."""
    with storage.read() as connection:
        row = connection.execute(select(ssh_keys.c.id, ssh_keys.c.owner).where(ssh_keys.c.fingerprint == fingerprint)).first()
        return KeyHolder(row.id, row.owner) if row else None


def sign_off(storage: Storage, *, user: str, actor: str, now: datetime) -> None:
    """End every SSH connection that the user has now, within 5 seconds. Keys stay; raises NotFound for an unknown user."""
    with storage.write() as connection:
        if connection.execute(select(users.c.name).where(users.c.name == user)).first() is None:
            raise NotFound("There is no user {name}.", name=user[:60])
        note_sign_off(connection, user=user, actor=actor, now=now)


def note_sign_off(connection: Connection, *, user: str, actor: str, now: datetime) -> None:
    """What the gateway sees: connections older than this are void."""
    _set_account(connection, user, signed_off_at=now)
    connection.execute(ssh_audit.insert().values(at=now, kind="signed_off", user=user, reason=actor[:64]))


def set_start_on_connect(storage: Storage, *, user: str, allowed: bool) -> None:
    """Whether a connection to a stopped workspace may start it (and so cost money)."""
    with storage.write() as connection:
        _set_account(connection, user, start_on_connect=allowed)


def _set_account(connection: Connection, user: str, **values: object) -> None:
    changed = connection.execute(update(ssh_accounts).where(ssh_accounts.c.owner == user).values(**values))
    if changed.rowcount == 0:
        connection.execute(ssh_accounts.insert().values(owner=user, **values))


def account(storage: Storage, *, user: str) -> SshAccount:
    with storage.read() as connection:
        row = connection.execute(select(ssh_accounts).where(ssh_accounts.c.owner == user)).first()
        return SshAccount(row.start_on_connect, row.signed_off_at) if row else SshAccount(False, None)


def void_connections(storage: Storage, *, opened: Collection[tuple[str, str, datetime]]) -> set[tuple[str, str, datetime]]:
    """Of connections as (key id, owner, since when) those that may not go on: the key is gone, or its user signed off."""
    ids = sorted({key_id for key_id, _, _ in opened})
    owners = sorted({owner for _, owner, _ in opened})
    with storage.read() as connection:
        found = connection.execute(select(ssh_keys.c.id, ssh_keys.c.owner).where(ssh_keys.c.id.in_(ids))).all()
        signed_off = {
            row.owner: row.signed_off_at
            for row in connection.execute(
                select(ssh_accounts).where(ssh_accounts.c.owner.in_(owners), ssh_accounts.c.signed_off_at.is_not(None))
            )
        }
    valid = {(row.id, row.owner) for row in found}
    return {one for one in opened if one[:2] not in valid or (one[1] in signed_off and signed_off[one[1]] >= one[2])}
