"""One workspace's life from order to release, as it is on record: what an operator reads when somebody asks what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import bill_lines
from ark_extensions.storage.tables_ssh import ssh_sessions
from ark_extensions.usecases.views import Sentence


@dataclass(frozen=True)
class Step:
    """``source``: ``order``, ``event``, ``run``, ``bill`` or ``ssh``. ``said`` is None where the facts say it all."""

    at: datetime
    source: str
    kind: str
    said: Sentence | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class History:
    """``steps``: the oldest first. ``ids``: what the lines of the logs may call it by."""

    workspace_id: str
    owner: str
    name: str
    steps: tuple[Step, ...]
    ids: tuple[str, ...]


def history(storage: Storage, *, workspace: str) -> History:
    """``workspace``: its id, or ``owner/name`` (the newest of that name). Raises NotFound."""
    owner, _, name = workspace.rpartition("/")
    w = t.workspaces.c
    with storage.read() as connection:
        query = select(w.id, w.owner, w.name).where(or_(w.id == workspace, (w.owner == owner) & (w.name == name)))
        found = connection.execute(query.order_by(w.created_at.desc()).limit(1)).first()
        if found is None:
            raise NotFound("There is no workspace {name}.", name=workspace)
        steps = [*_ordered(connection, found.id), *_happened(connection, found.id), *_ran(connection, found.id)]
        steps += [*_billed(connection, found.id), *_connected(connection, found.id)]
    steps.sort(key=lambda step: step.at)
    launches = {str(step.facts["launch_id"]) for step in steps if step.facts.get("launch_id")}
    return History(found.id, found.owner, found.name, tuple(steps), (found.id, *sorted(launches)))


def _ordered(connection: Connection, workspace_id: str) -> list[Step]:
    rows = connection.execute(select(t.orders).where(t.orders.c.workspace_id == workspace_id))
    return [Step(r.created_at, "order", "placed", None, {"request_id": r.request_id, "price_version": r.price_version_id}) for r in rows]


def _happened(connection: Connection, workspace_id: str) -> list[Step]:
    rows = connection.execute(select(t.events).where(t.events.c.workspace_id == workspace_id).order_by(t.events.c.id))
    return [Step(r.at, "event", r.kind, Sentence(r.msgid, r.params), {"actor": r.actor, **(r.detail or {})}) for r in rows]


def _ran(connection: Connection, workspace_id: str) -> list[Step]:
    steps = []
    for r in connection.execute(select(t.runs).where(t.runs.c.workspace_id == workspace_id)):
        about = {"run": r.id, "launch_id": r.launch_id}
        steps.append(Step(r.opened_at, "run", "metered from", None, {**about, "micros_per_hour": r.price_micros_per_hour}))
        about |= {"charged_micros": r.charged_micros}
        if r.closed_at is None:
            steps.append(Step(r.seen_at, "run", "last seen alive", None, about))
        else:
            steps.append(Step(r.closed_at, "run", "metered until", None, {**about, "reason": r.close_reason}))
    return steps


def _billed(connection: Connection, workspace_id: str) -> list[Step]:
    b = bill_lines.c
    rows = connection.execute(select(bill_lines).where(b.workspace_id == workspace_id).order_by(b.at))
    return [
        Step(
            r.at,
            "bill",
            r.kind,
            None,
            {"key": r.key, "from": r.from_at, "until": r.until_at, "amount_micros": r.amount_micros, "price_version": r.price_version_id},
        )
        for r in rows
    ]


def _connected(connection: Connection, workspace_id: str) -> list[Step]:
    steps = []
    for r in connection.execute(select(ssh_sessions).where(ssh_sessions.c.workspace_id == workspace_id)):
        steps.append(Step(r.opened_at, "ssh", "session begins", None, {"session": r.id, "address": r.address, "key": r.fingerprint}))
        if r.closed_at is not None:
            steps.append(Step(r.closed_at, "ssh", "session ended", None, {"session": r.id}))
    return steps
