"""What a workspace runs on: an offer paid by the hour, or monthly compute that its owner has; and how it is held.

Pay-as-you-go holds stock from the order or start to the stop, and needs the first hour in the wallet: what is left of the first
hours of others is held for them, so that money for one hour starts one workspace. Monthly compute holds its stock for the whole
term, carries one workspace at a time, and costs nothing by the hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from ark_extensions.domain.errors import Conflict, Forbidden, InsufficientBalance, InvalidField, SoldOut
from ark_extensions.domain.offers import Offer, Plan, place, price_at
from ark_extensions.domain.workspaces import ACTIVE
from ark_extensions.storage import tables as t
from ark_extensions.usecases.market import offer_of, prices, read_claims, read_nodes
from ark_extensions.usecases.purse import read_held, read_purse

# What every start reads, made once.
_OFFER_ON_SALE = select(t.offers).where(t.offers.c.id == bindparam("id"), t.offers.c.withdrawn_at.is_(None))
_CLAIM = select(t.claims).where(t.claims.c.holder == bindparam("holder"))
_FROZEN = select(t.users.c.frozen_at).where(t.users.c.name == bindparam("name"))


@dataclass(frozen=True)
class Compute:
    """``asset_id`` None: pay-as-you-go. ``price_version_id`` names the price that a run copies."""

    offer: Offer
    price_version_id: str
    price_micros_per_hour: int
    asset_id: str | None


def by_the_hour(connection: Connection, offer_id: str, now: datetime) -> Compute:
    """A pay-as-you-go offer on sale; raises InvalidField for any other."""
    row = connection.execute(_OFFER_ON_SALE, {"id": offer_id}).first()
    price = price_at(prices(connection, [f"offer:{offer_id}"]).get(f"offer:{offer_id}", ()), now)
    if row is None or price is None:
        raise InvalidField("This compute is not offered any more. Choose another in the marketplace.", field="offer")
    if row.plan != Plan.PAYG:
        raise InvalidField("This is a monthly offer: buy it first, then create a workspace on it.", field="offer")
    return Compute(offer_of(row), price.id, price.price_micros, None)


def by_the_month(connection: Connection, owner: str, asset_id: str, now: datetime) -> Compute:
    """Monthly compute that the owner has and whose term runs; raises InvalidField for any other."""
    asset = connection.execute(select(t.assets).where(t.assets.c.id == asset_id, t.assets.c.owner == owner)).first()
    if asset is None:
        raise InvalidField("You have no such compute. Choose another.", field="asset")
    if asset.ended_at is not None or asset.expires_at <= now:
        raise InvalidField("This monthly compute has expired. Choose another, or buy it again.", field="asset")
    terms = t.asset_terms
    price = (
        select(terms.c.price_version_id).where(terms.c.asset_id == asset_id, terms.c.starts_at <= now).order_by(terms.c.starts_at.desc())
    )
    offer = connection.execute(select(t.offers).where(t.offers.c.id == asset.offer_id)).one()
    return Compute(offer_of(offer), connection.execute(price).scalars().first() or "", 0, asset_id)


def compute_of(connection: Connection, workspace: Row[Any], now: datetime) -> Compute:
    """What this workspace would start on now; raises Conflict when that is not to be had any more."""
    try:
        if workspace.asset_id is not None:
            return by_the_month(connection, workspace.owner, workspace.asset_id, now)
        return by_the_hour(connection, workspace.offer_id, now)
    except InvalidField as refused:
        raise Conflict(refused.msgid, code="withdrawn", field=refused.field) from refused


def hold(connection: Connection, workspace_id: str, owner: str, compute: Compute, now: datetime) -> Row[Any]:
    """Take for this workspace what it needs to start, and return its claim; raises SoldOut, Conflict or InsufficientBalance.
    Twice is once."""
    if compute.asset_id is not None:
        w = t.workspaces
        other = select(w.c.name).where(w.c.asset_id == compute.asset_id, w.c.id != workspace_id, w.c.state.in_(ACTIVE))
        name = connection.execute(other).scalar()
        if name is not None:
            raise Conflict("{name} uses this compute now. Stop it first, or choose another.", field="asset", code="asset_in_use", name=name)
        return _keep_on_a_machine(connection, compute)
    require_first_hour(connection, workspace_id, owner, compute, now)
    claim = held(connection, workspace_id)
    return claim if claim is not None else _reserved(connection, workspace_id, compute.offer)


def _reserved(connection: Connection, holder: str, offer: Offer) -> Row[Any]:
    reserve(connection, holder, offer)
    claim = held(connection, holder)
    assert claim is not None
    return claim


def _keep_on_a_machine(connection: Connection, compute: Compute) -> Row[Any]:
    """Monthly compute whose machine is away moves to another that has room; raises SoldOut when none has."""
    assert compute.asset_id is not None
    claim = held(connection, compute.asset_id)
    if claim is not None and connection.execute(select(t.nodes.c.name).where(t.nodes.c.name == claim.node)).first() is not None:
        return claim
    free_compute(connection, compute.asset_id)
    try:
        return _reserved(connection, compute.asset_id, compute.offer)
    except SoldOut:
        raise SoldOut(
            "The machine of this monthly compute is away, and no other has room for {offer} now. Try again later, or ask an operator.",
            field="asset",
            code="machine_away",
            offer=compute.offer.name,
        ) from None


def held(connection: Connection, holder: str) -> Row[Any] | None:
    """The claim of a workspace or asset."""
    return connection.execute(_CLAIM, {"holder": holder}).first()


def devices_of(connection: Connection, holder: str) -> tuple[str, ...]:
    """The GPU devices of a claim, in order."""
    devices = t.claimed_devices
    return tuple(connection.execute(select(devices.c.device).where(devices.c.holder == holder).order_by(devices.c.device)).scalars())


def reserve(connection: Connection, holder: str, offer: Offer) -> None:
    """Take the offer's quantities from a node for a workspace or asset; raises SoldOut when no node has them."""
    claim = place(read_nodes(connection), read_claims(connection), offer.quantities, holder)
    if claim is None:
        raise SoldOut("No {offer} is free now. Choose another offer, or try again when one is stopped.", field="offer", offer=offer.name)
    connection.execute(t.claims.insert().values(holder=holder, node=claim.node, vcpu=claim.vcpu, memory_mib=claim.memory_mib))
    if claim.gpu_devices:
        rows = [{"node": claim.node, "device": d, "holder": holder} for d in claim.gpu_devices]
        connection.execute(t.claimed_devices.insert(), rows)


def free_compute(connection: Connection, holder: str) -> None:
    """Give back the stock that a workspace or asset holds."""
    connection.execute(t.claimed_devices.delete().where(t.claimed_devices.c.holder == holder))
    connection.execute(t.claims.delete().where(t.claims.c.holder == holder))


def require_first_hour(connection: Connection, workspace_id: str, owner: str, compute: Compute, now: datetime) -> None:
    """Raises InsufficientBalance when the wallet does not hold the price of one hour beside what it holds for other workspaces."""
    refuse_frozen(connection, owner)
    price_micros_per_hour = compute.price_micros_per_hour
    balance = read_purse(connection, owner, now).available_micros
    if balance >= price_micros_per_hour:
        held_micros = read_held(connection, owner, now, but=workspace_id, prices_now={compute.offer.id: price_micros_per_hour})
        if balance - held_micros >= price_micros_per_hour:
            return
        raise InsufficientBalance(
            "Your wallet holds {available_micros}, of which {held_micros} are for the first hours of your other workspaces; the first"
            " hour of this one costs {price_micros}. Recharge it under Billing, or stop another workspace, then try again.",
            available_micros=balance,
            held_micros=held_micros,
            price_micros=price_micros_per_hour,
        )
    raise InsufficientBalance(
        "Your wallet holds {available_micros}; the first hour costs {price_micros}. Recharge it under Billing, then try again.",
        available_micros=balance,
        price_micros=price_micros_per_hour,
    )


def require_first_day(connection: Connection, owner: str, price_micros_per_day: int, now: datetime) -> None:
    """Raises InsufficientBalance when the wallet does not hold what a larger disk costs a day beside what it holds for workspaces."""
    refuse_frozen(connection, owner)
    available = read_purse(connection, owner, now).available_micros - read_held(connection, owner, now)
    if available < price_micros_per_day:
        raise InsufficientBalance(
            "Your wallet holds {available_micros}; this costs {price_micros}. Recharge it under Billing, then try again.",
            available_micros=available,
            price_micros=price_micros_per_day,
        )


def refuse_frozen(connection: Connection, owner: str) -> None:
    """Raises Forbidden while the operator has frozen the owner's wallet."""
    row = connection.execute(_FROZEN, {"name": owner}).first()
    if row is not None and row.frozen_at is not None:
        raise Forbidden("Your wallet is frozen. Ask the operator of this platform.", code="wallet_frozen")
