"""The schema that migrations make is the schema that the code means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ark_extensions.storage import Storage, migrate, tables_money, tables_netdisk, tables_ssh  # noqa: F401
from ark_extensions.storage.tables import metadata
from ark_extensions.storage.types import from_micros, to_micros


def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ark.sqlite'}"
    migrate(url)
    migrate(url)
    storage = Storage(url)
    with storage.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    storage.close()


def test_instants_are_utc_and_naive_times_are_refused() -> None:
    moment = datetime(2026, 11, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert from_micros(to_micros(moment)) == datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="naive"):
        to_micros(datetime(2026, 11, 1))


def test_a_commit_survives_and_the_file_is_in_wal_mode(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ark.sqlite'}"
    migrate(url)
    storage = Storage(url)
    with storage.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    storage.close()
