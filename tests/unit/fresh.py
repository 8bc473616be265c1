"""A migrated SQLite database for a test, copied from one that was migrated once in this process; and a fixture that fills one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases.books import check_books


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "ark.sqlite"
        migrate(f"sqlite:///{file}")
        return file.read_bytes()


def fresh_database(directory: Path) -> str:
    """The URL of a new, empty database with the schema."""
    file = directory / "ark.sqlite"
    file.write_bytes(_migrated())
    return f"sqlite:///{file}"


def storage_with(furnish: Callable[[Storage], None]) -> Any:
    """A fixture for a module's ``storage``: a database for each test, filled by ``furnish``, whose books add up at the end."""

    @pytest.fixture
    def storage(tmp_path: Path) -> Iterator[Storage]:
        made = Storage(fresh_database(tmp_path))
        furnish(made)
        yield made
        assert check_books(made) == []
        made.close()

    return storage
