"""What a user's wallet can still pay: the balance less what running workspaces and disks have cost and not been charged yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, select

from ark_extensions.domain.ledger import credit, wallet
from ark_extensions.domain.metering import cost_micros, disk_cost_micros, runway
from ark_extensions.domain.money import SECONDS_PER_DAY, SECONDS_PER_HOUR
from ark_extensions.domain.offers import price_at
from ark_extensions.domain.workspaces import State
from ark_extensions.storage.tables import accounts, runs, workspaces
from ark_extensions.usecases.market import prices

_OWNERS: BindParameter[str] = bindparam("owners", expanding=True)
_ACCOUNTS = select(accounts).where(accounts.c.name.in_(bindparam("names", expanding=True)))
_OPEN_RUNS = select(runs.c.owner, runs.c.price_micros_per_hour, runs.c.opened_at, runs.c.seen_at, runs.c.charged_micros).where(
    runs.c.owner.in_(_OWNERS), runs.c.closed_at.is_(None)
)
_CHARGED_DISKS = select(workspaces).where(
    workspaces.c.owner.in_(_OWNERS), workspaces.c.disk_price_micros_per_day > 0, workspaces.c.released_at.is_(None)
)
_FIRST_HOURS = (
    select(workspaces.c.offer_id, runs.c.opened_at, runs.c.seen_at, runs.c.price_micros_per_hour)
    .outerjoin(runs, (runs.c.workspace_id == workspaces.c.id) & runs.c.closed_at.is_(None))
    .where(
        workspaces.c.owner == bindparam("owner"),
        workspaces.c.id != bindparam("but"),
        workspaces.c.asset_id.is_(None),
        workspaces.c.state.in_([State.CREATING, State.STARTING, State.RUNNING]),
    )
)


@dataclass(frozen=True)
class Purse:
    """``available_micros``: what is left after what is due; ``burn_micros_per_hour``: what it loses as things are."""

    balance_micros: int
    available_micros: int
    burn_micros_per_hour: int

    @property
    def runway(self) -> timedelta | None:
        return runway(self.available_micros, self.burn_micros_per_hour)


def disk_due(row: Row[Any], now: datetime) -> int:
    """What a workspace's data disk has cost and was not charged yet."""
    cost: int = disk_cost_micros(row.disk_price_micros_per_day, row.disk_since, now)
    charged: int = row.disk_charged_micros - row.disk_charged_before_micros
    return max(cost - charged, 0)


def read_purses(connection: Connection, owners: Sequence[str], now: datetime) -> dict[str, Purse]:
    """The purse of each owner, in three queries whatever their number."""
    names = {account(owner): owner for owner in owners for account in (wallet, credit)}
    balances = dict.fromkeys(owners, 0)
    for r in connection.execute(_ACCOUNTS, {"names": list(names)}):
        balances[names[r.name]] += r.balance_micros
    due, burn = dict.fromkeys(owners, 0), dict.fromkeys(owners, 0)
    for r in connection.execute(_OPEN_RUNS, {"owners": list(owners)}):
        due[r.owner] += cost_micros(r.price_micros_per_hour, r.opened_at, min(r.seen_at, now)) - r.charged_micros
        burn[r.owner] += r.price_micros_per_hour
    for w in connection.execute(_CHARGED_DISKS, {"owners": list(owners)}):
        due[w.owner] += disk_due(w, now)
        burn[w.owner] += w.disk_price_micros_per_day * SECONDS_PER_HOUR // SECONDS_PER_DAY
    return {o: Purse(balances[o], balances[o] - max(due[o], 0), burn[o]) for o in owners}


def read_purse(connection: Connection, owner: str, now: datetime) -> Purse:
    return read_purses(connection, [owner], now)[owner]


def read_held(
    connection: Connection, owner: str, now: datetime, *, but: str = "", prices_now: Mapping[str, int] = MappingProxyType({})
) -> int:
    """Micros that the owner's workspaces, save the one named, hold of the balance: what is left of the first hour of each that is
    paid by the hour and starts or runs. It is given back as the hour passes, or with the stop. ``prices_now``: offers whose price
    by the hour the caller has read already, in micros."""
    found = connection.execute(_FIRST_HOURS, {"owner": owner, "but": but}).all()
    waiting = {f"offer:{r.offer_id}" for r in found if r.opened_at is None and r.offer_id not in prices_now}
    known = prices(connection, sorted(waiting)) if waiting else {}
    total = 0
    for r in found:
        if r.opened_at is None and r.offer_id in prices_now:
            total += prices_now[r.offer_id]
        elif r.opened_at is None:
            price = price_at(known.get(f"offer:{r.offer_id}", ()), now)
            total += price.price_micros if price is not None else 0
        else:
            used = cost_micros(r.price_micros_per_hour, r.opened_at, max(min(r.seen_at, now), r.opened_at))
            total += max(r.price_micros_per_hour - used, 0)
    return total
