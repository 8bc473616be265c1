"""Ordering a workspace: quote what it will cost, then place the order once per ``request_id``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, select

from ark_extensions.domain.autostop import check_idle_minutes, resolve_auto_stop
from ark_extensions.domain.catalog import DATASET, MODEL, parse_item_ref
from ark_extensions.domain.errors import Conflict, InvalidField
from ark_extensions.domain.metering import runway
from ark_extensions.domain.money import SECONDS_PER_DAY, SECONDS_PER_HOUR
from ark_extensions.domain.offers import PriceVersion, price_at
from ark_extensions.domain.workspaces import State, check_display_name, check_name
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.compute import Compute, by_the_hour, by_the_month, hold
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.market import prices
from ark_extensions.usecases.purse import read_held, read_purse
from ark_extensions.usecases.views import Quote, Sentence, WorkspaceOrder, WorkspaceView
from ark_extensions.usecases.workspaces import check_budget, view_one

MAX_MOUNTS = 50


@dataclass(frozen=True)
class _Resolved:
    """An order whose every id was found on sale."""

    compute: Compute
    image: Row[tuple[object, ...]]
    disk_price: PriceVersion | None
    mounts: tuple[tuple[str, str, int], ...]
    auto_stop_at: datetime | None


def _resolve_mounts(connection: Connection, kind: str, refs: tuple[str, ...], field: str) -> list[tuple[str, str, int]]:
    if len(refs) > MAX_MOUNTS:
        raise InvalidField("Choose at most {max} of them.", field=field, max=MAX_MOUNTS)
    items, versions = t.catalog_items, t.catalog_versions
    found: dict[str, int] = {}
    for ref in refs:
        name, version = parse_item_ref(ref, field=field)
        if name in found:
            raise InvalidField("“{name}” is chosen twice.", field=field, name=name)
        query = (
            select(func.max(versions.c.version))
            .join(items, (items.c.kind == versions.c.kind) & (items.c.name == versions.c.name))
            .where(items.c.kind == kind, items.c.name == name, items.c.withdrawn_at.is_(None))
        )
        if version is not None:
            query = query.where(versions.c.version == version)
        newest = connection.execute(query).scalar()
        if newest is None:
            raise InvalidField("“{name}” is not offered any more. Choose another, or leave it out.", field=field, name=ref[:70])
        found[name] = newest
    return [(kind, name, version) for name, version in found.items()]


def _resolve(connection: Connection, user: str, order: WorkspaceOrder, now: datetime) -> _Resolved:
    if (order.offer is None) == (order.asset is None):
        raise InvalidField("Choose compute: an offer, or monthly compute that you have.", field="offer")
    if order.asset is not None:
        compute = by_the_month(connection, user, order.asset, now)
    else:
        compute = by_the_hour(connection, order.offer or "", now)
    image = connection.execute(select(t.images).where(t.images.c.id == order.image, t.images.c.withdrawn_at.is_(None))).first()
    if image is None:
        raise InvalidField("This image is not offered any more. Choose another.", field="image")
    disk_price = None
    if order.data_disk_gib:
        on_sale = select(t.disks).where(t.disks.c.size_gib == order.data_disk_gib, t.disks.c.withdrawn_at.is_(None))
        disk_price = price_at(prices(connection, [f"disk:{order.data_disk_gib}"]).get(f"disk:{order.data_disk_gib}", ()), now)
        if disk_price is None or connection.execute(on_sale).first() is None:
            raise InvalidField("This data disk size is not offered. Choose one from the list.", field="data_disk_gib")
    mounts = _resolve_mounts(connection, DATASET, order.datasets, "datasets") + _resolve_mounts(connection, MODEL, order.models, "models")
    auto_stop_at = resolve_auto_stop(after_minutes=order.auto_stop_after_minutes, at=order.auto_stop_at, now=now)
    check_idle_minutes(order.idle_stop_minutes)
    return _Resolved(compute, image, disk_price, tuple(mounts), auto_stop_at)


def quote(storage: Storage, *, user: str, order: WorkspaceOrder, now: datetime) -> Quote:
    """What this workspace will cost; raises InvalidField at the field that cannot be. Nothing is reserved."""
    with storage.read() as connection:
        resolved = _resolve(connection, user, order, now)
        purse = read_purse(connection, user, now)
        available = purse.available_micros - read_held(connection, user, now)
    per_hour = resolved.compute.price_micros_per_hour
    per_day = resolved.disk_price.price_micros if resolved.disk_price else 0
    burn = purse.burn_micros_per_hour + per_hour + per_day * SECONDS_PER_HOUR // SECONDS_PER_DAY
    return Quote(0, per_hour, per_day, per_hour, available, runway(purse.available_micros, burn))


def _body_hash(order: WorkspaceOrder) -> str:
    body = {k: v for k, v in asdict(order).items() if k != "request_id"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def _free_name(connection: Connection, owner: str, wanted: str | None) -> str:
    live = select(t.workspaces.c.name).where(t.workspaces.c.owner == owner, t.workspaces.c.disk_deleted_at.is_(None))
    taken = set(connection.execute(live).scalars())
    if wanted is not None:
        if check_name(wanted) in taken:
            raise Conflict("You have a workspace named {name} already. Choose another name.", field="name", code="name_taken", name=wanted)
        return wanted
    return next(name for n in range(1, len(taken) + 2) if (name := f"ws{n}") not in taken)


def place_order(storage: Storage, *, user: str, order: WorkspaceOrder, now: datetime, max_workspaces: int = 20) -> WorkspaceView:
    """One accepted purchase: the order, the workspace (state creating) and its stock, in one transaction.

    The same ``request_id`` again answers the first result; with another body it raises Conflict.
    """
    with storage.write() as connection:
        known = connection.execute(select(t.orders).where(t.orders.c.owner == user, t.orders.c.request_id == order.request_id)).first()
        if known is not None:
            if known.body_hash != _body_hash(order):
                raise Conflict("This request was already used for another order. Reload the page and try again.", code="request_id_reused")
            return view_one(connection, t.workspaces.c.id == known.workspace_id, now)
        resolved = _resolve(connection, user, order, now)
        live = select(func.count()).where(t.workspaces.c.owner == user, t.workspaces.c.state != State.RELEASED)
        if connection.execute(live).scalar_one() >= max_workspaces:
            raise Conflict(
                "You have {max} workspaces, the most allowed. Release one you no longer need.", code="too_many", max=max_workspaces
            )
        name = _free_name(connection, user, order.name)
        workspace_id = _record(connection, user, name, order, resolved, now)
        return view_one(connection, t.workspaces.c.id == workspace_id, now)


def _record(connection: Connection, user: str, name: str, order: WorkspaceOrder, resolved: _Resolved, now: datetime) -> str:
    workspace_id = new_id()
    connection.execute(
        t.workspaces.insert().values(
            id=workspace_id,
            owner=user,
            name=name,
            display_name=check_display_name(order.display_name) if order.display_name else name,
            state=State.CREATING,
            state_since=now,
            offer_id=resolved.compute.offer.id,
            asset_id=resolved.compute.asset_id,
            image_id=order.image,
            data_disk_gib=order.data_disk_gib,
            disk_price_version_id=resolved.disk_price.id if resolved.disk_price else None,
            disk_price_micros_per_day=resolved.disk_price.price_micros if resolved.disk_price else 0,
            auto_stop_after_minutes=order.auto_stop_after_minutes,
            auto_stop_at=resolved.auto_stop_at,
            idle_stop_minutes=order.idle_stop_minutes,
            budget_run_micros=check_budget(order.budget_run_micros),
            budget_total_micros=check_budget(order.budget_total_micros),
            warned=[],
            disk_since=now,
            created_at=now,
        )
    )
    if resolved.mounts:
        rows = [{"workspace_id": workspace_id, "kind": k, "name": n, "version": v} for k, n, v in resolved.mounts]
        connection.execute(t.workspace_mounts.insert(), rows)
    hold(connection, workspace_id, user, resolved.compute, now)
    connection.execute(
        t.orders.insert().values(
            owner=user,
            request_id=order.request_id,
            body_hash=_body_hash(order),
            workspace_id=workspace_id,
            price_version_id=resolved.compute.price_version_id,
            created_at=now,
        )
    )
    message = Sentence("Ordered: {offer}, image {image}.", {"offer": resolved.compute.offer.name, "image": resolved.image.name})
    detail = {"request_id": order.request_id, "price_version": resolved.compute.price_version_id}
    emit(connection, workspace_id=workspace_id, owner=user, at=now, kind="ordered", message=message, actor=user, detail=detail)
    return workspace_id
