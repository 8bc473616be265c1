"""SQLite and PostgreSQL under one contract: every test of the platform's money and workspaces runs on PostgreSQL too.

The unit tier runs them on SQLite; here the same functions get a database of a real PostgreSQL server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage, migrate
from ark_extensions.storage.tables import metadata
from ark_extensions.usecases import books
from tests import postgresql
from tests.unit import (
    purse_stage,
    test_credit,
    test_journal,
    test_monthly,
    test_platform_flow,
    test_purse,
    test_stock,
)
from tests.unit.test_storage import tables_money, tables_netdisk, tables_ssh  # noqa: F401 - their tables are part of the schema

pytestmark = pytest.mark.skipif(postgresql.missing() is not None, reason=postgresql.missing() or "")


@pytest.fixture(scope="module")
def migrated(server: postgresql.Server) -> str:
    """The name of a database with the schema, to copy for each test."""
    url = server.database()
    migrate(url)
    return server.name_of(url)


@pytest.fixture
def empty(server: postgresql.Server, migrated: str) -> Iterator[Storage]:
    storage = Storage(server.database(migrated))
    yield storage
    storage.close()


def test_migrations_make_exactly_the_tables_of_the_code(empty: Storage) -> None:
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_several_that_migrate_at_once_wait_for_each_other(server: postgresql.Server) -> None:
    url = server.database()
    code = f"from ark_extensions.storage import migrate; migrate({url!r})"
    many = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [one.communicate(timeout=60)[1] for one in many]
    assert [one.returncode for one in many] == [0] * 4, said


def test_a_session_that_the_server_ended_meanwhile_is_noticed_before_anything_is_asked_of_it(empty: Storage) -> None:
    test_journal.post_postings(empty, [test_journal.gave("a")])
    assert test_journal.balance(empty) == 10
    with psycopg.connect(empty.url.replace("+psycopg", ""), autocommit=True) as other:
        mine = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        for use in (lambda: test_journal.post_postings(empty, [test_journal.gave("b")]), lambda: test_journal.balance(empty)):
            ended = other.execute(f"SELECT pg_terminate_backend(pid, 10000) {mine}").fetchall()
            assert ended and set(ended) == {(True,)}
            use()
    assert test_journal.balance(empty) == 20


def test_a_posting_costs_no_more_in_a_large_journal(empty: Storage) -> None:
    """A session keeps the plans that it made while the journal was small: none of them may read the whole of it."""

    def post(name: str, number: int) -> None:
        for n in range(number):
            test_journal.post_postings(empty, [test_journal.gave(f"{name}{n}", user=f"u{n}")])

    def rows_read_in_full() -> int:
        with empty.write() as connection:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        with empty.read() as connection:
            query = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('transactions', 'entries')"
            return int(connection.exec_driver_sql(query).scalar_one())

    with empty.write() as connection:  # else the server may happen to look at the tables now, and the plans are made anew
        for table in ("transactions", "entries"):
            connection.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    test_journal.post_postings(empty, [test_journal.gave(f"first{n}", user=f"u{n}") for n in range(200)])
    post("small", 20)
    test_journal.post_postings(empty, [test_journal.gave(f"many{n}", user=f"u{n}") for n in range(1000)])
    before = rows_read_in_full()
    post("large", 20)
    assert rows_read_in_full() == before


def functions_of(module: object) -> list[Callable[..., None]]:
    """The test functions of a module that take a storage and nothing else."""
    names = sorted(name for name in vars(module) if name.startswith("test_"))
    functions = [getattr(module, name) for name in names]
    return [f for f in functions if f.__code__.co_varnames[: f.__code__.co_argcount] == ("storage",) and not hasattr(f, "hypothesis")]


def names(functions: list[Callable[..., None]]) -> list[str]:
    return [f.__name__.removeprefix("test_") for f in functions]


@pytest.mark.parametrize("test", functions_of(test_journal), ids=names(functions_of(test_journal)))
def test_journal_on_postgresql(empty: Storage, test: Callable[[Storage], None]) -> None:
    test(empty)


@pytest.mark.parametrize(
    "statement", [s for mark in test_journal.test_the_database_refuses_to_falsify_the_journal.pytestmark for s in mark.args[1]]
)
def test_the_database_refuses_to_falsify_the_journal(empty: Storage, statement: str) -> None:
    test_journal.post_postings(empty, [test_journal.gave("k")])
    with pytest.raises(IntegrityError), empty.write() as connection:
        connection.exec_driver_sql(statement)
    assert books.check_books(empty) == []


@pytest.mark.parametrize("test", functions_of(test_purse), ids=names(functions_of(test_purse)))
def test_purse_on_postgresql(empty: Storage, test: Callable[[Storage], None]) -> None:
    purse_stage.furnish(empty, 100 * MICROS)
    test(empty)
    assert books.check_books(empty) == []


FLOWS = [(module, test) for module in (test_platform_flow, test_monthly, test_stock, test_credit) for test in functions_of(module)]


@pytest.mark.parametrize(("module", "test"), FLOWS, ids=names([test for _, test in FLOWS]))
def test_flow_on_postgresql(empty: Storage, module: object, test: Callable[[Storage], None]) -> None:
    module.furnish(empty)  # type: ignore[attr-defined]
    test(empty)
    assert books.check_books(empty) == []
