"""A migrated SQLite database for a test, copied from one that was migrated once in this process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from ark_extensions.storage import migrate


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
