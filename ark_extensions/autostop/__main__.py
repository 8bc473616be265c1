"""`python -m ark_extensions.autostop`: look at the deadlines every second until SIGTERM."""

from __future__ import annotations

import asyncio

from ark_extensions.autostop.passes import stop_what_is_due
from ark_extensions.hub import Hub
from ark_extensions.loop import Job, log_to_stderr, run_until_sigterm, utc_now
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage

EVERY_SECONDS = 1.0


async def main() -> None:
    settings = Settings()
    storage = Storage(settings.resolved_database_url)
    hub = Hub(settings.hub_api_url, token=settings.secret("autostop_token"))

    async def look() -> str | None:
        return await stop_what_is_due(storage, hub, now=utc_now())

    await run_until_sigterm("autostop", [Job("deadlines", EVERY_SECONDS, look)], state_dir=settings.state_dir)


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(main())
