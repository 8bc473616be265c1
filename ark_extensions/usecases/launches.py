"""Starts and stops: the gate that every start passes, and the runs that readiness opens and a stop closes.

``launch_id`` ties a report to one start: a late report of an older launch changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import Conflict, NotFound
from ark_extensions.domain.metering import cost_micros
from ark_extensions.domain.offers import Offer, price_at
from ark_extensions.domain.workspaces import LaunchSpec, Mount, State, require_startable
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.charges import settle_closed_run
from ark_extensions.usecases.compute import by_the_hour, by_the_month, compute_of, devices_of, free_compute, held, hold, reserve
from ark_extensions.usecases.events import PLATFORM, emit
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.market import offer_of, prices
from ark_extensions.usecases.views import Sentence, WorkspaceView
from ark_extensions.usecases.workspaces import find, set_state, view_one

#: a stop this soon after a sign of life was watched; after a longer silence nobody knows when it really ended
WATCHED_WITHIN = timedelta(seconds=30)
#: a beat for a workspace whose stop was recorded less than this ago is a late one, not a sign that it still runs
REOPEN_AFTER = timedelta(seconds=15)

STOPPED_BECAUSE: dict[str, str] = {
    StopReason.USER: "Stopped by {actor}.",
    StopReason.DEADLINE: "Stopped at its auto-stop time.",
    StopReason.IDLE: "Stopped after {minutes} minutes without work.",
    StopReason.WALLET: "Stopped: the wallet is empty. Recharge, then start it again; its files are kept.",
    StopReason.BUDGET: "Stopped: its budget is used up.",
    StopReason.TERM: "Stopped: its monthly compute has expired. Its files are kept.",
    StopReason.OPERATOR: "Stopped by the operator {actor}.",
    StopReason.SHUTDOWN: "Stopped because the platform was shut down.",
    StopReason.HUB: "Stopped from JupyterHub's own pages or API.",
    StopReason.EXITED: "It ended by itself, unexpectedly. Start it again; its files in /home/user are kept.",
    StopReason.LOST: "The platform found it no longer running. You are charged only up to the last moment it was seen.",
}
STOP_ORDERED: dict[str, str] = {
    StopReason.USER: "Stopping, as {actor} asked.",
    StopReason.DEADLINE: "Stopping: its auto-stop time has come.",
    StopReason.IDLE: "Stopping after {minutes} minutes without work.",
    StopReason.WALLET: "Stopping: the wallet is empty.",
    StopReason.BUDGET: "Stopping: its budget is used up.",
    StopReason.TERM: "Stopping: its monthly compute has expired.",
    StopReason.OPERATOR: "Stopping, as the operator {actor} asked.",
    StopReason.SHUTDOWN: "Stopping: the platform is shut down.",
}
STARTING = Sentence("Starting with {offer}.")
# What every start reads, made once: to put a statement together takes longer than SQLite needs for it.
_WORKSPACE = select(t.workspaces).where(t.workspaces.c.id == bindparam("id"))
_OPEN_RUN = select(t.runs).where(t.runs.c.workspace_id == bindparam("id"), t.runs.c.closed_at.is_(None))
#: with its open run, if it has one
_TO_BE_READY = (
    select(t.workspaces, t.runs.c.id.label("run_id"))
    .outerjoin(t.runs, (t.runs.c.workspace_id == t.workspaces.c.id) & t.runs.c.closed_at.is_(None))
    .where(t.workspaces.c.id == bindparam("id"))
)
_m, _v = t.workspace_mounts, t.catalog_versions
#: with all that a launch has from other tables, in one question; ``mounted``: whether it has datasets or models
_TO_LAUNCH = (
    select(
        t.workspaces,
        t.images.c.reference,
        t.users.c.language,
        select(_m.c.name).where(_m.c.workspace_id == t.workspaces.c.id).exists().label("mounted"),
    )
    .join(t.images, t.images.c.id == t.workspaces.c.image_id)
    .join(t.users, t.users.c.name == t.workspaces.c.owner)
    .where(t.workspaces.c.id == bindparam("id"))
)
_MOUNTS = (
    select(_m.c.kind, _m.c.name, _m.c.version, _v.c.content_hash)
    .join(_v, (_v.c.kind == _m.c.kind) & (_v.c.name == _m.c.name) & (_v.c.version == _m.c.version))
    .where(_m.c.workspace_id == bindparam("id"))
    .order_by(_m.c.kind, _m.c.name)
)
_BEGIN_RUN = t.runs.insert()
FAILED_START = Sentence("It did not start. Nothing is charged for the attempt.")


def _say(row: Row[Any], message: Sentence, now: datetime) -> dict[str, Any]:
    return {"workspace_id": row.id, "owner": row.owner, "at": now, "message": message}


def _by_id(connection: Connection, workspace_id: str) -> Row[Any] | None:
    return connection.execute(_WORKSPACE, {"id": workspace_id}).first()


def _open_run(connection: Connection, workspace_id: str) -> Row[Any] | None:
    return connection.execute(_OPEN_RUN, {"id": workspace_id}).first()


def _close_run(connection: Connection, row: Row[Any], end: datetime, reason: str, now: datetime) -> int:
    """Close and settle the open run, if there is one; returns what the whole run cost in micros."""
    run = _open_run(connection, row.id)
    if run is None:
        return 0
    end = max(run.opened_at, end, run.charged_until or run.opened_at)  # a clock that went back does not undo what was seen
    connection.execute(
        update(t.runs).where(t.runs.c.id == run.id).values(closed_at=end, seen_at=max(run.seen_at, end), close_reason=reason)
    )
    settle_closed_run(connection, connection.execute(select(t.runs).where(t.runs.c.id == run.id)).one(), now)
    return cost_micros(run.price_micros_per_hour, run.opened_at, end)


def authorize_launch(
    storage: Storage, *, owner: str, server_name: str, workspace_id: str, now: datetime, said: Sentence = STARTING
) -> LaunchSpec:
    """The gate: may this server start now, and as what? Called by the spawner on every start.

    Checks owner, name, state, offer, wallet and stock; takes the stock if it is not held; moves the workspace to starting
    under a new launch id. ``said``: what the runtime tells of a start, with ``{offer}``; the node's name is in the event's
    detail. Raises a domain error whose sentence the user reads.
    """
    with storage.write() as connection:
        row = connection.execute(_TO_LAUNCH, {"id": workspace_id}).first()
        if row is None or row.owner != owner or row.name != server_name:
            raise NotFound("This server is not one of your workspaces. Create a workspace in the marketplace.", code="unknown_workspace")
        if row.state == State.RELEASED:
            raise Conflict("The workspace was released. Restore it first, if its time has not passed.", code="workspace_released")
        compute = compute_of(connection, row, now)
        if row.state in (State.RUNNING, State.STOPPING):
            # the Hub starts it anew, so what ran before is gone
            run = _open_run(connection, row.id)
            _close_run(connection, row, run.seen_at if run else now, StopReason.LOST, now)
            free_compute(connection, row.id)
            set_state(connection, row, State.STOPPED, now)
            row = connection.execute(_TO_LAUNCH, {"id": workspace_id}).one()
        claim = hold(connection, row.id, owner, compute, now)
        launch_id = new_id()
        set_state(connection, row, State.STARTING, now, launch_id=launch_id, stop_reason=None, stop_actor=None)
        devices = devices_of(connection, claim.holder) if compute.offer.quantities.gpu_count else ()
        spec = _spec(connection, row, compute.offer, launch_id, claim.node, devices)
        message = Sentence(said.msgid, {"offer": compute.offer.name})
        detail = {
            "launch_id": launch_id,
            "node": claim.node,
            "gpu_devices": list(spec.gpu_devices),
            "price_version": compute.price_version_id,
        }
        emit(connection, **_say(row, message, now), kind="starting", actor=owner, detail=detail)
        return spec


def _spec(connection: Connection, row: Row[Any], offer: Offer, launch_id: str, node: str, devices: tuple[str, ...]) -> LaunchSpec:
    """``row`` is of `_TO_LAUNCH`."""
    found = connection.execute(_MOUNTS, {"id": row.id}).all() if row.mounted else ()
    return LaunchSpec(
        workspace_id=row.id,
        workspace_name=row.name,
        owner=row.owner,
        launch_id=launch_id,
        image_id=row.image_id,
        image_reference=row.reference,
        quantities=offer.quantities,
        gpu_devices=devices,
        data_disk_gib=row.data_disk_gib,
        mounts=tuple(Mount(r.kind, r.name, r.version, r.content_hash) for r in found),
        node=node,
        plan=offer.plan,
        language=row.language or "",
    )


def record_ready(storage: Storage, *, workspace_id: str, launch_id: str, now: datetime) -> None:
    """The server answers: pay-as-you-go begins. Twice the same report changes nothing."""
    with storage.write() as connection:
        row = connection.execute(_TO_BE_READY, {"id": workspace_id}).first()
        if row is None or row.launch_id != launch_id or row.state in (State.RUNNING, State.STOPPING, State.RELEASED):
            return
        _begin_run(connection, row, now, opened=row.run_id is not None)
        message = Sentence(
            "It is running. The start took {seconds} s.", {"seconds": max(round((now - row.state_since).total_seconds()), 0)}
        )
        emit(connection, **_say(row, message, now), kind="running")


def _begin_run(connection: Connection, row: Row[Any], now: datetime, *, opened: bool) -> None:
    """Open the run of the current launch at the price now, if it is not ``opened``, and set the deadlines that count from readiness."""
    if not opened:
        price = _running_price(connection, row, now)
        of = {"workspace_id": row.id, "owner": row.owner, "launch_id": row.launch_id, "offer_id": row.offer_id}
        priced = {"price_version_id": price[0], "price_micros_per_hour": price[1]}
        connection.execute(_BEGIN_RUN, {"id": new_id(), **of, **priced, "opened_at": now, "seen_at": now})
    auto_stop_at = row.auto_stop_at
    if row.auto_stop_after_minutes is not None:
        auto_stop_at = now + timedelta(minutes=row.auto_stop_after_minutes)
    elif auto_stop_at is not None and auto_stop_at <= now:
        auto_stop_at = None  # the time of an earlier run: a new start must not end at once
    idle_stop_at = now + timedelta(minutes=row.idle_stop_minutes) if row.idle_stop_minutes else None
    set_state(connection, row, State.RUNNING, now, auto_stop_at=auto_stop_at, idle_stop_at=idle_stop_at, warned=[])


def _running_price(connection: Connection, row: Row[Any], now: datetime) -> tuple[str, int]:
    """(price version, micros per hour) for a run that begins now, also of an offer withdrawn since the launch."""
    if row.asset_id is not None:
        terms = select(t.asset_terms.c.price_version_id).where(t.asset_terms.c.asset_id == row.asset_id)
        return connection.execute(terms.order_by(t.asset_terms.c.starts_at)).scalars().first() or "", 0
    price = price_at(prices(connection, [f"offer:{row.offer_id}"]).get(f"offer:{row.offer_id}", ()), now)
    if price is None:
        raise Conflict("This offer has no price.", code="no_price")
    return price.id, price.price_micros


def record_alive(storage: Storage, *, alive: Mapping[str, str], now: datetime) -> None:
    """The Hub saw these workspaces (id → launch id) answer at ``now``. One that the books call stopped is reopened."""
    if not alive:
        return
    with storage.write() as connection:
        r, w = t.runs, t.workspaces
        seen = update(r).where(r.c.workspace_id == bindparam("b_id"), r.c.launch_id == bindparam("b_launch"), r.c.closed_at.is_(None))
        rows = [{"b_id": workspace_id, "b_launch": launch_id} for workspace_id, launch_id in alive.items()]
        connection.execute(seen.where(r.c.seen_at < now).values(seen_at=now), rows)
        silent = select(w).where(w.c.id.in_(list(alive)), w.c.state.not_in([State.RUNNING, State.STOPPING, State.RELEASED]))
        for row in connection.execute(silent.where(w.c.state_since < now - REOPEN_AFTER)).all():
            if row.launch_id == alive[row.id]:
                if held(connection, row.asset_id or row.id) is None:
                    _reclaim(connection, row)
                _begin_run(connection, row, now, opened=_open_run(connection, row.id) is not None)
                message = Sentence("The platform found it running and counts it from now on.")
                emit(connection, **_say(row, message, now), kind="found", severity="warning")


def _reclaim(connection: Connection, row: Row[Any]) -> None:
    """Take the stock of a workspace that runs without holding it; when none is left it runs on all the same."""
    try:
        reserve(connection, row.id, offer_of(connection.execute(select(t.offers).where(t.offers.c.id == row.offer_id)).one()))
    except Conflict:
        pass


def record_stop(
    storage: Storage,
    *,
    workspace_id: str,
    launch_id: str | None,
    now: datetime,
    exit_code: int | None,
    was_ready: bool,
    reason: StopReason | None = None,
    cause: Sentence | None = None,
    detail: dict[str, Any] | None = None,
    not_after: datetime | None = None,
) -> None:
    """The server is gone: close and settle its run, free its stock, say why. A start that failed costs nothing.

    ``reason``: why, when nobody asked the platform for the stop (SHUTDOWN, HUB; default EXITED: it ended by itself).
    ``not_after``: it is known not to have run any more by then, though it was counted as seen.
    """
    with storage.write() as connection:
        row = _by_id(connection, workspace_id)
        if (
            row is None
            or (launch_id is not None and row.launch_id != launch_id)
            or row.state in (State.STOPPED, State.FAILED, State.RELEASED)
        ):
            return
        raw = {"exit_code": exit_code, "launch_id": row.launch_id, **(detail or {})}
        free_compute(connection, row.id)
        if not was_ready and _open_run(connection, row.id) is None and row.stop_reason is None:
            set_state(connection, row, State.FAILED, now)
            message = cause or FAILED_START
            emit(connection, **_say(row, message, now), kind="failed", severity="error", detail=raw)
            return
        why = row.stop_reason or reason or StopReason.EXITED
        end = _end_of_run(connection, row, why, now)
        _finish(connection, row, why, end if not_after is None else min(end, not_after), now, cause, raw)


def _end_of_run(connection: Connection, row: Row[Any], reason: str, now: datetime) -> datetime:
    """Now, where the platform watched the stop; else the last moment the run was seen alive: uncertainty bills less."""
    run = _open_run(connection, row.id)
    if run is None or (reason != StopReason.EXITED and now - run.seen_at <= WATCHED_WITHIN):
        return now
    seen_at: datetime = run.seen_at
    return seen_at


def _finish(
    connection: Connection, row: Row[Any], reason: str, end: datetime, now: datetime, cause: Sentence | None, raw: dict[str, Any]
) -> None:
    cost = _close_run(connection, row, end, reason, now)
    set_state(connection, row, State.STOPPED, now, stop_reason=None, stop_actor=None, idle_stop_at=None)
    params = {"actor": row.stop_actor or PLATFORM, "minutes": row.idle_stop_minutes or 0}
    unexpected = reason in (StopReason.EXITED, StopReason.LOST)
    said = cause if cause is not None and unexpected else Sentence(STOPPED_BECAUSE[reason], params)
    severity = "error" if reason == StopReason.EXITED else "warning" if unexpected or reason == StopReason.WALLET else "info"
    emit(
        connection,
        **_say(row, said, now),
        kind="stopped",
        severity=severity,
        actor=row.stop_actor or PLATFORM,
        detail={**raw, "reason": reason},
    )
    if cost:
        emit(connection, **_say(row, Sentence("This run cost {cost_micros}.", {"cost_micros": cost}), now), kind="charged", actor="billing")


def record_note(
    storage: Storage,
    *,
    workspace_id: str,
    kind: str,
    severity: str,
    message: Sentence,
    now: datetime,
    detail: dict[str, Any] | None = None,
    actor: str = PLATFORM,
) -> None:
    """An event that a spawner or loop has to tell."""
    with storage.write() as connection:
        row = _by_id(connection, workspace_id)
        if row is not None:
            emit(connection, **_say(row, message, now), kind=kind, severity=severity, actor=actor, detail=detail)


def request_start(
    storage: Storage, *, owner: str, name: str, offer: str | None = None, asset: str | None = None, actor: str, now: datetime
) -> WorkspaceView:
    """Accept a start, on other compute if one is named: checks and takes the stock now; the gate checks again."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        require_startable(State(row.state))
        if asset is not None:
            compute = by_the_month(connection, owner, asset, now)
        elif offer is not None:
            compute = by_the_hour(connection, offer, now)
        else:
            compute = compute_of(connection, row, now)
        chosen = {"offer_id": compute.offer.id, "asset_id": compute.asset_id}
        free_compute(connection, row.id)
        hold(connection, row.id, owner, compute, now)
        set_state(connection, row, State.STARTING, now, launch_id=None, stop_reason=None, stop_actor=None, **chosen)
        emit(connection, **_say(row, Sentence("Start asked for by {actor}.", {"actor": actor}), now), kind="start_requested", actor=actor)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def order_stop(connection: Connection, row: Row[Any], actor: str, reason: str, now: datetime) -> None:
    """Mark a workspace as stopping, with who and why, within the caller's transaction."""
    set_state(connection, row, State.STOPPING, now, stop_reason=reason, stop_actor=actor)
    params = {"actor": actor, "minutes": row.idle_stop_minutes or 0}
    emit(connection, **_say(row, Sentence(STOP_ORDERED[reason], params), now), kind="stopping", actor=actor, detail={"reason": reason})


def request_stop(storage: Storage, *, owner: str, name: str, actor: str, reason: StopReason, now: datetime) -> WorkspaceView:
    """Accept a stop of what starts or runs; the Hub does it. Raises Conflict for what does not run."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state == State.CREATING:
            raise Conflict("The workspace is being created.", code="workspace_creating")
        if row.state != State.STOPPING:
            order_stop(connection, row, actor, reason, now)
        return view_one(connection, t.workspaces.c.id == row.id, now)


def start_failed(storage: Storage, *, owner: str, name: str, message: Sentence, now: datetime) -> None:
    """The Hub refused the start or could not be reached: free the stock, say why. Nothing is charged."""
    with storage.write() as connection:
        row = find(connection, owner, name)
        if row.state in (State.CREATING, State.STARTING) and _open_run(connection, row.id) is None:
            free_compute(connection, row.id)
            set_state(connection, row, State.FAILED, now)
            emit(connection, **_say(row, message, now), kind="failed", severity="error")


def lose(connection: Connection, row: Row[Any], now: datetime) -> Sentence:
    """The Hub does not have it any more: close its run at the last moment it was seen."""
    run = _open_run(connection, row.id)
    free_compute(connection, row.id)
    reason = row.stop_reason or StopReason.LOST
    _finish(connection, row, reason, run.seen_at if run else now, now, None, {"found_by": "reconcile"})
    return Sentence(STOPPED_BECAUSE[StopReason.LOST])
