"""A copy of a whole database in one file, taken while others write, and put back into an empty one.

Promises: a copy is one moment's state; it is whole or it is an error; no address and no password is on a command line. PostgreSQL's
own programs do the work for PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url

#: parts of a PostgreSQL address → what libpq calls them
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT"}
_VARIABLES |= {"sslkey": "PGSSLKEY", "options": "PGOPTIONS"}


class NotCopied(Exception):
    """The database could not be copied or put back; the message is what SQLite or PostgreSQL's program said."""


def copy_database(url: str, target: Path) -> None:
    """Write the database at ``url`` into the new file ``target``. Raises NotCopied."""
    if make_url(url).get_backend_name() == "sqlite":
        copy_sqlite(Path(make_url(url).database or ""), target)
    else:
        _postgresql(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def copy_sqlite(source: Path, target: Path) -> None:
    """One moment of an SQLite file; writers go on meanwhile."""
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True, timeout=30)) as original:
            with closing(sqlite3.connect(target)) as copy:
                original.backup(copy)
                (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise NotCopied(f"{source.name}: {error}") from None
    if said != "ok":
        raise NotCopied(f"{source.name}: {said}")


def put_back(url: str, source: Path) -> None:
    """Fill the empty PostgreSQL database at ``url`` from a copy, in one transaction. Raises NotCopied."""
    _postgresql(
        url,
        *("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"),
        *(f"--dbname={make_url(url).database}", str(source)),
    )


def is_empty(url: str) -> bool:
    """Whether there is no table at ``url``; raises SQLAlchemy's errors when it cannot be asked."""
    engine = create_engine(url)
    try:
        return not inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _postgresql(url: str, program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise NotCopied(f"{program} is not installed (Debian: apt-get install postgresql-client)")
    try:
        done = subprocess.run(
            [found, *arguments], env=_environment(url), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        raise NotCopied(f"{program}: {error}") from None
    if done.returncode != 0:
        raise NotCopied((done.stderr.strip().splitlines() or [f"{program} ended with {done.returncode}"])[0])


def _environment(url: str) -> dict[str, str]:
    """What libpq must know, as variables: the command line of a process is everybody's to read."""
    address = make_url(url)
    named = {"host": address.host, "port": address.port, **address.query}
    known = {_VARIABLES[name]: str(value) for name, value in named.items() if value is not None and name in _VARIABLES}
    secret = {"PGPASSWORD": str(address.password)} if address.password else {}
    return {**os.environ, **known, **secret, "PGUSER": address.username or "", "PGDATABASE": address.database or ""}
