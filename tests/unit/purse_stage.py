"""A small installation for tests of money: one node, two offers, a disk, two users."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import launches, market, orders, users
from ark_extensions.usecases.views import WorkspaceOrder
from tests.unit.fresh import fresh_database

T0 = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
SHAPE = {"vcpu": 1, "memory_mib": 512, "system_disk_gib": 20}
CATALOG = {
    "offers": [
        {"id": "cpu", "name": "CPU", "plan": "payg", "price": "3.60", "per": "hour", **SHAPE},
        {"id": "month", "name": "CPU monthly", "plan": "monthly", "price": "50", "per": "month", **SHAPE},
    ],
    "images": [{"id": "python-cpu", "name": "Python", "reference": "python-cpu"}],
    "disks": [{"size_gib": 200, "price": "2.40"}, {"size_gib": 500, "price": "4.80"}],
}
ORDER = WorkspaceOrder(request_id="r1", offer="cpu", image="python-cpu")


def stage(url: str, opening: int = 100 * MICROS) -> Storage:
    """A migrated database with the catalogue and the users alice and bob."""
    if not url.startswith("sqlite"):
        migrate(url)
    storage = Storage(url)
    furnish(storage, opening)
    return storage


def furnish(storage: Storage, opening: int) -> None:
    """The catalogue and the users, into an empty database."""
    market.set_nodes(storage, nodes=[Node("local", 64, 65_536)])
    market.seed_catalog(storage, catalog=CATALOG, now=T0)
    for name in ("alice", "bob"):
        users.ensure_user(storage, name=name, admin=False, opening_credit_micros=opening, now=T0)


def sqlite(path: Path) -> str:
    """A fresh database; `stage` finds its schema there."""
    return fresh_database(path)


def run(storage: Storage, now: datetime, order: WorkspaceOrder = ORDER, user: str = "alice") -> tuple[str, str, str]:
    """Order, pass the gate, become ready; (workspace id, name, launch id)."""
    view = orders.place_order(storage, user=user, order=order, now=now)
    spec = launches.authorize_launch(storage, owner=user, server_name=view.name, workspace_id=view.id, now=now)
    launches.record_ready(storage, workspace_id=view.id, launch_id=spec.launch_id, now=now)
    return view.id, view.name, spec.launch_id


def stop(storage: Storage, workspace_id: str, launch_id: str, now: datetime) -> None:
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=now)
    launches.record_stop(storage, workspace_id=workspace_id, launch_id=launch_id, now=now, exit_code=0, was_ready=True)
