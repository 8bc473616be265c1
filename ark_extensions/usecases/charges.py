"""Charging what was used: round(cumulative cost) − already posted, keyed by what is charged and until when.

A retry posts nothing (the key is taken and ``charged`` is in the same transaction); rounding never drifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from ark_extensions.domain.ledger import Posting, charge, run_charge_key
from ark_extensions.domain.metering import cost_micros
from ark_extensions.storage.tables import runs, workspaces
from ark_extensions.usecases.journal import post
from ark_extensions.usecases.purse import disk_due

_SET_RUN = update(runs).where(runs.c.id == bindparam("b_id")).values(charged_micros=bindparam("b_charged"))
_SET_DISK = update(workspaces).where(workspaces.c.id == bindparam("b_id")).values(disk_charged_micros=bindparam("b_charged"))


def settle_runs(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> int:
    """Charge these runs up to the last moment they were seen alive (or their end); returns the number of postings."""
    postings: list[Posting] = []
    changes: list[dict[str, Any]] = []
    for row in rows:
        until = row.closed_at or min(row.seen_at, now)
        cost = cost_micros(row.price_micros_per_hour, row.opened_at, until)
        if cost > row.charged_micros:
            postings.append(
                charge(
                    key=run_charge_key(row.id, until),
                    user=row.owner,
                    amount_micros=cost - row.charged_micros,
                    at=now,
                    subject=f"run:{row.id}",
                )
            )
            changes.append({"b_id": row.id, "b_charged": cost})
    if changes:
        connection.execute(_SET_RUN, changes)
    return post(connection, postings)


def settle_disks(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> int:
    """Charge these workspaces' data disks up to ``now``; returns the number of postings."""
    postings: list[Posting] = []
    changes: list[dict[str, Any]] = []
    for row in rows:
        due = disk_due(row, now)
        if due > 0:
            key, subject = f"disk:{row.id}:{now.isoformat()}", f"disk:{row.id}"
            postings.append(charge(key=key, user=row.owner, amount_micros=due, at=now, subject=subject, kind="charge_disk"))
            changes.append({"b_id": row.id, "b_charged": row.disk_charged_micros + due})
    if changes:
        connection.execute(_SET_DISK, changes)
    return post(connection, postings)


def settle_disk(connection: Connection, row: Row[Any], now: datetime) -> None:
    settle_disks(connection, [row], now)
