"""Workspaces as their owners see them: list, change, release, restore; and the activity that idle stop counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update

from ark_extensions.domain.autostop import check_idle_minutes, resolve_auto_stop
from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.metering import cost_micros
from ark_extensions.domain.money import MAX_AMOUNT_MICROS
from ark_extensions.domain.offers import Offer, price_at
from ark_extensions.domain.workspaces import ACTIVE, State, check_display_name, move
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.charges import settle_disk
from ark_extensions.usecases.compute import free_compute, require_first_day
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.market import offer_of, prices
from ark_extensions.usecases.purse import Purse, read_purses
from ark_extensions.usecases.ssh_sessions import session_sentences
from ark_extensions.usecases.views import Sentence, WorkspaceView
from ark_extensions.usecases.why import why

_MOVE = update(t.workspaces).where(t.workspaces.c.id == bindparam("moved"))


class Keep:
    """The type of `KEEP`."""


#: an argument that is left out of a change
KEEP: Final = Keep()


def _rows(connection: Connection, *where: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Workspaces with their offer, image and open run."""
    w, o, r = t.workspaces, t.offers, t.runs
    query = (
        select(
            w,
            *(
                o.c[name]
                for name in ("plan", "vcpu", "memory_mib", "system_disk_gib", "gpu_model", "gpu_count", "gpu_memory_gib", "withdrawn_at")
            ),
            o.c.name.label("offer_name"),
            t.images.c.name.label("image_name"),
            r.c.opened_at,
            r.c.seen_at,
            r.c.charged_micros,
            r.c.price_micros_per_hour.label("run_price"),
        )
        .join(o, o.c.id == w.c.offer_id)
        .join(t.images, t.images.c.id == w.c.image_id)
        .outerjoin(r, (r.c.workspace_id == w.c.id) & r.c.closed_at.is_(None))
        .where(*where)
        .order_by(w.c.created_at.desc(), w.c.id)
    )
    return connection.execute(query).all()


def views(connection: Connection, now: datetime, *where: ColumnElement[bool]) -> list[WorkspaceView]:
    """Newest first, in a fixed number of queries whatever the number of workspaces."""
    rows = _rows(connection, *where)
    w = t.workspaces
    chosen = select(w.c.id).where(*where)
    charged = {
        r.workspace_id: int(r.total)  # PostgreSQL adds whole numbers up to a decimal
        for r in connection.execute(
            select(t.runs.c.workspace_id, func.sum(t.runs.c.charged_micros).label("total"))
            .where(t.runs.c.workspace_id.in_(chosen))
            .group_by(t.runs.c.workspace_id)
        )
    }
    mounts: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for m in connection.execute(
        select(t.workspace_mounts).where(t.workspace_mounts.c.workspace_id.in_(chosen)).order_by(t.workspace_mounts.c.name)
    ):
        mounts.setdefault((m.workspace_id, m.kind), []).append((m.name, m.version))
    newest = select(t.events.c.workspace_id, func.max(t.events.c.id).label("id")).where(t.events.c.workspace_id.in_(chosen))
    cursors = {r.workspace_id: r.id for r in connection.execute(newest.group_by(t.events.c.workspace_id))}
    current = prices(connection, sorted({f"offer:{row.offer_id}" for row in rows}))
    purses = read_purses(connection, sorted({row.owner for row in rows}), now)
    offers = {id: _offer(row) for id, row in {row.offer_id: row for row in rows}.items()}
    found = [_view(row, offers[row.offer_id], charged, mounts, cursors, current, purses[row.owner], now) for row in rows]
    by_ssh = session_sentences(connection, now, chosen)
    return [replace(view, why=(*view.why, by_ssh[view.id])) if view.id in by_ssh else view for view in found]


def _offer(row: Row[Any]) -> Offer:
    return replace(offer_of(row), id=row.offer_id, name=row.offer_name)


def _view(
    row: Row[Any], offer: Offer, charged: dict[str, int], mounts: Any, cursors: Any, current: Any, purse: Purse, now: datetime
) -> WorkspaceView:
    run_cost = cost_micros(row.run_price, row.opened_at, min(row.seen_at, now)) if row.opened_at is not None else 0
    total = charged.get(row.id, 0) + row.disk_charged_micros + max(run_cost - (row.charged_micros or 0), 0)
    price = price_at(current.get(f"offer:{row.offer_id}", ()), now)
    return WorkspaceView(
        id=row.id,
        owner=row.owner,
        name=row.name,
        display_name=row.display_name,
        state=State(row.state),
        offer=offer,
        price_micros_per_hour=row.run_price if row.run_price is not None else (price.price_micros if price and row.asset_id is None else 0),
        image_id=row.image_id,
        image_name=row.image_name,
        data_disk_gib=row.data_disk_gib,
        datasets=tuple(mounts.get((row.id, "dataset"), ())),
        models=tuple(mounts.get((row.id, "model"), ())),
        auto_stop_at=_next_auto_stop(row, now),
        idle_stop_minutes=row.idle_stop_minutes,
        created_at=row.created_at,
        started_at=row.opened_at,
        seen_at=row.seen_at,
        cost_this_run_micros=run_cost,
        cost_total_micros=total,
        restorable_until=row.restorable_until,
        why=why(row, run_cost, purse, now),
        event_cursor=cursors.get(row.id, 0),
        asset_id=row.asset_id,
        budget_run_micros=row.budget_run_micros,
        budget_total_micros=row.budget_total_micros,
        disk_price_micros_per_day=row.disk_price_micros_per_day,
    )


def _next_auto_stop(row: Row[Any], now: datetime) -> datetime | None:
    """The moment at which it will stop; of one that does not run, a span that counts from the next start is no moment yet."""
    at: datetime | None = row.auto_stop_at
    counts_anew = row.auto_stop_after_minutes is not None or (at is not None and at <= now)
    return None if counts_anew and State(row.state) not in ACTIVE else at


def view_one(connection: Connection, where: ColumnElement[bool], now: datetime) -> WorkspaceView:
    return views(connection, now, where)[0]


def find(connection: Connection, owner: str, name: str) -> Row[Any]:
    """The live workspace of this owner and name (a released one until its disk is deleted); raises NotFound."""
    w = t.workspaces
    row = connection.execute(select(w).where(w.c.owner == owner, w.c.name == name, w.c.disk_deleted_at.is_(None))).first()
    if row is None:
        raise NotFound("There is no workspace {name}.", name=name[:60])
    return row


def set_state(connection: Connection, row: Row[Any], to: State, now: datetime, **values: Any) -> None:
    """Move a workspace; raises Conflict when that move is not in the table."""
    state = row.state if row.state == to else move(State(row.state), to)
    connection.execute(_MOVE, {"moved": row.id, "state": state, "state_since": now, **values})


def list_workspaces(storage: Storage, *, owner: str | None = None, now: datetime, include_released: bool = True) -> list[WorkspaceView]:
    """Newest first; released ones while they can be restored. ``owner`` None: everybody's."""
    where: list[ColumnElement[bool]] = [t.workspaces.c.disk_deleted_at.is_(None)]
    if owner is not None:
        where.append(t.workspaces.c.owner == owner)
    if not include_released:
        where.append(t.workspaces.c.state != State.RELEASED)
    with storage.read() as connection:
        return views(connection, now, *where)


def get_workspace(storage: Storage, *, owner: str, name: str, now: datetime) -> WorkspaceView:
    with storage.read() as connection:
        row = find(connection, owner, name)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def change_workspace(
    storage: Storage,
    *,
    owner: str,
    name: str,
    actor: str,
    now: datetime,
    display_name: str | Keep = KEEP,
    auto_stop_at: datetime | None | Keep = KEEP,
    idle_stop_minutes: int | None | Keep = KEEP,
    budget_run_micros: int | None | Keep = KEEP,
    budget_total_micros: int | None | Keep = KEEP,
) -> WorkspaceView:
    """Rename, set or cancel the stops; also while it runs."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state == State.RELEASED:
            raise Conflict("The workspace was released. Restore it first.", code="workspace_released")
        values: dict[str, Any] = {}
        if not isinstance(display_name, Keep):
            values["display_name"] = check_display_name(display_name)
        if not isinstance(auto_stop_at, Keep):
            values |= {"auto_stop_at": resolve_auto_stop(after_minutes=None, at=auto_stop_at, now=now), "auto_stop_after_minutes": None}
        if not isinstance(idle_stop_minutes, Keep):
            minutes = check_idle_minutes(idle_stop_minutes)
            running = row.state == State.RUNNING and minutes is not None
            values |= {"idle_stop_minutes": minutes, "idle_stop_at": now + timedelta(minutes=minutes or 0) if running else None}
        if not isinstance(budget_run_micros, Keep):
            values["budget_run_micros"] = check_budget(budget_run_micros)
        if not isinstance(budget_total_micros, Keep):
            values["budget_total_micros"] = check_budget(budget_total_micros)
        if values:
            connection.execute(update(t.workspaces).where(t.workspaces.c.id == row.id).values(**values))
        for message in _changes(values):
            emit(connection, workspace_id=row.id, owner=owner, at=now, kind="changed", message=message, actor=actor)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def _changes(values: dict[str, Any]) -> list[Sentence]:
    said = []
    if "display_name" in values:
        said.append(Sentence("Renamed to “{name}”.", {"name": values["display_name"]}))
    if "auto_stop_at" in values:
        at = values["auto_stop_at"]
        said.append(Sentence("Auto-stop set to {stop_at}.", {"stop_at": at.isoformat()}) if at else Sentence("Auto-stop cancelled."))
    if "idle_stop_minutes" in values:
        minutes = values["idle_stop_minutes"]
        on = Sentence("It stops after {minutes} minutes without work.", {"minutes": minutes})
        said.append(on if minutes else Sentence("Idle stop switched off."))
    if "budget_run_micros" in values or "budget_total_micros" in values:
        limits = [m for m in (values.get("budget_run_micros"), values.get("budget_total_micros")) if m]
        set_to = Sentence("Its budget is {budget_micros}: it stops when it has cost that much.", {"budget_micros": min(limits, default=0)})
        said.append(set_to if limits else Sentence("Its budget was removed."))
    return said


def check_budget(micros: int | None) -> int | None:
    """A budget above zero and not absurd, or None; raises InvalidField."""
    if micros is not None and not 0 < micros <= MAX_AMOUNT_MICROS:
        raise InvalidField("A budget is above 0 and at most 100,000,000.", field="budget")
    return micros


def grow_disk(storage: Storage, *, owner: str, name: str, size_gib: int, actor: str, now: datetime) -> WorkspaceView:
    """A bigger data disk, at today's price from now on; a disk never shrinks. The wallet has to hold its first day."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state == State.RELEASED:
            raise Conflict("The workspace was released. Restore it first.", code="workspace_released")
        on_sale = connection.execute(select(t.disks).where(t.disks.c.size_gib == size_gib, t.disks.c.withdrawn_at.is_(None))).first()
        price = price_at(prices(connection, [f"disk:{size_gib}"]).get(f"disk:{size_gib}", ()), now)
        if on_sale is None or price is None:
            raise InvalidField("This data disk size is not offered. Choose one from the list.", field="data_disk_gib")
        if size_gib <= row.data_disk_gib:
            raise InvalidField("A data disk can only grow: choose more than {gib} GiB.", field="data_disk_gib", gib=row.data_disk_gib)
        require_first_day(connection, owner, price.price_micros, now)
        settle_disk(connection, row, now)
        settled = connection.execute(select(t.workspaces).where(t.workspaces.c.id == row.id)).one()
        disk = {"data_disk_gib": size_gib, "disk_price_version_id": price.id, "disk_price_micros_per_day": price.price_micros}
        begun = {"disk_since": _charged_until(settled, now), "disk_charged_before_micros": settled.disk_charged_micros}
        connection.execute(update(t.workspaces).where(t.workspaces.c.id == row.id).values(**disk, **begun))
        message = Sentence("Its data disk has {gib} GiB now.", {"gib": size_gib})
        emit(connection, workspace_id=row.id, owner=owner, at=now, kind="changed", message=message, actor=actor)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def release_workspace(
    storage: Storage, *, owner: str, name: str, confirm: str, actor: str, now: datetime, recycle_days: int
) -> WorkspaceView:
    """Give a stopped workspace up; its data disk is deleted after ``recycle_days``. ``confirm`` repeats the name. Twice is once."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if confirm != name:
            raise InvalidField("Type the workspace's name, {name}, to release it.", field="confirm", name=name)
        if row.state == State.RELEASED:
            return view_one(connection, t.workspaces.c.id == row.id, now)
        until = now + timedelta(days=recycle_days)
        set_state(connection, row, State.RELEASED, now, released_at=now, restorable_until=until)
        settle_disk(connection, row, now)
        free_compute(connection, row.id)
        message = Sentence(
            "Released. Its data disk is deleted after {until_at}; until then it can be restored.", {"until_at": until.isoformat()}
        )
        emit(connection, workspace_id=row.id, owner=owner, at=now, kind="released", message=message, severity="warning", actor=actor)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def _charged_until(row: Row[Any], now: datetime) -> datetime:
    """From when a disk counts anew: now, or later where a clock that went back would charge the same time twice."""
    return max(now, row.disk_charged_until or now)


def restore_workspace(storage: Storage, *, owner: str, name: str, actor: str, now: datetime) -> WorkspaceView:
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state != State.RELEASED:
            raise Conflict("The workspace is not released.", code="not_released")
        disk = {"disk_since": _charged_until(row, now), "disk_charged_before_micros": row.disk_charged_micros}
        set_state(connection, row, State.STOPPED, now, released_at=None, restorable_until=None, **disk)
        message = Sentence("Restored. Its files are as they were.")
        emit(connection, workspace_id=row.id, owner=owner, at=now, kind="restored", message=message, actor=actor)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def record_activity(storage: Storage, *, owner: str, name: str, now: datetime) -> None:
    """It worked at ``now``: the idle deadline moves on."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state == State.RUNNING and row.idle_stop_minutes is not None:
            later = now + timedelta(minutes=row.idle_stop_minutes)
            connection.execute(update(t.workspaces).where(t.workspaces.c.id == row.id).values(idle_stop_at=later))
