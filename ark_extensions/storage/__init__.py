"""The platform's database: engine, units of work, migrations. Only `storage` and `usecases` touch tables.

``Storage.write()`` is one unit of work: it commits when its block ends and rolls back when the block raises. On SQLite
it takes the write lock at its beginning (``BEGIN IMMEDIATE``), so what a use case reads is what it decides on; the file is
in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from alembic.config import Config

#: how long a writer waits for another writer before it gives up, in seconds
LOCK_TIMEOUT_SECONDS = 30
#: the advisory lock that PostgreSQL's units of work take in turn: stock, wallets and names are checked under it
WRITE_LOCK = 0x41726B
_TAKE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
#: PostgreSQL ends a unit of work that does nothing for so long, in seconds
IDLE_SECONDS = 30


def _sqlite_engine(url: str, begin: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": LOCK_TIMEOUT_SECONDS, "check_same_thread": False, "cached_statements": 256})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late: we say ours
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # on the driver itself: SQLAlchemy's statement machinery takes a fifth of the time of a small commit
        try:
            connection.connection.driver_connection.execute(begin).close()  # type: ignore[union-attr]
        except sqlite3.OperationalError as error:
            raise OperationalError(begin, None, error) from error

    return engine


def _postgresql_engine(url: str) -> Engine:
    from psycopg.adapt import Loader

    class _WholeNumber(Loader):
        """Sums of whole numbers are NUMERIC there; nothing in this database is a fraction."""

        def load(self, data: Any) -> int:
            return int(bytes(data))

    engine = create_engine(url, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # who is paused in the middle of a unit of work is let go by the server, so that the others can go on
        connection.adapters.register_loader("numeric", _WholeNumber)
        connection.autocommit = True
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        connection.autocommit = False

    return engine


class Storage:
    """One database. ``url`` is a SQLAlchemy URL; the schema is expected to be at head (`migrate`)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        if self.dialect == "sqlite":
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(url, "BEGIN")
        else:
            self._writer = _postgresql_engine(url)
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines behind this storage, for counting queries and measuring."""
        return (self._reader, self._writer) if self.dialect == "sqlite" else (self._writer,)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One unit of work, alone: what it reads cannot change before it commits, as SQLite's write lock has it."""
        with self._writer.begin() as connection:
            if self.dialect != "sqlite":
                connection.exec_driver_sql(_TAKE_WRITE_LOCK)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot that is never committed."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        for engine in self.engines:
            engine.dispose()


def alembic_config(url: str) -> Config:
    from alembic.config import Config  # only a start and a check migrate: the services start without it

    config = Config()
    config.set_main_option("script_location", str(resources.files("ark_extensions.storage") / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(url: str) -> None:
    """Bring the database at ``url`` to the newest schema; creates it when it is not there."""
    from alembic import command

    command.upgrade(alembic_config(url), "head")
