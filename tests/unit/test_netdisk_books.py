"""The netdisk in the database: usage and its records, which trees are due for a scan, uploads, trash, locks, properties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select

from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.files import GIB, Limits, Usage
from ark_extensions.storage import Storage, tables, tables_netdisk
from ark_extensions.usecases import netdisk, netdisk_dav, netdisk_full, notices, users
from ark_extensions.usecases.events import list_events
from ark_extensions.usecases.netdisk import Upload
from ark_extensions.usecases.netdisk_dav import Lock, Locked
from ark_extensions.usecases.workspaces import list_workspaces
from bench.population import NOON, Crowd, fresh_storage, populate
from tests.unit.fresh import fresh_database

T0 = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
LIMITS = Limits(100 * GIB, 1000, 10 * GIB)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(fresh_database(tmp_path))
    for name in ("alice", "bob"):
        users.ensure_user(made, name=name, admin=False, opening_credit_micros=0, now=T0)
        assert netdisk.open_netdisk(made, owner=name, now=T0) and not netdisk.open_netdisk(made, owner=name, now=T0)
    yield made
    made.close()


def scan(storage: Storage, usage: Usage, at: datetime, seconds: float = 0.1, owner: str = "alice") -> None:
    took = timedelta(seconds=seconds)
    netdisk.record_scan(storage, owner=owner, usage=usage, meanwhile=Usage(0, 0), took=took, free_bytes=LIMITS.free_bytes, now=at)


def hours_of_alice(storage: Storage) -> Sequence[Row[Any]]:
    """Her records, from which the days are charged, the oldest first."""
    hours = tables_netdisk.netdisk_usage
    with storage.read() as connection:
        return connection.execute(select(hours).where(hours.c.owner == "alice").order_by(hours.c.hour)).all()


def test_usage_is_kept_and_recorded_by_the_hour(storage: Storage) -> None:
    netdisk.add_usage(storage, changes={"alice": Usage(5000, 3), "bob": Usage(-10, -10)}, now=T0)
    assert netdisk.netdisk_view(storage, owner="alice", defaults=LIMITS).usage == Usage(5000, 3)
    assert netdisk.netdisk_view(storage, owner="bob", defaults=LIMITS).usage == Usage(0, 0)
    scan(storage, Usage(11 * GIB, 7), T0)
    scan(storage, Usage(12 * GIB, 8), T0 + timedelta(minutes=20))
    scan(storage, Usage(9 * GIB, 8), T0 + timedelta(hours=2))
    assert [(r.hour.hour, r.used_bytes, r.billable_bytes) for r in hours_of_alice(storage)] == [(10, 12 * GIB, 2 * GIB), (12, 9 * GIB, 0)]


def test_every_hour_has_a_record_also_of_a_tree_that_rests(storage: Storage) -> None:
    scan(storage, Usage(12 * GIB, 8), T0)
    assert netdisk.record_hours(storage, defaults=LIMITS, now=T0 + timedelta(minutes=10)) == 0, "measured in this hour"
    for hours in (1, 2, 3):
        assert netdisk.record_hours(storage, defaults=LIMITS, now=T0 + timedelta(hours=hours)) == 1
        assert netdisk.record_hours(storage, defaults=LIMITS, now=T0 + timedelta(hours=hours, minutes=9)) == 0
    assert netdisk.record_hours(storage, defaults=LIMITS, now=T0 + timedelta(hours=30)) == 0, "too long ago to be sure"
    assert [r.billable_bytes for r in hours_of_alice(storage)] == [2 * GIB] * 4


def test_a_tree_in_use_is_measured_every_minute_and_every_tree_daily(storage: Storage) -> None:
    assert {owner for owner, _ in netdisk.due_scans(storage, now=T0)} == {"alice", "bob"}, "new ones at once"
    scan(storage, Usage(1, 1), T0)
    scan(storage, Usage(1, 1), T0, owner="bob")
    assert netdisk.due_scans(storage, now=T0 + timedelta(minutes=5)) == []
    netdisk.add_usage(storage, changes={"alice": Usage(1, 1)}, now=T0 + timedelta(seconds=10))
    assert netdisk.due_scans(storage, now=T0 + timedelta(seconds=30)) == []
    assert netdisk.due_scans(storage, now=T0 + timedelta(seconds=60)) == [("alice", 2)]
    scan(storage, Usage(2, 2), T0 + timedelta(seconds=60), seconds=20)
    netdisk.touch_netdisk(storage, owner="alice", now=T0 + timedelta(seconds=61))
    assert netdisk.due_scans(storage, now=T0 + timedelta(minutes=4)) == [], "a slow scan comes less often"
    assert netdisk.due_scans(storage, now=T0 + timedelta(minutes=5)) == [("alice", 2)]
    assert {owner for owner, _ in netdisk.due_scans(storage, now=T0 + timedelta(days=1))} == {"alice", "bob"}


def upload(id: str, path: str, owner: str = "alice") -> Upload:
    return Upload(id, owner, path, 100, 0, "boot", "refuse", None, None, "", T0, T0 + timedelta(days=1), None)


def test_uploads_reserve_expire_and_belong_to_somebody(storage: Storage) -> None:
    netdisk.begin_upload(storage, upload=upload("u1", "数据/\udcff%a"))
    netdisk.record_upload(storage, id="u1", durable_bytes=40, boot_id="boot2", expires_at=T0 + timedelta(days=2))
    found = netdisk.get_upload(storage, owner="alice", id="u1")
    assert (found.path, found.durable_bytes, found.boot_id) == ("数据/\udcff%a", 40, "boot2")
    assert netdisk.netdisk_view(storage, owner="alice", defaults=LIMITS).reserved.bytes == 60
    with pytest.raises(NotFound):
        netdisk.get_upload(storage, owner="bob", id="u1")
    netdisk.finish_upload(storage, id="u1", path="other", expires_at=T0 + timedelta(hours=1))
    assert netdisk.list_uploads(storage, owner="alice") == []
    assert [u.id for u in netdisk.expired_uploads(storage, now=T0 + timedelta(hours=2))] == ["u1"]
    netdisk.drop_uploads(storage, ids=["u1"])
    assert netdisk.expired_uploads(storage, now=T0 + timedelta(days=9)) == []


def test_the_trash(storage: Storage) -> None:
    item = netdisk.note_trash(storage, owner="alice", path="a/b", folder=False, usage=Usage(10, 1), now=T0, days=7)
    assert netdisk.get_trash(storage, owner="alice", id=item.id) == item
    with pytest.raises(NotFound):
        netdisk.get_trash(storage, owner="bob", id=item.id)
    assert netdisk.list_trash(storage, owner=None, expired_by=T0 + timedelta(days=6)) == []
    assert netdisk.list_trash(storage, owner=None, expired_by=T0 + timedelta(days=7)) == [item]
    netdisk.drop_trash(storage, id=item.id)
    assert netdisk.list_trash(storage, owner="alice") == []


def lock(token: str, path: str, *, exclusive: bool = True, whole: bool = False, seconds: int = 60) -> Lock:
    return Lock(token, "alice", path, exclusive, whole, "", T0 + timedelta(seconds=seconds))


def test_locks_stand_against_each_other_and_end(storage: Storage) -> None:
    netdisk_dav.take_lock(storage, lock=lock("1", "a", whole=True), now=T0)
    for path, whole in (("a", False), ("a/b", False), ("", True)):
        with pytest.raises(Locked):
            netdisk_dav.take_lock(storage, lock=lock("2", path, whole=whole), now=T0)
    netdisk_dav.take_lock(storage, lock=lock("3", "b", exclusive=False), now=T0)
    netdisk_dav.take_lock(storage, lock=lock("4", "b", exclusive=False), now=T0)
    assert len(netdisk_dav.locks_at(storage, owner="alice", path="", below=True, now=T0)) == 3
    netdisk_dav.take_lock(storage, lock=lock("5", "a"), now=T0 + timedelta(seconds=61))
    netdisk_dav.release_lock(storage, token="5", owner="alice")
    assert netdisk_dav.locks_at(storage, owner="alice", path="a", below=False, now=T0 + timedelta(seconds=62)) == []


def test_properties_go_with_files(storage: Storage) -> None:
    def of(folder: str) -> dict[str, dict[str, str]]:
        return netdisk_dav.properties_of(storage, owner="alice", folder=folder, with_children=True)

    for path in ("a", "a/x", "a0"):
        netdisk_dav.change_properties(storage, owner="alice", path=path, changes={"{u:}p": f"<p>{path}</p>"})
    netdisk_dav.follow_files(storage, owner="alice", source="a", target="z", keep=True)
    assert set(of("a")) == {"a", "a/x"} and set(of("z")) == {"z", "z/x"}
    netdisk_dav.follow_files(storage, owner="alice", source="a", target="y", keep=False)
    assert of("a") == {} and set(of("y")) == {"y", "y/x"} and set(of("a0")) == {"a0"}
    netdisk_dav.follow_files(storage, owner="alice", source="y", target=None, keep=False)
    assert of("y") == {}


def test_an_owner_hears_once_that_it_is_too_much_and_once_that_it_fits(storage: Storage) -> None:
    def told() -> list[str]:
        return [notice.message.msgid for notice in notices.list_notices(storage, owner="alice")]

    limits = Limits(100, 10, 0)
    state = False
    for minute, usage in enumerate((Usage(100, 10), Usage(101, 3), Usage(5000, 3), Usage(101, 3))):
        now = T0 + timedelta(minutes=minute)
        state = netdisk_full.tell_full(storage, owner="alice", usage=usage, limits=limits, told=state, now=now)
    assert state and told() == [netdisk_full.TOO_LARGE.msgid] and netdisk_full.is_told_full(storage, owner="alice")
    assert not netdisk_full.tell_full(storage, owner="alice", usage=Usage(99, 3), limits=limits, told=True, now=T0 + timedelta(hours=1))
    assert told() == [] and not netdisk_full.is_told_full(storage, owner="alice")
    assert netdisk_full.tell_full(storage, owner="alice", usage=Usage(1, 11), limits=limits, told=False, now=T0 + timedelta(hours=2))
    assert told() == [netdisk_full.TOO_MANY.msgid]
    assert notices.list_notices(storage, owner="bob") == []


def test_every_running_workspace_of_the_owner_has_it_among_its_events() -> None:
    """A workspace's page and its JupyterLab show its events: there its user looks while it writes."""
    limits = Limits(100, 10, 0)
    with fresh_storage() as storage:
        populate(storage, Crowd(owners=2, each=3), now=NOON)
        mine = [w for w in list_workspaces(storage, now=NOON) if w.owner == list_workspaces(storage, now=NOON)[0].owner]
        owner, resting = mine[0].owner, mine[0].name
        with storage.write() as connection:
            connection.execute(tables.workspaces.update().where(tables.workspaces.c.id == mine[0].id).values(state="stopped"))
        netdisk_full.tell_full(storage, owner=owner, usage=Usage(101, 3), limits=limits, told=False, now=NOON)

        def told(who: str | None) -> list[tuple[str, str, str]]:
            page = list_events(storage, owner=who)
            return sorted((e.workspace_name, e.severity, e.message.msgid) for e in page.items if e.kind == netdisk_full.KIND)

        others = sorted(w.name for w in mine if w.name != resting)
        assert told(None) == told(owner) == [(name, "warning", netdisk_full.TOO_LARGE.msgid) for name in others]
        assert "what a workspace writes is not stopped" in netdisk_full.TOO_LARGE.msgid
        netdisk_full.tell_full(storage, owner=owner, usage=Usage(99, 3), limits=limits, told=True, now=NOON)
        assert sorted(told(owner))[0] == (others[0], "info", netdisk_full.FITS_AGAIN.msgid)
