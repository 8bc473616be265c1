"""How late auto-stop is when 1,000 workspaces are due at the same second: the real loop and storage, a stand-in for the
Hub that takes 5 ms a call. The lateness of one stop is from its moment to the Hub's having taken the order."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from ark_extensions.autostop.__main__ import EVERY_SECONDS
from ark_extensions.autostop.passes import stop_what_is_due
from ark_extensions.loop import Job, repeat, utc_now
from bench.measure import Row, no_more_than
from bench.population import Crowd, fresh_storage, populate

WORKSPACES = 1_000
HUB_CALL_SECONDS = 0.005


class StandInHub:
    """Takes every stop after 5 ms and remembers when."""

    def __init__(self) -> None:
        self.taken_at: dict[tuple[str, str], datetime] = {}

    async def stop_server(self, user: str, name: str) -> None:
        await asyncio.sleep(HUB_CALL_SECONDS)
        self.taken_at[user, name] = datetime.now(UTC)


async def latenesses(due: datetime, storage) -> list[float]:  # type: ignore[no-untyped-def]
    hub = StandInHub()
    give_up = time.monotonic() + 60

    async def look() -> str | None:
        return await stop_what_is_due(storage, hub, now=utc_now())

    async def pause(seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return len(hub.taken_at) >= WORKSPACES or time.monotonic() > give_up

    await repeat(Job("deadlines", EVERY_SECONDS, look), pause=pause)
    assert len(hub.taken_at) == WORKSPACES, f"{len(hub.taken_at)} stops were ordered"
    return [(at - due).total_seconds() for at in hub.taken_at.values()]


def run() -> list[Row]:
    worst = []
    for _ in range(3):
        with fresh_storage() as storage:
            due = datetime.now(UTC) + timedelta(seconds=2)
            populate(storage, Crowd(owners=100, each=10, auto_stop_at=due), now=datetime.now(UTC))
            worst.append(max(asyncio.run(latenesses(due, storage))))
    return [no_more_than("auto-stop: latest of 1,000 due at once", max(worst), "s", limit=5.0)]
