"""One PostgreSQL for all that runs on both databases; each test gets databases of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server | None]:
    """None where none is installed."""
    if postgresql.missing():
        yield None
        return
    with postgresql.server() as running:
        yield running
