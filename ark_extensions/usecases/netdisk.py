"""The netdisk in the database: what each tree takes, uploads under way, the trash.

The files themselves are the netdisk service's; here is what must survive it. A row is written before the file it speaks of
and removed after it, so that what a crash leaves behind can always be found and cleared.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Row, Table, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.files import Limits, Usage, billable_bytes, from_stored, stored
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import workspaces
from ark_extensions.storage.tables_netdisk import netdisk_trash, netdisk_uploads, netdisk_usage, netdisks

#: a scan may take this part of the time, so that a large tree is measured less often than a small one
SCAN_SHARE = 10
SCAN_EVERY = timedelta(seconds=50)
EXACT_EVERY = timedelta(hours=20)
TRASH_AT_ONCE = 1000


@dataclass(frozen=True)
class NetdiskView:
    """``reserved``: what unfinished uploads have still to bring. ``usage`` holds trash and uploaded parts too."""

    owner: str
    usage: Usage
    reserved: Usage
    limits: Limits
    trash: Usage
    unfinished: Usage
    scanned_at: datetime | None


@dataclass(frozen=True)
class Upload:
    id: str
    owner: str
    path: str
    length: int
    durable_bytes: int
    boot_id: str
    on_conflict: str
    mtime: datetime | None
    checksum: str | None
    metadata: str
    created_at: datetime
    expires_at: datetime
    finished_path: str | None


@dataclass(frozen=True)
class TrashItem:
    id: str
    owner: str
    path: str
    folder: bool
    usage: Usage
    deleted_at: datetime
    expires_at: datetime


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def open_netdisk(storage: Storage, *, owner: str, now: datetime) -> bool:
    """Make sure that there is a row for the owner's tree; whether it is new (its usage is not known yet)."""
    with storage.write() as connection:
        row = _insert(connection, netdisks).values(owner=owner, used_bytes=0, used_files=0, scan_millis=0, touched_at=now)
        return connection.execute(row.on_conflict_do_nothing()).rowcount > 0


def netdisk_view(storage: Storage, *, owner: str, defaults: Limits) -> NetdiskView:
    """Everything about one netdisk for a page or a decision; zeros for one that was never opened."""
    with storage.read() as connection:
        row = connection.execute(select(netdisks).where(netdisks.c.owner == owner)).first()
        u, t = netdisk_uploads.c, netdisk_trash.c
        pending = select(func.count(), func.coalesce(func.sum(u.length), 0), func.coalesce(func.sum(u.durable_bytes), 0))
        count, length, durable = connection.execute(pending.where(u.owner == owner, u.finished_path.is_(None))).one()
        trashed = connection.execute(
            select(func.coalesce(func.sum(t.bytes), 0), func.coalesce(func.sum(t.files), 0)).where(t.owner == owner)
        ).one()
    limits = defaults
    if row is not None:
        limits = Limits(row.limit_bytes or defaults.bytes, row.limit_files or defaults.files, defaults.free_bytes)
    return NetdiskView(
        owner=owner,
        usage=Usage(row.used_bytes, row.used_files) if row is not None else Usage(0, 0),
        reserved=Usage(int(length) - int(durable), 0),
        limits=limits,
        trash=Usage(int(trashed[0]), int(trashed[1])),
        unfinished=Usage(int(durable), int(count)),
        scanned_at=row.scanned_at if row is not None else None,
    )


def add_usage(storage: Storage, *, changes: Mapping[str, Usage], now: datetime) -> None:
    """What the service itself added and took away since the last call, by owner; never below zero."""
    c = netdisks.c
    with storage.write() as connection:
        for owner, change in changes.items():
            size, files = c.used_bytes + change.bytes, c.used_files + change.files
            connection.execute(
                update(netdisks)
                .where(c.owner == owner)
                .values(
                    used_bytes=_at_least_zero(size), used_files=_at_least_zero(files), touched_at=now,
                )
            )  # fmt: skip


def _at_least_zero(value: ColumnElement[int]) -> ColumnElement[int]:
    return case((value < 0, 0), else_=value)


def record_scan(storage: Storage, *, owner: str, usage: Usage, meanwhile: Usage, took: timedelta, free_bytes: int, now: datetime) -> None:
    """An exact measure of the tree, plus what came while it was taken (seen or not: for limits it counts, for the hour's record,
    from which a charge is made, it does not)."""
    total = Usage(max(0, usage.bytes + meanwhile.bytes), max(0, usage.files + meanwhile.files))
    hour = now.replace(minute=0, second=0, microsecond=0)
    with storage.write() as connection:
        connection.execute(
            update(netdisks)
            .where(netdisks.c.owner == owner)
            .values(used_bytes=total.bytes, used_files=total.files, scanned_at=now, scan_millis=int(took.total_seconds() * 1000))
        )
        beyond = billable_bytes(usage.bytes, Limits(0, 0, free_bytes))
        values = {"used_bytes": usage.bytes, "used_files": usage.files, "billable_bytes": beyond}
        row = _insert(connection, netdisk_usage).values(owner=owner, hour=hour, **values)
        connection.execute(row.on_conflict_do_update(index_elements=["owner", "hour"], set_=values))


def record_hours(storage: Storage, *, defaults: Limits, now: datetime) -> int:
    """This hour's record of every tree that nobody has measured in it: what is known of it. → records made. Trees that were not
    measured for longer than a day are left out."""
    hour, n, u = now.replace(minute=0, second=0, microsecond=0), netdisks.c, netdisk_usage.c
    with storage.write() as connection:
        measured = select(u.owner).where(u.hour == hour)
        rows = connection.execute(select(netdisks).where(n.scanned_at >= now - timedelta(hours=26), n.owner.not_in(measured))).all()
        records = [
            {
                "owner": row.owner, "hour": hour, "used_bytes": row.used_bytes, "used_files": row.used_files,
                "billable_bytes": billable_bytes(row.used_bytes, defaults),
            }
            for row in rows
        ]  # fmt: skip
        if records:
            connection.execute(netdisk_usage.insert(), records)
    return len(records)


def due_scans(storage: Storage, *, now: datetime) -> list[tuple[str, int]]:
    """(owner, files) of trees to measure now: those in use (a workspace runs, or we changed something since the last
    time) every minute or as seldom as their size asks for, all others once a day, new ones at once."""
    w = workspaces.c
    with storage.read() as connection:
        in_use = {
            name for (name,) in connection.execute(select(w.owner).where(w.state.in_(("starting", "running", "stopping"))).distinct())
        }
        rows = connection.execute(select(netdisks)).all()
    due = []
    for row in rows:
        if row.scanned_at is None:
            due.append((row.owner, row.used_files))
            continue
        since = now - row.scanned_at
        pause = max(SCAN_EVERY, timedelta(milliseconds=row.scan_millis) * SCAN_SHARE)
        used = row.owner in in_use or row.touched_at > row.scanned_at
        if since >= EXACT_EVERY or (used and since >= pause):
            due.append((row.owner, row.used_files))
    return due


def touch_netdisk(storage: Storage, *, owner: str, now: datetime) -> None:
    """Ask for a measure soon."""
    with storage.write() as connection:
        connection.execute(update(netdisks).where(netdisks.c.owner == owner).values(touched_at=now))


def set_netdisk_limits(storage: Storage, *, owner: str, limit_bytes: int | None, limit_files: int | None) -> None:
    """Limits of one user instead of the installation's; None: the installation's again."""
    with storage.write() as connection:
        done = connection.execute(
            update(netdisks).where(netdisks.c.owner == owner).values(limit_bytes=limit_bytes, limit_files=limit_files)
        )
        if done.rowcount == 0:
            raise NotFound("{name} has no netdisk yet.", name=owner)


# uploads


def _upload(row: Row[tuple[object, ...]]) -> Upload:
    values = dict(row._mapping)
    finished = values["finished_path"]
    return Upload(**{**values, "path": from_stored(row.path), "finished_path": None if finished is None else from_stored(finished)})


def begin_upload(storage: Storage, *, upload: Upload) -> None:
    values = {**vars(upload), "path": stored(upload.path)}
    with storage.write() as connection:
        connection.execute(netdisk_uploads.insert().values(**values))


def get_upload(storage: Storage, *, owner: str, id: str) -> Upload:
    with storage.read() as connection:
        row = connection.execute(select(netdisk_uploads).where(netdisk_uploads.c.id == id, netdisk_uploads.c.owner == owner)).first()
    if row is None:
        raise NotFound("This upload is not known, or has expired. Begin it again.", code="no_upload")
    return _upload(row)


def list_uploads(storage: Storage, *, owner: str) -> list[Upload]:
    """Unfinished ones, newest first."""
    c = netdisk_uploads.c
    with storage.read() as connection:
        rows = connection.execute(
            select(netdisk_uploads).where(c.owner == owner, c.finished_path.is_(None)).order_by(c.created_at.desc()).limit(1000)
        )
        return [_upload(row) for row in rows]


def record_upload(storage: Storage, *, id: str, durable_bytes: int, boot_id: str, expires_at: datetime) -> None:
    """So many bytes are on disk for certain."""
    with storage.write() as connection:
        connection.execute(
            update(netdisk_uploads)
            .where(netdisk_uploads.c.id == id)
            .values(durable_bytes=durable_bytes, boot_id=boot_id, expires_at=expires_at)
        )


def finish_upload(storage: Storage, *, id: str, path: str, expires_at: datetime) -> None:
    """The file is in its place. The row stays for a while: the client may not have heard."""
    with storage.write() as connection:
        connection.execute(
            update(netdisk_uploads)
            .where(netdisk_uploads.c.id == id)
            .values(finished_path=stored(path), durable_bytes=netdisk_uploads.c.length, expires_at=expires_at)
        )


def drop_uploads(storage: Storage, *, ids: Sequence[str]) -> None:
    """Forget them; their staged bytes are gone already."""
    with storage.write() as connection:
        for start in range(0, len(ids), 500):
            connection.execute(delete(netdisk_uploads).where(netdisk_uploads.c.id.in_(ids[start : start + 500])))


def expired_uploads(storage: Storage, *, now: datetime) -> list[Upload]:
    with storage.read() as connection:
        rows = connection.execute(select(netdisk_uploads).where(netdisk_uploads.c.expires_at <= now).limit(1000))
        return [_upload(row) for row in rows]


# the trash


def _trashed(row: Row[tuple[object, ...]]) -> TrashItem:
    return TrashItem(row.id, row.owner, from_stored(row.path), row.folder, Usage(row.bytes, row.files), row.deleted_at, row.expires_at)


def note_trash(storage: Storage, *, owner: str, path: str, folder: bool, usage: Usage, now: datetime, days: int) -> TrashItem:
    """Before something is moved into the trash: where it was and until when it can be restored."""
    item = TrashItem(secrets.token_hex(16), owner, path, folder, usage, now, now + timedelta(days=days))
    with storage.write() as connection:
        connection.execute(
            netdisk_trash.insert().values(
                id=item.id, owner=owner, path=stored(path), folder=folder, bytes=usage.bytes, files=usage.files,
                deleted_at=now, expires_at=item.expires_at,
            )
        )  # fmt: skip
    return item


def get_trash(storage: Storage, *, owner: str, id: str) -> TrashItem:
    c = netdisk_trash.c
    with storage.read() as connection:
        row = connection.execute(select(netdisk_trash).where(c.id == id, c.owner == owner)).first()
    if row is None:
        raise NotFound("This is not in the trash any more.")
    return _trashed(row)


def list_trash(storage: Storage, *, owner: str | None, expired_by: datetime | None = None) -> list[TrashItem]:
    """Newest first; ``owner=None``: of all, for clearing what has expired."""
    c = netdisk_trash.c
    query = select(netdisk_trash).order_by(c.deleted_at.desc(), c.id).limit(TRASH_AT_ONCE)
    if owner is not None:
        query = query.where(c.owner == owner)
    if expired_by is not None:
        query = query.where(c.expires_at <= expired_by)
    with storage.read() as connection:
        return [_trashed(row) for row in connection.execute(query)]


def drop_trash(storage: Storage, *, id: str) -> None:
    """Forget an item: it is deleted or restored."""
    with storage.write() as connection:
        connection.execute(delete(netdisk_trash).where(netdisk_trash.c.id == id))
