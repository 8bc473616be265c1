"""What the tests of the loops stand on: a small crowd of running workspaces, and a Hub that fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ark_extensions.domain.errors import Unavailable
from ark_extensions.storage import Storage
from ark_extensions.usecases.views import WorkspaceView
from ark_extensions.usecases.workspaces import list_workspaces
from bench.population import NOON, Crowd, fresh_storage, populate


@contextmanager
def running_crowd(crowd: Crowd) -> Iterator[Storage]:
    """The crowd at noon: everything runs since eleven and was seen alive at noon."""
    with fresh_storage() as storage:
        populate(storage, crowd, now=NOON)
        yield storage


def workspaces(storage: Storage, now: datetime = NOON) -> dict[str, WorkspaceView]:
    return {w.id: w for w in list_workspaces(storage, now=now)}


class FailingHub:
    """A Hub whose servers are all in ``state``; calls for the names in ``fails`` raise as an unreachable Hub does."""

    def __init__(self, *, state: str = "ready", fails: frozenset[str] = frozenset()) -> None:
        self.state = state
        self.fails = fails
        self.stopped: list[tuple[str, str]] = []
        self.removed: list[tuple[str, str]] = []
        self.asked: list[tuple[str, str]] = []
        self.on_the_way = 0
        self.most_on_the_way = 0

    async def _call(self, user: str, name: str) -> None:
        self.on_the_way += 1
        self.most_on_the_way = max(self.most_on_the_way, self.on_the_way)
        await asyncio.sleep(0)
        self.on_the_way -= 1
        if f"{user}/{name}" in self.fails:
            raise Unavailable("The Hub does not answer now. Try again in a minute.")

    async def stop_server(self, user: str, name: str) -> None:
        await self._call(user, name)
        self.stopped.append((user, name))

    async def remove_server(self, user: str, name: str) -> None:
        await self._call(user, name)
        self.removed.append((user, name))

    async def server_state(self, user: str, name: str) -> str:
        await self._call(user, name)
        self.asked.append((user, name))
        return self.state
