"""Which user an identity provider's somebody is: kept by issuer and subject, for a name there may pass to another person.

The first one to sign in under a name has it; who comes later under the same name and is somebody else is refused.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ark_extensions.domain.errors import Conflict
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.storage.tables_identities import identities
from ark_extensions.storage.tables_ssh import ssh_audit, ssh_keys
from ark_extensions.usecases.ssh_keys import note_sign_off


def user_of(storage: Storage, *, issuer: str, subject: str) -> str | None:
    """The user that this identity has been since its first sign-in."""
    mine = (identities.c.issuer == issuer) & (identities.c.subject == subject)
    with storage.read() as connection:
        return connection.execute(select(identities.c.owner).where(mine)).scalar()


def claim(storage: Storage, *, issuer: str, subject: str, user: str, now: datetime) -> None:
    """This identity is that user from now on; raises Conflict when the user is somebody else's."""
    if user_of(storage, issuer=issuer, subject=subject) == user:
        return
    try:
        with storage.write() as connection:
            connection.execute(identities.insert().values(issuer=issuer, subject=subject, owner=user, created_at=now))
    except IntegrityError:
        raise Conflict("The name {name} belongs to somebody else here. Ask an administrator.", code="name_taken", name=user[:60]) from None


def taken_by_another(storage: Storage, *, issuer: str, subject: str, user: str) -> bool:
    with storage.read() as connection:
        row = connection.execute(select(identities).where(identities.c.owner == user)).first()
    return row is not None and (row.issuer, row.subject) != (issuer, subject)


def shut_out(storage: Storage, *, user: str, actor: str, now: datetime) -> None:
    """Whoever was this user can do nothing more as such: SSH connections end within 5 seconds, keys, password and identity go.

    Workspaces, wallet and files stay for an operator to deal with; an unknown user is no error.
    """
    with storage.write() as connection:
        if connection.execute(select(users.c.name).where(users.c.name == user)).first() is None:
            return
        for key in connection.execute(select(ssh_keys.c.fingerprint).where(ssh_keys.c.owner == user)).all():
            connection.execute(ssh_audit.insert().values(at=now, kind="key_deleted", user=user, fingerprint=key.fingerprint))
        connection.execute(delete(ssh_keys).where(ssh_keys.c.owner == user))
        connection.execute(delete(identities).where(identities.c.owner == user))
        connection.execute(update(users).where(users.c.name == user).values(password_hash=None))
        note_sign_off(connection, user=user, actor=actor, now=now)
