"""What billing does in one pass: settle what was used; look at the wallets and stop what nobody can pay."""

from __future__ import annotations

from datetime import datetime

from ark_extensions.loop import in_thread
from ark_extensions.stop_orders import StopsServers, carry_out
from ark_extensions.storage import Storage
from ark_extensions.usecases.settlement import settle_usage, watch_wallets


async def settle(storage: Storage, *, now: datetime) -> str | None:
    """Charge all open runs up to the last moment they were seen alive."""
    posted = await in_thread(settle_usage, storage, now=now)
    return f"{posted} charges were posted." if posted else None


async def watch(storage: Storage, hub: StopsServers, *, now: datetime) -> str | None:
    """Warn wallets that run low, stop the workspaces of those that have run out."""
    orders = await in_thread(watch_wallets, storage, now=now)
    if not orders:
        return None
    failed = await carry_out(hub, orders)
    return f"{len(orders) - len(failed)} of {len(orders)} workspaces without money were stopped."
