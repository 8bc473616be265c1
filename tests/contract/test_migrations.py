"""The schema goes a step back and on again with what was posted, on SQLite and on PostgreSQL; not while posting is halted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from ark_extensions.storage import Storage, alembic_config, migrate
from ark_extensions.storage.tables import metadata
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.halts import halt
from ark_extensions.usecases.journal import post_postings
from ark_extensions.usecases.views import Sentence
from tests import postgresql
from tests.unit.test_journal import balance, gave
from tests.unit.test_storage import tables_money, tables_netdisk, tables_ssh  # noqa: F401 - their tables are part of the schema

#: before halts and the checks by sets: as far back as the journal's rows mean the same
OLDER = "0004"
ONE_SIDED = (
    "INSERT INTO entries (account, transaction_id, amount_micros) VALUES ('wallet:u', 9001, 5)",
    "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (9001, 'x', 'recharge', 0, '', '', '')",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, server: postgresql.Server | None, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ark.sqlite'}"
    if server is None:
        pytest.skip(postgresql.missing() or "")
    return server.database()


def refuses_one_side_alone(url: str) -> bool:
    storage = Storage(url)
    try:
        with storage.write() as connection:
            for statement in ONE_SIDED:
                connection.exec_driver_sql(statement)
    except IntegrityError:
        return True
    finally:
        storage.close()
    return False


def test_an_older_schema_and_the_newest_again_keep_what_was_posted(url: str) -> None:
    migrate(url)
    storage = Storage(url)
    post_postings(storage, [gave("one"), gave("two")])
    storage.close()
    command.downgrade(alembic_config(url), OLDER)
    assert refuses_one_side_alone(url), "the older schema's own checks are back"
    migrate(url)
    assert refuses_one_side_alone(url)
    storage = Storage(url)
    assert post_postings(storage, [gave("two"), gave("three")]) == 1 and post_postings(storage, [gave("three")]) == 0
    assert balance(storage) == 30 and check_books(storage) == []
    with storage.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    storage.close()


def test_a_halted_journal_is_not_taken_back(url: str) -> None:
    migrate(url)
    storage = Storage(url)
    with storage.write() as connection:
        halt(connection, [Sentence("found")], datetime(2026, 11, 1, tzinfo=UTC))
    storage.close()
    with pytest.raises(RuntimeError, match="ark books resume"):
        command.downgrade(alembic_config(url), OLDER)
    storage = Storage(url)
    with storage.read() as connection:
        assert MigrationContext.configure(connection).get_current_revision() not in (None, OLDER)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    storage.close()
