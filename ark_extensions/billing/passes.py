"""What billing does in one pass: settle what was used, watch wallets, budgets and terms, tell people, prove the books."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from ark_extensions.loop import in_thread
from ark_extensions.notify import Channel, Message, Undeliverable
from ark_extensions.stop_orders import StopsServers, carry_out
from ark_extensions.storage import Storage
from ark_extensions.usecases.arrears import run_arrears
from ark_extensions.usecases.assets import run_terms
from ark_extensions.usecases.books import audit_books
from ark_extensions.usecases.budgets import spent_budgets
from ark_extensions.usecases.deliveries import Due, delivery_tried, due_deliveries
from ark_extensions.usecases.gifts import expire_credit
from ark_extensions.usecases.netdisk_charges import charge_netdisks
from ark_extensions.usecases.settlement import settle_usage, watch_wallets

log = logging.getLogger("ark")


async def settle(storage: Storage, *, netdisk_charge: str = "mean", now: datetime) -> str | None:
    """Charge all open runs up to the last moment they were seen alive, all disks, and netdisks for the days that are over."""
    posted = await in_thread(settle_usage, storage, now=now)
    posted += await in_thread(charge_netdisks, storage, rule=netdisk_charge, now=now)
    return f"{posted} charges were posted." if posted else None


async def watch(storage: Storage, hub: StopsServers, *, now: datetime) -> str | None:
    """Warn wallets that run low; stop what an empty wallet, a spent budget or an expired term no longer carries."""
    await in_thread(expire_credit, storage, now=now)
    orders = [
        *await in_thread(watch_wallets, storage, now=now),
        *await in_thread(spent_budgets, storage, now=now),
        *await in_thread(run_terms, storage, now=now),
    ]
    if not orders:
        return None
    failed = await carry_out(hub, orders)
    return f"{len(orders) - len(failed)} of {len(orders)} workspaces were stopped (wallet, budget or term)."


async def tend_arrears(storage: Storage, *, keep_days: int, recycle_days: int, now: datetime) -> str | None:
    """Remind owners of empty wallets; release what was kept for too long."""
    released = await in_thread(run_arrears, storage, keep_days=keep_days, recycle_days=recycle_days, now=now)
    return f"The data disks of {len(released)} users were released." if released else None


async def prove_books(storage: Storage, *, now: datetime) -> str:
    """Recompute every balance and charge; a difference is an error in the log, with its rows, and halts posting."""
    found = await in_thread(audit_books, storage, now=now)
    for difference in found:
        log.error("books: %s %s", difference.message, difference.rows)
    return f"The books have {len(found)} differences." if found else "The books add up."


async def deliver(storage: Storage, channels: Sequence[Channel], write: Callable[[Due], Message], *, now: datetime) -> str | None:
    """Send by mail and webhook what has not been sent; ``write`` puts a notice into its reader's language."""
    sent = 0
    for channel in channels:
        for due in await in_thread(due_deliveries, storage, channel=channel.name, now=now):
            error = None
            try:
                await in_thread(channel.deliver, write(due))
                sent += 1
            except Undeliverable as failed:
                error = str(failed)[:200]
            await in_thread(delivery_tried, storage, notice_id=due.notice_id, channel=channel.name, error=error, now=now)
    return f"{sent} messages were sent." if sent else None
