"""What is, against what should be: find the workspaces in doubt from the database alone, and mend each from the Hub's word.

The Hub is asked only about suspects, never paged through. Uncertainty bills less: a run whose server is gone ends at the
last moment it was seen.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update

from ark_extensions.domain.workspaces import ACTIVE, State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.compute import free_compute
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.launches import lose
from ark_extensions.usecases.views import Sentence
from ark_extensions.usecases.workspaces import set_state

#: a running workspace not seen for this long is in doubt (the Hub's spawners report every few seconds)
UNSEEN_AFTER = timedelta(seconds=20)
#: a workspace that is between two states for this long is in doubt
UNSETTLED_AFTER = timedelta(seconds=15)

MACHINE_LOST = Sentence(
    "The machine {node}, on which it ran, does not answer any more. What ran is lost, its data disk is kept. "
    "You are charged only up to the last moment it was seen; start it again."
)
DISK_LOST = Sentence(
    "Its data disk is not in the cluster any more. The next start makes an empty one: ask an operator before you start it."
)
INTERRUPTED = Sentence("The start was interrupted. Nothing is charged; start it again.")


@dataclass(frozen=True)
class Suspect:
    workspace_id: str
    owner: str
    name: str
    state: State


def suspects(storage: Storage, *, now: datetime) -> list[Suspect]:
    """Workspaces that may not be as the books say."""
    w, r = t.workspaces, t.runs
    query = (
        select(w.c.id, w.c.owner, w.c.name, w.c.state)
        .outerjoin(r, (r.c.workspace_id == w.c.id) & r.c.closed_at.is_(None))
        .where(
            or_(
                and_(w.c.state == State.RUNNING, or_(r.c.seen_at.is_(None), r.c.seen_at < now - UNSEEN_AFTER)),
                and_(
                    w.c.state.in_([State.CREATING, State.STARTING, State.STOPPING]),
                    w.c.state_since < now - UNSETTLED_AFTER,
                ),
            )
        )
        .order_by(w.c.state_since)
    )
    with storage.read() as connection:
        return [Suspect(row.id, row.owner, row.name, State(row.state)) for row in connection.execute(query)]


def mend(storage: Storage, *, suspect: Suspect, hub_state: str, now: datetime) -> Sentence | None:
    """Make the books say what the Hub says (``absent``, ``stopped``, ``pending_spawn``, ``pending_stop``, ``ready``).

    Returns what was mended, None when nothing was. A server that is ready but should be stopping is left to the caller,
    who asks the Hub again to stop it.
    """
    gone = hub_state in ("absent", "stopped")
    with storage.write() as connection:
        row = connection.execute(select(t.workspaces).where(t.workspaces.c.id == suspect.workspace_id)).one()
        if row.state != suspect.state or not gone:
            return None
        if suspect.state in (State.RUNNING, State.STOPPING):
            return lose(connection, row, now)
        free_compute(connection, row.id)
        set_state(connection, row, State.FAILED, now)
        emit(connection, workspace_id=row.id, owner=row.owner, at=now, kind="failed", message=INTERRUPTED, severity="error")
        return INTERRUPTED


def expired_releases(storage: Storage, *, now: datetime) -> list[str]:
    """Released workspaces whose recycle period is over: their data disk may be deleted now."""
    w = t.workspaces
    over = select(w.c.id).where(w.c.state == State.RELEASED, w.c.disk_deleted_at.is_(None), w.c.restorable_until <= now)
    with storage.read() as connection:
        return list(connection.execute(over).scalars())


def disk_deleted(storage: Storage, *, workspace_id: str, now: datetime) -> None:
    """The data disk is gone: the workspace can no longer be restored and its name is free."""
    w = t.workspaces
    with storage.write() as connection:
        row = connection.execute(select(w).where(w.c.id == workspace_id)).one()
        if row.disk_deleted_at is None and row.state == State.RELEASED:
            connection.execute(update(w).where(w.c.id == workspace_id).values(disk_deleted_at=now))
            message = Sentence("The data disk was deleted after its recycle period.")
            emit(connection, workspace_id=row.id, owner=row.owner, at=now, kind="disk_deleted", message=message, severity="warning")


def knows_any(storage: Storage) -> bool:
    """Whether this database has ever known a workspace: a new one is not asked what may be deleted."""
    with storage.read() as connection:
        return connection.execute(select(t.workspaces.c.id).limit(1)).first() is not None


def active_ids(storage: Storage) -> set[str]:
    """Workspaces that hold compute."""
    with storage.read() as connection:
        return set(connection.execute(select(t.workspaces.c.id).where(t.workspaces.c.state.in_(ACTIVE))).scalars())


def known_disks(storage: Storage) -> dict[str, int]:
    """Workspaces that are not past their recycle period → GiB bought for the data disk (0: the small default)."""
    w = t.workspaces
    with storage.read() as connection:
        rows = connection.execute(select(w.c.id, w.c.data_disk_gib).where(w.c.disk_deleted_at.is_(None)))
        return {row.id: row.data_disk_gib for row in rows}


def machine_lost(storage: Storage, *, workspace_id: str, node: str, now: datetime) -> None:
    """Tell once a launch that the machine of a workspace is lost."""
    _tell_once(storage, workspace_id, "machine_lost", Sentence(MACHINE_LOST.msgid, {"node": node}), now)


def missing_disks(storage: Storage, *, present: Collection[str], now: datetime) -> list[str]:
    """Workspaces that ran once and rest, and whose data disk is not among those present: each is told once, and answered."""
    w, r = t.workspaces, t.runs
    ran = select(r.c.workspace_id).where(r.c.workspace_id == w.c.id).exists()
    rests = select(w.c.id).where(w.c.state.in_([State.STOPPED, State.FAILED]), w.c.disk_deleted_at.is_(None), ran)
    with storage.read() as connection:
        missing = [id_ for id_ in connection.execute(rests).scalars() if id_ not in present]
    return [id_ for id_ in missing if _tell_once(storage, id_, "disk_lost", DISK_LOST, now)]


def _tell_once(storage: Storage, workspace_id: str, kind: str, message: Sentence, now: datetime) -> bool:
    """An event unless the same kind was told since the workspace came into its present state."""
    e = t.events
    with storage.write() as connection:
        row = connection.execute(select(t.workspaces).where(t.workspaces.c.id == workspace_id)).first()
        if row is None:
            return False
        told = select(e.c.id).where(e.c.workspace_id == workspace_id, e.c.kind == kind, e.c.at >= row.state_since)
        if connection.execute(told).first() is not None:
            return False
        emit(connection, workspace_id=row.id, owner=row.owner, at=now, kind=kind, message=message, severity="error")
        return True
