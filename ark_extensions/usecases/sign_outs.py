"""Signing somebody out everywhere, from outside their browser: noted here first, done by the Hub, which alone knows the sessions.

What is noted outlives a Hub that is down: it ends the sessions when it next starts.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.usecases.ssh_keys import note_sign_off
from ark_extensions.usecases.users import put_password


def sign_out(storage: Storage, *, user: str, actor: str, now: datetime) -> None:
    """SSH connections end within 5 seconds; browsers, when the Hub is told (``done``). Raises NotFound for an unknown user."""
    with storage.write() as connection:
        _note(connection, user, actor, now)


def change_password(storage: Storage, *, user: str, password: str, actor: str, now: datetime) -> None:
    """The old password opens nothing, and what was opened with it ends. Raises InvalidField, NotFound."""
    with storage.write() as connection:
        put_password(connection, user, password)
        _note(connection, user, actor, now)


def _note(connection: Connection, user: str, actor: str, now: datetime) -> None:
    if connection.execute(update(users).where(users.c.name == user).values(sign_out_due=now)).rowcount == 0:
        raise NotFound("There is no user {name}.", name=user[:60])
    note_sign_off(connection, user=user, actor=actor, now=now)


def due(storage: Storage) -> list[str]:
    """Whose sessions the Hub has still to end."""
    with storage.read() as connection:
        return list(connection.execute(select(users.c.name).where(users.c.sign_out_due.is_not(None)).order_by(users.c.name)).scalars())


def done(storage: Storage, *, user: str) -> None:
    """The Hub has ended this user's sessions."""
    with storage.write() as connection:
        connection.execute(update(users).where(users.c.name == user).values(sign_out_due=None))
