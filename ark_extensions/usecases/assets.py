"""Monthly compute: bought for whole months, held from that moment whether used or not, renewed by hand or by itself.

The term is paid at purchase, at the price of that moment: a later price never touches it. While an asset lives, a
workspace on it is not charged by the hour. At its end the workspace stops and the compute goes back on sale; the data
disk stays.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from ark_extensions.domain.assets import MAX_AHEAD_MONTHS, REMINDER_DAYS, RENEW_BEFORE, add_months, check_months, due_reminder
from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import Conflict, InsufficientBalance, InvalidField, NotFound, PostingHalted
from ark_extensions.domain.offers import Offer, Plan, PriceVersion, price_at
from ark_extensions.domain.workspaces import ACTIVE, State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.charges import Charge, post_charges
from ark_extensions.usecases.compute import free_compute, refuse_frozen, reserve
from ark_extensions.usecases.gifts import expire_lots
from ark_extensions.usecases.halts import refuse_when_halted
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.launches import order_stop
from ark_extensions.usecases.market import offer_of, prices
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.purse import read_held, read_purse
from ark_extensions.usecases.views import Sentence, StopOrder

#: how far ahead of its end a term is looked at
HORIZON = max(timedelta(days=max(REMINDER_DAYS)), RENEW_BEFORE)


@dataclass(frozen=True)
class AssetView:
    """``used_by``: the name of the workspace that uses it now or used it last, if it still exists.

    ``renewal_micros_per_month``: what a month costs now; None when the offer is no longer sold."""

    id: str
    offer: Offer
    bought_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    auto_renew: bool
    used_by: str | None
    paid_micros: int
    renewal_micros_per_month: int | None

    @property
    def converted(self) -> bool:
        """Given up before its end, for a part of the money."""
        return self.ended_at is not None and self.ended_at < self.expires_at


def _monthly_price(connection: Connection, offer_id: str, now: datetime) -> tuple[Offer, PriceVersion] | None:
    row = connection.execute(select(t.offers).where(t.offers.c.id == offer_id, t.offers.c.withdrawn_at.is_(None))).first()
    price = price_at(prices(connection, [f"offer:{offer_id}"]).get(f"offer:{offer_id}", ()), now)
    return (offer_of(row), price) if row is not None and price is not None and row.plan == Plan.MONTHLY else None


def _pay_term(connection: Connection, asset: Row[Any], months: int, request_id: str, price: PriceVersion, now: datetime) -> None:
    """Charge a term that begins where the last one ends; raises InsufficientBalance."""
    refuse_when_halted(connection)
    refuse_frozen(connection, asset.owner)
    expire_lots(connection, now, asset.owner)
    cost = price.price_micros * months
    available = read_purse(connection, asset.owner, now).available_micros - read_held(connection, asset.owner, now)
    if available < cost:
        raise InsufficientBalance(
            "Your wallet holds {available_micros}; this costs {price_micros}. Recharge it under Billing, then try again.",
            available_micros=available,
            price_micros=cost,
        )
    term_id = new_id()
    paid = asset.months if request_id != asset.request_id else 0
    connection.execute(
        t.asset_terms.insert().values(
            id=term_id,
            asset_id=asset.id,
            request_id=request_id,
            months=months,
            price_version_id=price.id,
            charged_micros=cost,
            starts_at=add_months(asset.bought_at, paid),
            ends_at=add_months(asset.bought_at, paid + months),
            paid_at=now,
        )
    )
    if cost:
        starts_at, ends_at = add_months(asset.bought_at, paid), add_months(asset.bought_at, paid + months)
        about = (f"term:{term_id}", asset.owner, "charge_term", f"term:{term_id}", cost, starts_at, ends_at, months)
        post_charges(connection, [Charge(*about, price_version_id=price.id)], now)


def _asset(connection: Connection, asset_id: str) -> Row[Any] | None:
    return connection.execute(select(t.assets).where(t.assets.c.id == asset_id)).first()


def buy_asset(storage: Storage, *, user: str, request_id: str, offer: str, months: int, auto_renew: bool, now: datetime) -> AssetView:
    """Buy monthly compute: charged and reserved in one transaction; the same ``request_id`` again answers the first result."""
    body_hash = hashlib.sha256(json.dumps([offer, months, auto_renew]).encode()).hexdigest()
    with storage.write() as connection:
        known = connection.execute(select(t.assets).where(t.assets.c.owner == user, t.assets.c.request_id == request_id)).first()
        if known is not None:
            if known.body_hash != body_hash:
                raise Conflict("This request was already used for another order. Reload the page and try again.", code="request_id_reused")
            return _views(connection, now, t.assets.c.id == known.id)[0]
        check_months(months)
        found = _monthly_price(connection, offer, now)
        if found is None:
            raise InvalidField("This compute is not offered any more. Choose another in the marketplace.", field="offer")
        asset_id = new_id()
        row = {"id": asset_id, "owner": user, "offer_id": offer, "request_id": request_id, "body_hash": body_hash, "auto_renew": auto_renew}
        connection.execute(t.assets.insert().values(**row, bought_at=now, months=months, expires_at=add_months(now, months)))
        asset = _asset(connection, asset_id)
        assert asset is not None
        _pay_term(connection, asset, months, request_id, found[1], now)
        reserve(connection, asset_id, found[0])
        return _views(connection, now, t.assets.c.id == asset_id)[0]


def renew_asset(storage: Storage, *, user: str, asset_id: str, request_id: str, months: int, now: datetime) -> AssetView:
    """Add months to a living term, at the price now; once per ``request_id``."""
    with storage.write() as connection:
        asset = _own(connection, user, asset_id)
        done = select(t.asset_terms.c.id).where(t.asset_terms.c.asset_id == asset_id, t.asset_terms.c.request_id == request_id)
        if connection.execute(done).first() is None:
            _renew(connection, asset, request_id, check_months(months), now)
        return _views(connection, now, t.assets.c.id == asset_id)[0]


def _renew(connection: Connection, asset: Row[Any], request_id: str, months: int, now: datetime) -> None:
    if asset.ended_at is not None or asset.expires_at <= now:
        raise Conflict("This term is over. Buy the compute again in the marketplace.", code="term_over")
    found = _monthly_price(connection, asset.offer_id, now)
    if found is None:
        raise Conflict("This compute is no longer sold and cannot be renewed.", code="withdrawn")
    ends_at = add_months(asset.bought_at, asset.months + months)
    if ends_at > add_months(now, MAX_AHEAD_MONTHS):
        raise InvalidField("A term can end at most {months} months ahead.", field="months", months=MAX_AHEAD_MONTHS)
    _pay_term(connection, asset, months, request_id, found[1], now)
    changed = {"months": asset.months + months, "expires_at": ends_at, "reminded_days": None}
    connection.execute(update(t.assets).where(t.assets.c.id == asset.id).values(**changed))


def change_asset(storage: Storage, *, user: str, asset_id: str, auto_renew: bool, now: datetime) -> AssetView:
    with storage.write() as connection:
        _own(connection, user, asset_id)
        connection.execute(update(t.assets).where(t.assets.c.id == asset_id).values(auto_renew=auto_renew))
        return _views(connection, now, t.assets.c.id == asset_id)[0]


def list_assets(storage: Storage, *, user: str, now: datetime) -> list[AssetView]:
    """Living terms first by their end, then those that are over."""
    with storage.read() as connection:
        found = _views(connection, now, t.assets.c.owner == user)
    return sorted(found, key=lambda a: (a.ended_at is not None, a.expires_at))


def _own(connection: Connection, user: str, asset_id: str) -> Row[Any]:
    asset = _asset(connection, asset_id)
    if asset is None or asset.owner != user:
        raise NotFound("You have no such compute.")
    return asset


def _views(connection: Connection, now: datetime, where: ColumnElement[bool]) -> list[AssetView]:
    rows = connection.execute(select(t.assets).where(where)).all()
    ids, offer_ids = [r.id for r in rows], sorted({r.offer_id for r in rows})
    offers = {r.id: offer_of(r) for r in connection.execute(select(t.offers).where(t.offers.c.id.in_(offer_ids)))}
    paid: dict[str, int] = {}
    for term in connection.execute(select(t.asset_terms).where(t.asset_terms.c.asset_id.in_(ids))):
        paid[term.asset_id] = paid.get(term.asset_id, 0) + term.charged_micros
    w = t.workspaces
    users = select(w.c.asset_id, w.c.name).where(w.c.asset_id.in_(ids), w.c.state != State.RELEASED).order_by(w.c.state_since)
    used_by = {r.asset_id: r.name for r in connection.execute(users)}
    current = prices(connection, [f"offer:{o}" for o in offer_ids])
    found = []
    for r in rows:
        price = price_at(current.get(f"offer:{r.offer_id}", ()), now) if offers[r.offer_id].withdrawn_at is None else None
        per_month = price.price_micros if price else None
        dates = (r.bought_at, r.expires_at, r.ended_at, r.auto_renew)
        found.append(AssetView(r.id, offers[r.offer_id], *dates, used_by.get(r.id), paid.get(r.id, 0), per_month))
    return found


def run_terms(storage: Storage, *, now: datetime) -> list[StopOrder]:
    """What the billing service does for terms: renew those that ask for it, remind, end those that are over.

    Returns the stops to carry out: workspaces whose compute has expired.
    """
    a = t.assets
    with storage.read() as connection:
        near = connection.execute(select(a.c.id).where(a.c.ended_at.is_(None), a.c.expires_at <= now + HORIZON)).scalars().all()
    orders: list[StopOrder] = []
    for asset_id in near:
        with storage.write() as connection:
            orders += _tend(connection, asset_id, now)
    return orders


def _tend(connection: Connection, asset_id: str, now: datetime) -> list[StopOrder]:
    asset = _asset(connection, asset_id)
    if asset is None or asset.ended_at is not None:
        return []
    if asset.auto_renew and asset.expires_at - now <= RENEW_BEFORE and asset.expires_at > now:
        try:
            _renew(connection, asset, f"auto:{asset.expires_at.isoformat()}", 1, now)
        except (InsufficientBalance, Conflict, PostingHalted):
            pass  # the reminders below say so while there is time
        else:
            message = Sentence("{offer} was renewed for a month.", {"offer": _offer_name(connection, asset)})
            tell(connection, owner=asset.owner, at=now, kind="term_renewed", message=message)
            return []
    if asset.expires_at <= now:
        return _end(connection, asset, now)
    days = due_reminder(asset.expires_at, now, asset.reminded_days)
    if days is not None:
        params = {"offer": _offer_name(connection, asset), "until_at": asset.expires_at.isoformat()}
        message = Sentence("{offer} expires at {until_at}. Renew it to keep it; what runs on it stops then.", params)
        tell(connection, owner=asset.owner, at=now, kind="term_ends", message=message, severity="warning")
        connection.execute(update(t.assets).where(t.assets.c.id == asset.id).values(reminded_days=days))
    return []


def _offer_name(connection: Connection, asset: Row[Any]) -> str:
    return str(connection.execute(select(t.offers.c.name).where(t.offers.c.id == asset.offer_id)).scalar_one())


def _end(connection: Connection, asset: Row[Any], now: datetime) -> list[StopOrder]:
    """The term is over: stop what runs on it first; when nothing does any more, the compute goes back on sale."""
    w = t.workspaces
    using = connection.execute(select(w).where(w.c.asset_id == asset.id, w.c.state.in_(ACTIVE))).all()
    orders = []
    for row in using:
        if row.state in (State.RUNNING, State.STARTING):
            order_stop(connection, row, "billing", StopReason.TERM, now)
            orders.append(StopOrder(row.id, row.owner, row.name, StopReason.TERM))
    if not using:
        free_compute(connection, asset.id)
        connection.execute(update(t.assets).where(t.assets.c.id == asset.id).values(ended_at=now))
        message = Sentence("{offer} has expired. The files of its workspaces are kept.", {"offer": _offer_name(connection, asset)})
        tell(connection, owner=asset.owner, at=now, kind="term_over", message=message, severity="warning")
    return orders
