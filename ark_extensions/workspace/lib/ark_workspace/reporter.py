"""Report to the platform when the workspace worked: what idle stop counts. Looks once a minute, decides in ``activity``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ark_workspace.activity import Look, work_between
from ark_workspace.observe import Observer
from ark_workspace.platform_api import Platform


class Reporter:
    """Keeps the last look, and when the workspace last worked (at first: its start)."""

    def __init__(self, platform: Platform, observer: Observer, log: Any) -> None:
        self._platform = platform
        self._observer = observer
        self._log = log
        self._before: Look | None = None
        self._failing = False
        self.worked_at = datetime.now(UTC)

    async def look(self) -> None:
        """Take a look; if there was work since the last one, tell the platform."""
        try:
            after = await self._observer.look()
        except Exception:  # a look must never end the loop: the next one may succeed
            self._log.exception("Ark: the workspace's activity cannot be read")
            return
        before, self._before = self._before, after
        work = work_between(before, after) if before is not None else None
        if work is not None:
            self._log.debug("Ark: the workspace works (%s)", work)
            await self.worked()

    async def worked(self) -> bool:
        """Count this moment as work; False when the platform could not be told."""
        self.worked_at = datetime.now(UTC)
        if not self._platform.url:
            return False
        status, answer = await self._platform.call("POST", "/activity")
        failing = status >= 300
        if failing and not self._failing:  # once, not every minute
            self._log.warning("Ark: activity could not be reported (HTTP %s: %s)", status, answer)
        self._failing = failing
        return not failing
