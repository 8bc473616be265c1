"""Whether the console can do its work: open to everybody, and says nothing but yes or no."""

from __future__ import annotations

import asyncio
import logging

from ark_extensions.console.api.dispatch import ApiBase
from ark_extensions.domain.errors import Unavailable
from ark_extensions.usecases.events import newest_event_id

log = logging.getLogger("ark.console")

PATIENCE_SECONDS = 5.0


class HealthHandler(ApiBase):
    """200 only when the database answers a question."""

    methods = ("GET",)

    async def get(self) -> None:
        try:
            await asyncio.wait_for(self.use(newest_event_id), PATIENCE_SECONDS)
        except Exception as error:
            log.warning("health: the database does not answer (%s: %s)", type(error).__name__, error)
            raise Unavailable("The platform's database does not answer now. Try again in a minute.", code="database") from error
        self.finish({"status": "ok"})
