"""A database with many running workspaces, written straight into the tables: what the looks and pages are measured on.

Only benches and tests use it: a product's row comes from a use case.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import insert

from ark_extensions.domain.ledger import recharge
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage, migrate, tables
from ark_extensions.usecases.journal import post_postings

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PRICE = "price-cpu-small"


@dataclass(frozen=True)
class Crowd:
    """``owners`` people with ``each`` running workspaces; ``auto_stop_at`` of all of them; run open since an hour."""

    owners: int
    each: int
    auto_stop_at: datetime | None = None
    idle_stop_minutes: int | None = None
    balance_micros: int = 100_000 * MICROS


@cache
def _migrated() -> bytes:
    """The file of an empty, migrated database; migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="ark-bench-") as directory:
        path = Path(directory) / "ark.sqlite"
        migrate(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return path.read_bytes()


@contextmanager
def fresh_storage() -> Iterator[Storage]:
    """An empty, migrated database in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ark-bench-") as directory:
        path = Path(directory) / "ark.sqlite"
        path.write_bytes(_migrated())
        storage = Storage(f"sqlite:///{path}")
        try:
            yield storage
        finally:
            storage.close()


def populate(storage: Storage, crowd: Crowd, *, now: datetime = NOON) -> None:
    """Write the crowd: users with money, one offer and image, workspaces that run."""
    names = [f"user{number:05d}" for number in range(crowd.owners)]
    opened = now - timedelta(hours=1)
    workspaces, runs, claims = [], [], []
    for name in names:
        for number in range(crowd.each):
            key = f"{name}-{number}"
            workspaces.append(_workspace(key, name, f"ws-{number}", crowd, opened))
            runs.append(_run(key, name, opened, now))
            claims.append({"holder": key, "node": "local", "vcpu": 1, "memory_mib": 1024})
    with storage.write() as connection:
        connection.execute(insert(tables.users), [{"name": n, "admin": False, "created_at": opened} for n in names])
        _catalogue(connection, opened)
        connection.execute(insert(tables.workspaces), workspaces)
        connection.execute(insert(tables.runs), runs)
        connection.execute(insert(tables.claims), claims)
    gifts = [recharge(key=f"opening:{n}", user=n, amount_micros=crowd.balance_micros, at=opened, actor="bench", memo="") for n in names]
    post_postings(storage, gifts)


def _catalogue(connection, opened: datetime) -> None:  # type: ignore[no-untyped-def]
    offer = {"id": "cpu-small", "name": "CPU small", "plan": "payg", "vcpu": 1, "memory_mib": 1024, "system_disk_gib": 20}
    price = {"id": PRICE, "subject": "offer:cpu-small", "per": "hour", "price_micros": MICROS, "valid_from": opened}
    image = {"id": "python-cpu", "name": "Python", "reference": "workspace"}
    node = {"name": "local", "vcpu": 1_000_000, "memory_mib": 1_000_000_000, "gpus": []}
    connection.execute(insert(tables.offers), [offer])
    connection.execute(insert(tables.price_versions), [price])
    connection.execute(insert(tables.images), [image])
    connection.execute(insert(tables.nodes), [node])


def _workspace(key: str, owner: str, name: str, crowd: Crowd, opened: datetime) -> dict[str, object]:
    idle_at = None if crowd.idle_stop_minutes is None else opened + timedelta(minutes=crowd.idle_stop_minutes)
    return {
        "id": key,
        "owner": owner,
        "name": name,
        "display_name": name,
        "state": "running",
        "state_since": opened,
        "offer_id": "cpu-small",
        "image_id": "python-cpu",
        "data_disk_gib": 0,
        "auto_stop_at": crowd.auto_stop_at,
        "idle_stop_minutes": crowd.idle_stop_minutes,
        "idle_stop_at": idle_at,
        "warned": [],
        "launch_id": f"launch-{key}",
        "created_at": opened,
        "disk_since": opened,
    }


def _run(key: str, owner: str, opened: datetime, seen: datetime) -> dict[str, object]:
    return {
        "id": f"run-{key}",
        "workspace_id": key,
        "owner": owner,
        "launch_id": f"launch-{key}",
        "offer_id": "cpu-small",
        "price_version_id": PRICE,
        "price_micros_per_hour": MICROS,
        "opened_at": opened,
        "seen_at": seen,
    }
