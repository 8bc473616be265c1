"""A person's list of workspaces, part by part: it costs what it shows, however many there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from ark_extensions.domain.listing import Listed, Part, Place, part
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.views import WorkspaceView
from ark_extensions.usecases.workspaces import views


@dataclass(frozen=True)
class WorkspacePart:
    """``names``: (name, display name) of all of them, for a choice; ``event_cursor``: the newest
    event of all, from which a stream goes on without a gap."""

    items: tuple[WorkspaceView, ...]
    part: Part
    names: tuple[tuple[str, str], ...]
    event_cursor: int

    @property
    def total(self) -> int:
        return len(self.names)


def list_part(
    storage: Storage, *, owner: str, now: datetime, search: str = "", group: str = "", after: Place | None = None, limit: int
) -> WorkspacePart:
    """Some of the owner's workspaces, in a fixed number of queries whatever their number."""
    w = t.workspaces
    query = (
        select(
            w.c.id, w.c.name, w.c.display_name, w.c.state, w.c.created_at, t.offers.c.name.label("offer"), t.images.c.name.label("image")
        )
        .join(t.offers, t.offers.c.id == w.c.offer_id)
        .join(t.images, t.images.c.id == w.c.image_id)
        .where(w.c.owner == owner, w.c.disk_deleted_at.is_(None))
        .order_by(w.c.created_at.desc(), w.c.id)
    )
    with storage.read() as connection:
        listed = [Listed(r.id, r.name, r.display_name, State(r.state), r.created_at, r.offer, r.image) for r in connection.execute(query)]
        found = part(listed, search=search, group=group, after=after, limit=limit)
        by_id = {view.id: view for view in views(connection, now, w.c.id.in_(found.ids))}
        cursor = connection.execute(select(func.max(t.events.c.id))).scalar() or 0
    items = tuple(by_id[id] for id in found.ids)
    return WorkspacePart(items, found, tuple((one.name, one.display_name) for one in listed), cursor)


def has_workspaces(storage: Storage, *, owner: str) -> bool:
    with storage.read() as connection:
        w = t.workspaces
        return connection.execute(select(w.c.id).where(w.c.owner == owner, w.c.disk_deleted_at.is_(None)).limit(1)).first() is not None


def stops_soon(storage: Storage, *, owner: str, now: datetime, within: timedelta) -> list[tuple[str, datetime]]:
    """(display name, when) of what runs and reaches its auto-stop time within that span, the soonest first."""
    w = t.workspaces
    query = select(w.c.display_name, w.c.auto_stop_at).where(
        w.c.owner == owner, w.c.state == State.RUNNING, w.c.auto_stop_at > now, w.c.auto_stop_at <= now + within
    )
    with storage.read() as connection:
        return [(r.display_name, r.auto_stop_at) for r in connection.execute(query.order_by(w.c.auto_stop_at))]
