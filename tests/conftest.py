"""Fixtures of every tier: `platform`, one running installation for the whole session, and `make_platform` for an own one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A running platform. It is shared: use users and workspaces of your own, and leave it running."""
    made = Platform()
    try:
        made.start()
        yield made
    finally:
        made.close(keep_logs=request.session.testsfailed > 0)


@pytest.fixture
def make_platform(request: pytest.FixtureRequest) -> Iterator[Callable[..., Platform]]:
    """Makes installations (not started yet) that are gone after the test."""
    made: list[Platform] = []

    def make(state_dir: Path | None = None, **settings: Any) -> Platform:
        made.append(Platform(state_dir, settings=settings))
        return made[-1]

    yield make
    for one in made:
        one.close(keep_logs=request.session.testsfailed > 0)
