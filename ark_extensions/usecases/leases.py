"""Leases: of several services that do the same work, one holds the lease and does it; when it falls silent another takes over.

Everything under a lease is idempotent as well, so a holder that was paused past its lease and wakes does no harm.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import leases


def take_lease(storage: Storage, *, name: str, holder: str, seconds: int, now: datetime) -> bool:
    """Take or prolong the lease; False while another holds it. A lease far in the future (a clock that jumped back) is void."""
    until = now + timedelta(seconds=seconds)
    with storage.write() as connection:
        row = connection.execute(select(leases).where(leases.c.name == name)).first()
        if row is None:
            connection.execute(leases.insert().values(name=name, holder=holder, until=until))
            return True
        if row.holder != holder and now < row.until <= now + timedelta(seconds=seconds):
            return False
        connection.execute(update(leases).where(leases.c.name == name).values(holder=holder, until=until))
        return True
