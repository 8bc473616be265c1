"""Carry out stops that a use case has decided and recorded: the one place where a loop tells the Hub to stop servers.

Promises: many stops at once, at most ``AT_ONCE`` calls on the way; one that fails does not hold up the others and is
counted, not raised: the order is on record, so the next pass (or the reconciler) comes back to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from ark_extensions.usecases.views import StopOrder

log = logging.getLogger("ark")

#: calls on the way to the Hub at the same time
AT_ONCE = 50


class StopsServers(Protocol):
    """The part of the Hub's client that stops servers; a server that is gone or stopping already is no error."""

    async def stop_server(self, user: str, name: str) -> object: ...


async def carry_out(hub: StopsServers, orders: Sequence[StopOrder]) -> list[StopOrder]:
    """Order every stop at the Hub; returns those that the Hub did not take."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(order: StopOrder) -> StopOrder | None:
        async with turn:
            try:
                await hub.stop_server(order.owner, order.name)
            except Exception as error:
                who = (order.workspace_id, order.owner, order.name)
                log.warning("workspace=%s %s/%s could not be stopped now (%s: %s).", *who, type(error).__name__, error)
                return order
        return None

    return [failed for failed in await asyncio.gather(*map(one, orders)) if failed is not None]
