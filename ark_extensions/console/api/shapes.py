"""From the use cases' records to the API's answers: money as text, sentences in the caller's language, opaque cursors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

from ark_extensions.console.api import answers as a
from ark_extensions.console.api.routes import Call
from ark_extensions.domain import catalog
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.money import format_amount
from ark_extensions.usecases import views

T = TypeVar("T")


def money(micros: int, currency: str) -> a.Money:
    return a.Money(amount=format_amount(micros), currency=currency)


def price(micros: int, per: str, currency: str) -> a.Price:
    return a.Price.model_validate({"amount": format_amount(micros), "currency": currency, "per": per})


def hours(span: timedelta | None) -> float | None:
    """Hours, cut to two decimals: a runway is never shown longer than it is."""
    return None if span is None else (span // timedelta(seconds=36)) / 100


def write_cursor(position: int | None) -> str | None:
    return None if position is None else base64.urlsafe_b64encode(f"1:{position}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int | None:
    """The position in a cursor that `write_cursor` made; raises InvalidField for others."""
    if cursor is None:
        return None
    try:
        version, _, position = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        if version == "1" and position.isdecimal() and len(position) < 19:
            return int(position)
    except (ValueError, binascii.Error):
        pass
    raise InvalidField("This cursor is not one of ours. Begin from the first page.", field="cursor")


def cut(items: Sequence[T], limit: int, cursor: str | None) -> tuple[Sequence[T], str | None]:
    """One page of a whole list, and the cursor of the next."""
    begin = read_cursor(cursor) or 0
    end = begin + limit
    return items[begin:end], write_cursor(end) if end < len(items) else None


def offer(view: views.OfferView, currency: str) -> a.Offer:
    o, q = view.offer, view.offer.quantities
    gpu = a.Gpu(model=q.gpu_model or "", count=q.gpu_count, memory_gib=o.gpu_memory_gib) if q.gpu_count else None
    return a.Offer(
        id=o.id,
        name=o.name,
        plan=o.plan.value,
        price=price(view.price_micros, view.per, currency),
        price_version=view.price_version_id,
        gpu=gpu,
        vcpu=q.vcpu,
        memory_gib=round(q.memory_mib / 1024, 2),
        system_disk_gib=q.system_disk_gib,
        available=view.free,
        total=view.total,
    )


def image(found: catalog.Image) -> a.Image:
    return a.Image(id=found.id, name=found.name, description=found.description, framework=found.framework, size_bytes=found.size_bytes)


def item(view: views.ItemView) -> a.Item:
    versions = [a.ItemVersion(version=v, size_bytes=size, file_count=count, created_at=at) for v, size, count, at in view.versions]
    return a.Item(
        id=view.name,
        name=view.name,
        title=view.title,
        description=view.description,
        license=view.license,
        size_bytes=versions[0].size_bytes if versions else 0,
        path=f"~/{catalog.DIRECTORIES[view.kind]}/{view.name}",
        versions=versions,
    )


def quoted(q: views.Quote, currency: str) -> a.Quote:
    return a.Quote(
        now=money(q.now_micros, currency),
        per_hour=money(q.per_hour_micros, currency),
        per_day_stopped=money(q.per_day_stopped_micros, currency),
        first_hour=money(q.first_hour_micros, currency),
        available=money(q.available_micros, currency),
        runway_hours=hours(q.runway),
    )


def server_path(owner: str, name: str) -> str:
    """Where the Hub's proxy serves a workspace; user names are escaped as the Hub does it."""
    return f"/user/{quote(owner, safe='@~')}/{quote(name, safe='')}"


def workspace(view: views.WorkspaceView, call: Call) -> a.Workspace:
    def optional(micros: int | None) -> a.Money | None:
        return None if micros is None else money(micros, call.currency)

    return a.Workspace(
        id=view.id,
        name=view.name,
        owner=view.owner,
        display_name=view.display_name,
        state=view.state.value,
        offer=view.offer.id,
        offer_name=view.offer.name,
        asset=view.asset_id,
        image=view.image_id,
        image_name=view.image_name,
        data_disk_gib=view.data_disk_gib,
        datasets=[f"{name}@{version}" for name, version in view.datasets],
        models=[f"{name}@{version}" for name, version in view.models],
        price_per_hour=money(view.price_micros_per_hour, call.currency),
        auto_stop_at=view.auto_stop_at,
        idle_stop_minutes=view.idle_stop_minutes,
        budget=a.Budget(run=optional(view.budget_run_micros), total=optional(view.budget_total_micros)),
        created_at=view.created_at,
        started_at=view.started_at,
        cost=a.Cost(this_run=money(view.cost_this_run_micros, call.currency), total=money(view.cost_total_micros, call.currency)),
        why=[call.say(sentence) for sentence in view.why],
        url=f"{call.base_url}{server_path(view.owner, view.name)}/",
        restorable_until=view.restorable_until,
        event_cursor=view.event_cursor,
    )


def event(view: views.EventView, call: Call, *, advanced: bool) -> a.Event:
    return a.Event.model_validate(
        {
            "id": view.id,
            "workspace": view.workspace_name,
            "at": view.at,
            "kind": view.kind,
            "severity": view.severity,
            "message": call.say(view.message),
            "actor": view.actor,
            "detail": dict(view.detail) if advanced else None,
        }
    )


def wallet(view: views.WalletView, currency: str) -> a.Wallet:
    return a.Wallet(
        balance=money(view.balance_micros, currency),
        held=money(view.held_micros, currency),
        available=money(view.available_micros, currency),
        credits=[a.Credit(amount=format_amount(micros), currency=currency, expires_at=at) for micros, at in view.credits],
        burn_per_hour=money(view.burn_micros_per_hour, currency),
        runway_hours=hours(view.runway),
    )


def transaction(view: views.TransactionView, currency: str) -> a.Transaction:
    return a.Transaction(
        id=view.id,
        at=view.at,
        kind=view.kind,
        amount=money(view.amount_micros, currency),
        balance_after=money(view.balance_after_micros, currency),
        subject=view.subject,
        memo=view.memo,
        actor=view.actor,
    )


def bill_line(view: views.RunView, currency: str) -> a.BillLine:
    return a.BillLine(
        run=view.id,
        workspace=view.workspace_name,
        offer=view.offer_name,
        started_at=view.opened_at,
        ended_at=view.closed_at,
        seconds=view.seconds,
        price_per_hour=money(view.price_micros_per_hour, currency),
        price_version=view.price_version_id,
        cost=money(view.cost_micros, currency),
        close_reason=view.close_reason,
    )


def person(view: views.UserView) -> a.Person:
    return a.Person(name=view.name, admin=view.admin, language=view.language, created_at=view.created_at)
