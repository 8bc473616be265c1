"""What WebDAV keeps beside files: locks and properties of clients' own invention, both by path.

Both survive a restart of the service. Locks are advice between clients (a workspace does not know them) and end by
themselves; properties follow a file that is moved or copied through the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from ark_extensions.domain.errors import ArkError, Conflict
from ark_extensions.domain.files import from_stored, is_inside, stored
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_netdisk import netdisk_locks, netdisk_properties

#: of all properties of one file, and of locks of one user
PROPERTIES_MAX = 100
LOCKS_MAX = 10_000


class Locked(ArkError):
    """Another client holds a lock (HTTP 423)."""

    code = "locked"


@dataclass(frozen=True)
class Lock:
    token: str
    owner: str
    path: str
    exclusive: bool
    whole_tree: bool
    note: str
    expires_at: datetime

    def covers(self, path: str) -> bool:
        return path == self.path or (self.whole_tree and is_inside(path, self.path))


def locks_at(storage: Storage, *, owner: str, path: str, below: bool, now: datetime) -> list[Lock]:
    """Live locks that cover ``path``; with ``below`` also those on anything in it."""
    c = netdisk_locks.c
    with storage.read() as connection:
        rows = connection.execute(select(netdisk_locks).where(c.owner == owner, c.expires_at > now))
        found = [Lock(**{**row._mapping, "path": from_stored(row.path)}) for row in rows]
    return [lock for lock in found if lock.covers(path) or (below and is_inside(lock.path, path))]


def take_lock(storage: Storage, *, lock: Lock, now: datetime) -> None:
    """Raises Locked when another lock stands against it."""
    c = netdisk_locks.c
    with storage.write() as connection:
        connection.execute(delete(netdisk_locks).where(c.owner == lock.owner, c.expires_at <= now))
        rows = connection.execute(select(netdisk_locks).where(c.owner == lock.owner)).all()
        if len(rows) >= LOCKS_MAX:
            raise Conflict("There are too many locks. They end by themselves; try again later.")
        for row in rows:
            other = Lock(**{**row._mapping, "path": from_stored(row.path)})
            touches = other.covers(lock.path) or (lock.whole_tree and is_inside(other.path, lock.path))
            if touches and (other.exclusive or lock.exclusive):
                raise Locked("Another program is working on this and has locked it.")
        connection.execute(netdisk_locks.insert().values(**{**vars(lock), "path": stored(lock.path)}))


def refresh_lock(storage: Storage, *, token: str, owner: str, expires_at: datetime) -> None:
    with storage.write() as connection:
        c = netdisk_locks.c
        connection.execute(update(netdisk_locks).where(c.token == token, c.owner == owner).values(expires_at=expires_at))


def release_lock(storage: Storage, *, token: str, owner: str) -> None:
    with storage.write() as connection:
        connection.execute(delete(netdisk_locks).where(netdisk_locks.c.token == token, netdisk_locks.c.owner == owner))


# properties


def _at_or_below(path: str) -> ColumnElement[bool]:
    column, begin = netdisk_properties.c.path, stored(path)
    # "0" is the character after "/": everything that begins with the folder's path and a slash
    return or_(column == begin, and_(column >= begin + "/", column < begin + "0"))


def properties_of(storage: Storage, *, owner: str, folder: str, with_children: bool) -> dict[str, dict[str, str]]:
    """path → name → XML, of ``folder`` itself and, if asked, of what is directly in it."""
    c = netdisk_properties.c
    place = _at_or_below(folder) if with_children and folder else c.path == stored(folder)
    if with_children and not folder:
        place = c.path != ""
    found: dict[str, dict[str, str]] = {}
    with storage.read() as connection:
        for row in connection.execute(select(netdisk_properties).where(c.owner == owner, place).limit(100_000)):
            found.setdefault(from_stored(row.path), {})[row.name] = row.value
    return found


def has_properties(storage: Storage, *, owner: str) -> bool:
    """Whether any file of the owner has one: most have none, and need not be asked."""
    with storage.read() as connection:
        return connection.execute(select(netdisk_properties.c.path).where(netdisk_properties.c.owner == owner).limit(1)).first() is not None


def change_properties(storage: Storage, *, owner: str, path: str, changes: Mapping[str, str | None]) -> None:
    """Set (XML) or remove (None) properties, all or none."""
    c, key = netdisk_properties.c, stored(path)
    with storage.write() as connection:
        for name, value in changes.items():
            connection.execute(delete(netdisk_properties).where(c.owner == owner, c.path == key, c.name == name))
            if value is not None:
                connection.execute(netdisk_properties.insert().values(owner=owner, path=key, name=name, value=value))
        count = connection.execute(select(func.count()).where(c.owner == owner, c.path == key)).scalar_one()
        if count > PROPERTIES_MAX:
            raise Conflict("A file has at most {count} properties.", count=PROPERTIES_MAX)


def follow_files(storage: Storage, *, owner: str, source: str, target: str | None, keep: bool) -> None:
    """After a move (``keep`` False), a copy (True) or a deletion (``target`` None): properties go with the files, locks on
    what is gone end. Costs one read when there are none."""
    p, locks = netdisk_properties.c, netdisk_locks.c
    with storage.read() as connection:
        any_property = connection.execute(select(p.path).where(p.owner == owner).limit(1)).first()
        held = connection.execute(select(locks.token, locks.path).where(locks.owner == owner)).all()
    ended = [] if keep else [row.token for row in held if is_inside(from_stored(row.path), source)]
    if any_property is None and not ended:
        return
    with storage.write() as connection:
        rows = connection.execute(select(netdisk_properties).where(p.owner == owner, _at_or_below(source))).all()
        if target is not None:
            connection.execute(delete(netdisk_properties).where(p.owner == owner, _at_or_below(target)))
        if not keep:
            connection.execute(delete(netdisk_properties).where(p.owner == owner, _at_or_below(source)))
            connection.execute(delete(netdisk_locks).where(locks.owner == owner, locks.token.in_(ended)))
        if target is not None and rows:
            begin, new = stored(source), stored(target)
            moved = [{"owner": owner, "path": new + row.path[len(begin) :], "name": row.name, "value": row.value} for row in rows]
            connection.execute(netdisk_properties.insert(), moved)
