"""Users: made known at their first sign-in, with the opening credit; passwords of the platform's own sign-in."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, select, update

from ark_extensions.domain.errors import InvalidField, NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.usecases.gifts import give
from ark_extensions.usecases.halts import defer, halted
from ark_extensions.usecases.views import UserView

LANGUAGES = ("zh", "en")
MAILED = ("all", "warnings", "none")
MIN_PASSWORD = 10
OPENING = "opening credit"
_hasher = PasswordHasher()


@cache
def _nobody() -> str:
    """Verified when the user is unknown or has no password, so that both cost the same time. Made late: it takes 0.2 s."""
    return _hasher.hash("nobody has this password")


def _view(row: Row[tuple[object, ...]]) -> UserView:
    return UserView(row.name, row.admin, row.language, row.created_at, row.email, row.mailed)


def ensure_user(storage: Storage, *, name: str, admin: bool, opening_credit_micros: int, now: datetime) -> UserView:
    """The user, made (with the opening credit) when new; ``admin`` is set to what the caller knows."""
    with storage.write() as connection:
        row = connection.execute(select(users).where(users.c.name == name)).first()
        if row is None:
            connection.execute(users.insert().values(name=name, admin=admin, created_at=now))
            if opening_credit_micros > 0 and halted(connection):
                defer(connection, f"opening:{name}", now, {"amount_micros": opening_credit_micros})
            elif opening_credit_micros > 0:
                give_opening(connection, name, opening_credit_micros, now)
        elif row.admin != admin:
            connection.execute(update(users).where(users.c.name == name).values(admin=admin))
        return _view(connection.execute(select(users).where(users.c.name == name)).one())


def give_opening(connection: Connection, user: str, amount_micros: int, now: datetime) -> None:
    give(connection, key=f"opening:{user}", user=user, amount_micros=amount_micros, at=now, actor="platform", memo=OPENING)


def get_user(storage: Storage, *, name: str) -> UserView | None:
    with storage.read() as connection:
        row = connection.execute(select(users).where(users.c.name == name)).first()
        return _view(row) if row else None


def list_users(storage: Storage) -> list[UserView]:
    with storage.read() as connection:
        return [_view(row) for row in connection.execute(select(users).order_by(users.c.name))]


def set_language(storage: Storage, *, user: str, language: str) -> None:
    if language not in LANGUAGES:
        raise InvalidField("Choose zh or en.", field="language")
    with storage.write() as connection:
        connection.execute(update(users).where(users.c.name == user).values(language=language))


def set_email(storage: Storage, *, user: str, email: str | None) -> None:
    """Where notices are mailed; None: nowhere."""
    with storage.write() as connection:
        connection.execute(update(users).where(users.c.name == user).values(email=email))


def set_mailed(storage: Storage, *, user: str, mailed: str) -> None:
    """Which notices are mailed to this user: ``all``, ``warnings`` or ``none``."""
    if mailed not in MAILED:
        raise InvalidField("Choose all, warnings or none.", field="mailed")
    with storage.write() as connection:
        connection.execute(update(users).where(users.c.name == user).values(mailed=mailed))


def set_password(storage: Storage, *, user: str, password: str) -> None:
    """A first password: whoever is signed in stays so. Raises InvalidField for a short password, NotFound for an unknown user."""
    with storage.write() as connection:
        put_password(connection, user, password)


def put_password(connection: Connection, user: str, password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= 200:
        raise InvalidField("A password has {min} to 200 characters.", field="password", min=MIN_PASSWORD)
    changed = connection.execute(update(users).where(users.c.name == user).values(password_hash=_hasher.hash(password)))
    if changed.rowcount == 0:
        raise NotFound("There is no user {name}.", name=user)


def has_password(storage: Storage, *, user: str) -> bool:
    with storage.read() as connection:
        return connection.execute(select(users.c.password_hash).where(users.c.name == user)).scalar() is not None


def check_password(storage: Storage, *, user: str, password: str) -> bool:
    """Whether this is the user's password; takes as long for users who do not exist."""
    with storage.read() as connection:
        stored = connection.execute(select(users.c.password_hash).where(users.c.name == user)).scalar()
    try:
        return _hasher.verify(stored or _nobody(), password[:1000]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False
