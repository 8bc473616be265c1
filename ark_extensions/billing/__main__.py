"""`python -m ark_extensions.billing`: settle hourly, watch every five seconds, prove the books nightly, until SIGTERM.

Of several billing services one works: it holds a lease. The others wait; everything they would do is idempotent as well.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from ark_extensions.billing.messages import write_message
from ark_extensions.billing.passes import deliver, prove_books, settle, tend_arrears, watch
from ark_extensions.hub import Hub
from ark_extensions.loop import Job, in_thread, log_to_stderr, run_until_sigterm, utc_now
from ark_extensions.notify import configured
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases.leases import take_lease

WATCH_SECONDS = 5.0
DELIVER_SECONDS = 15.0
ARREARS_SECONDS = 600.0
BOOKS_SECONDS = 86_400.0
LEASE_SECONDS = 30


async def main() -> None:
    settings = Settings()
    storage = Storage(settings.resolved_database_url)
    hub = Hub(settings.hub_api_url, token=settings.secret("billing_token"))
    channels = configured(settings)
    holder = f"{socket.gethostname()[:40]}:{os.getpid()}"

    def alone(work: Callable[[], Awaitable[str | None]]) -> Callable[[], Awaitable[str | None]]:
        async def turn() -> str | None:
            mine = await in_thread(take_lease, storage, name="billing", holder=holder, seconds=LEASE_SECONDS, now=utc_now())
            return await work() if mine else None

        return turn

    days = {"keep_days": settings.arrears_keep_days, "recycle_days": settings.recycle_days}
    jobs = [
        Job(
            "settlement",
            float(settings.settle_interval_seconds),
            alone(lambda: settle(storage, netdisk_charge=settings.netdisk_charge, now=utc_now())),
        ),
        Job("wallets", WATCH_SECONDS, alone(lambda: watch(storage, hub, now=utc_now()))),
        Job("arrears", ARREARS_SECONDS, alone(lambda: tend_arrears(storage, **days, now=utc_now()))),
        Job("books", BOOKS_SECONDS, alone(lambda: prove_books(storage, now=utc_now()))),
    ]
    if channels:
        write = write_message(settings)
        jobs.append(Job("messages", DELIVER_SECONDS, alone(lambda: deliver(storage, channels, write, now=utc_now()))))
    await run_until_sigterm("billing", jobs, state_dir=settings.state_dir)


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(main())
