"""Signs of life of all running workspaces, told to the platform in one use case call for many, never on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

#: how long a beat waits for company, in seconds
GATHER_SECONDS = 5.0
Tell = Callable[[Mapping[str, str], datetime], Awaitable[None]]


class Beats:
    """Gathers beats and tells them together, with the time of the earliest: uncertainty bills less."""

    def __init__(self) -> None:
        self._tell: Tell | None = None
        self._alive: dict[str, str] = {}
        self._since: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def seen(self, workspace_id: str, launch_id: str, now: datetime, tell: Tell) -> None:
        """This launch of this workspace was alive at ``now``; ``tell`` of the last one seen tells of all."""
        self._tell = tell
        self._alive[workspace_id] = launch_id
        self._since = self._since or now
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._later())

    def forget(self, workspace_id: str) -> None:
        """It stopped: a beat that was not told yet must not bring it back."""
        self._alive.pop(workspace_id, None)

    async def _later(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        alive, since = self._alive, self._since
        self._alive, self._since = {}, None
        if alive and since is not None and self._tell is not None:
            await self._tell(alive, since)
