"""SQLite and PostgreSQL under one contract: every test of the platform's money and workspaces runs on PostgreSQL too.

The unit tier runs them on SQLite; here the same functions get a database of a real PostgreSQL server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

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
def server() -> Iterator[postgresql.Server]:
    with postgresql.server() as running:
        yield running


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
