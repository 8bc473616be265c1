"""Faults at a named commit: the process killed, the connection lost, the process paused; just before it or just after.

A commit point is named by the use case whose unit of work commits: ``_settle_open_runs``, ``buy_asset``. Nothing of the
product knows of it: the engine's own event is listened to.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from ark_extensions.storage import Storage

Fault = Callable[[Storage, Connection], None]
BEFORE, AFTER = "before", "after"


def committing() -> str:
    """The use case that commits now: the nearest one up the stack."""
    frame = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("ark_extensions.usecases."):
            return frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


@dataclass
class Commits:
    """Listens to a storage's commits: ``seen`` has their names; at the first named ``point``, ``fault`` strikes ``when``."""

    storage: Storage
    point: str = ""
    when: str = BEFORE
    fault: Fault | None = None
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        event.listen(self.storage.engines[-1], "commit", self._commit)

    def _commit(self, connection: Connection) -> None:
        name = committing()
        self.seen.append(name)
        if name != self.point or self.fault is None:
            return
        fault, self.fault = self.fault, None
        if self.when == AFTER:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("COMMIT") if self.storage.dialect == "sqlite" else driver.commit()
        fault(self.storage, connection)


def kill(storage: Storage, connection: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pause(storage: Storage, connection: Connection) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def drop(storage: Storage, connection: Connection) -> None:
    """The database is gone from under the client: the backend ended by another session, or the file's handle closed."""
    driver = connection.connection.driver_connection
    assert driver is not None
    if storage.dialect == "sqlite":
        driver.close()
    else:
        import psycopg

        with psycopg.connect(storage.url.replace("+psycopg", ""), autocommit=True) as other:
            assert other.execute("SELECT pg_terminate_backend(%s, 10000)", (driver.info.backend_pid,)).fetchone() == (True,)
    raise OperationalError("COMMIT", None, ConnectionError("the server closed the connection"))
