"""What the auto-stop service does: warn before a deadline, and order the stop when it has come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select, update

from ark_extensions.domain.autostop import WARNINGS, Deadline, Decision, StopReason, decide
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import runs, workspaces
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.launches import order_stop
from ark_extensions.usecases.views import Sentence, StopOrder
from ark_extensions.usecases.why import idle_since

WARN: dict[StopReason, str] = {
    StopReason.DEADLINE: "It stops in {minutes} min, at {stop_at}. Extend the auto-stop time to keep it running.",
    StopReason.IDLE: "It stops in {minutes} min, at {stop_at}, unless it works again.",
}


def due_stops(storage: Storage, *, now: datetime) -> list[StopOrder]:
    """Look only at workspaces with a deadline within the widest warning (one indexed query); warn each once, order what is due."""
    w, r = workspaces, runs
    horizon = now + max(WARNINGS)
    query = (
        select(w, r.c.opened_at)
        .join(r, (r.c.workspace_id == w.c.id) & r.c.closed_at.is_(None))
        .where(w.c.state == State.RUNNING, or_(w.c.auto_stop_at <= horizon, w.c.idle_stop_at <= horizon))
    )
    with storage.read() as connection:
        near = connection.execute(query).all()
    if not any(_decide(row, now) for row in near):
        return []
    orders = []
    with storage.write() as connection:
        for row in connection.execute(query).all():
            decision = _decide(row, now)
            if decision is None:
                continue
            if decision.stop is not None:
                order_stop(connection, row, "autostop", decision.stop, now)
                orders.append(StopOrder(row.id, row.owner, row.name, decision.stop))
            elif decision.warn is not None:
                reason, _, rest = decision.warn.partition(":")
                stop_at = rest.rpartition(":")[0]
                message = Sentence(WARN[StopReason(reason)], {"minutes": decision.minutes_left, "stop_at": stop_at})
                connection.execute(update(w).where(w.c.id == row.id).values(warned=[*row.warned, decision.warn][-10:]))
                about = {"workspace_id": row.id, "owner": row.owner, "at": now, "message": message}
                emit(connection, **about, kind="stop_soon", severity="warning", actor="autostop")
    return orders


def _decide(row: Row[Any], now: datetime) -> Decision | None:
    deadline = Deadline(row.id, row.opened_at, row.auto_stop_at, row.idle_stop_minutes, idle_since(row), frozenset(row.warned))
    decision = decide(deadline, now)
    return decision if decision.stop or decision.warn else None
