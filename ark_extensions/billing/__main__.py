"""`python -m ark_extensions.billing`: settle every `settle_interval_seconds`, watch wallets every five seconds, until SIGTERM."""

from __future__ import annotations

import asyncio

from ark_extensions.billing.passes import settle, watch
from ark_extensions.hub import Hub
from ark_extensions.loop import Job, log_to_stderr, run_until_sigterm, utc_now
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage

WATCH_SECONDS = 5.0


async def main() -> None:
    settings = Settings()
    storage = Storage(settings.resolved_database_url)
    hub = Hub(settings.hub_api_url, token=settings.secret("billing_token"))

    async def settle_now() -> str | None:
        return await settle(storage, now=utc_now())

    async def watch_now() -> str | None:
        return await watch(storage, hub, now=utc_now())

    jobs = [Job("settlement", float(settings.settle_interval_seconds), settle_now), Job("wallets", WATCH_SECONDS, watch_now)]
    await run_until_sigterm("billing", jobs, state_dir=settings.state_dir)


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(main())
