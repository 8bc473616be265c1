"""`python -m ark_extensions.reconcile`: look for what is not as it should be every five seconds, until SIGTERM."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ark_extensions.hub import Hub
from ark_extensions.loop import Job, log_to_stderr, run_until_sigterm, utc_now
from ark_extensions.nodes import open_machines
from ark_extensions.reconcile.cluster import cluster_jobs
from ark_extensions.reconcile.passes import clear_leftovers, empty_recycle_bin, mend_suspects
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.volumes import open_disks
from ark_extensions.volumes.kubernetes import ClusterDisks

MEND_SECONDS = 5.0
RECYCLE_SECONDS = 10.0
CLEAN_SECONDS = 15.0


async def main() -> None:
    settings = Settings()
    storage = Storage(settings.resolved_database_url)
    disks = open_disks(settings)
    machines = open_machines(settings)
    hub = Hub(settings.hub_api_url, token=settings.secret("reconcile_token"))

    async def states() -> str | None:
        return await mend_suspects(storage, hub, now=utc_now())

    async def recycle_bin() -> str | None:
        return await empty_recycle_bin(storage, hub, disks, now=utc_now())

    async def leftovers() -> str | None:
        return await clear_leftovers(storage, disks)

    jobs = [
        Job("states", MEND_SECONDS, states),
        Job("recycle bin", RECYCLE_SECONDS, recycle_bin),
        Job("leftovers", CLEAN_SECONDS, leftovers),
    ]
    if machines is not None and isinstance(disks, ClusterDisks):
        jobs += cluster_jobs(storage, machines, disks, recycle=timedelta(days=settings.recycle_days))
    await run_until_sigterm("reconcile", jobs, state_dir=settings.state_dir)


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(main())
