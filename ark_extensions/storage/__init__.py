"""The platform's database: engine, units of work, migrations. Only `storage` and `usecases` touch tables.

``Storage.write()`` is one unit of work: it commits when its block ends and rolls back when the block raises. On SQLite
it takes the write lock at its beginning (``BEGIN IMMEDIATE``), so what a use case reads is what it decides on; the file is
in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut.
"""

from __future__ import annotations

import select
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError

if TYPE_CHECKING:
    from alembic.config import Config

#: how long a writer waits for another writer before it gives up, in seconds
LOCK_TIMEOUT_SECONDS = 30
#: the advisory lock that PostgreSQL's units of work take in turn: stock, wallets and names are checked under it
WRITE_LOCK = 0x41726B
_BEGIN_WRITING = f"BEGIN; SELECT pg_advisory_xact_lock({WRITE_LOCK})"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ"
#: where a connection of PostgreSQL keeps its driver's cursor
_CURSOR = "cursor"
#: where a connection keeps what is done after its unit of work
_THEN = "then"
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


def _postgresql_engines(url: str) -> tuple[Engine, Engine]:
    """One pool, written and read: its connections begin no transaction by themselves, so that ours costs one round trip."""
    from psycopg import Error
    from psycopg.adapt import Loader

    class _WholeNumber(Loader):
        """Sums of whole numbers are NUMERIC there; nothing in this database is a fraction."""

        def load(self, data: Any) -> int:
            return int(bytes(data))

    both = create_engine(url, isolation_level="AUTOCOMMIT")

    @event.listens_for(both, "connect")
    def _configure(connection: Any, record: Any) -> None:
        # who is paused in the middle of a unit of work is let go by the server, so that the others can go on
        connection.adapters.register_loader("numeric", _WholeNumber)
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        record.info[_CURSOR] = connection.cursor()  # it keeps what it learnt about the types of its parameters

    @event.listens_for(both, "checkout")
    def _look(connection: Any, record: Any, proxy: Any) -> None:
        """A server that ended a session in the pool left its last words in the socket: a look at it is no round trip."""
        line = select.poll()
        line.register(connection.fileno(), select.POLLIN)
        if line.poll(0):
            raise DisconnectionError("the server ended the session")

    def begins_with(engine: Engine, statement: str) -> Engine:
        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            try:
                connection.info[_CURSOR].execute(statement, prepare=False)
            except Error as failed:
                connection.invalidate(failed)
                raise DBAPIError.instance(statement, None, failed, Error, dialect=connection.dialect) from failed

        return engine

    return begins_with(both.execution_options(), _BEGIN_WRITING), begins_with(both.execution_options(), _BEGIN_READING)


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[Any]:
    """The driver's own cursor, for statements whose cost counts."""
    kept = connection.info.get(_CURSOR)
    if kept is not None:
        yield kept
        return
    cursor = connection.connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


def after_commit(connection: Connection, act: Callable[[], None]) -> None:
    """Do this when the unit of work has been committed; never, when it was rolled back or the commit failed."""
    connection.info[_THEN].append(act)


class Storage:
    """One database. ``url`` is a SQLAlchemy URL; the schema is expected to be at head (`migrate`)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        if self.dialect == "sqlite":
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(url, "BEGIN")
        else:
            self._writer, self._reader = _postgresql_engines(url)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines behind this storage, for counting queries and measuring."""
        return self._reader, self._writer

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One unit of work, alone: what it reads cannot change before it commits, as SQLite's write lock has it."""
        then: list[Callable[[], None]] = []
        with self._writer.begin() as connection:
            connection.info[_THEN] = then
            yield connection
        for act in then:
            act()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot that is never committed."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def at_once(self) -> Iterator[Any]:
        """PostgreSQL's cursor where each statement is a transaction of its own: one round trip, during which no client holds a lock."""
        connection = self._writer.raw_connection()
        try:
            yield connection.info[_CURSOR]
        except self._writer.dialect.loaded_dbapi.Error as failed:
            connection.invalidate(failed)
            raise DBAPIError.instance("", None, failed, type(failed), dialect=self._writer.dialect) from failed
        finally:
            connection.close()

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
