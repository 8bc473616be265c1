"""One look at the deadlines: decide in a use case, then tell the Hub."""

from __future__ import annotations

from datetime import datetime

from ark_extensions.loop import in_thread
from ark_extensions.stop_orders import StopsServers, carry_out
from ark_extensions.storage import Storage
from ark_extensions.usecases.deadlines import due_stops


async def stop_what_is_due(storage: Storage, hub: StopsServers, *, now: datetime) -> str | None:
    """Stop every workspace whose moment has come; what the Hub does not take now comes back through the reconciler."""
    orders = await in_thread(due_stops, storage, now=now)
    if not orders:
        return None
    failed = await carry_out(hub, orders)
    return f"{len(orders) - len(failed)} of {len(orders)} due stops were ordered at the Hub."
