"""The netdisk beyond its free space: charged once a day, on the mean or the maximum, never on what was not measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ark_extensions.storage import Storage
from ark_extensions.storage.tables_netdisk import netdisk_usage
from ark_extensions.usecases import bills, books, market, operator, users, wallet
from ark_extensions.usecases.netdisk_charges import charge_netdisks, measured_bytes, netdisk_price
from tests.unit.purse_stage import sqlite, stage

GIB = 1 << 30
DAY = datetime(2026, 11, 5, tzinfo=UTC)
MORNING_AFTER = DAY + timedelta(days=1, hours=1)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = stage(sqlite(tmp_path))
    market.seed_catalog(storage, catalog={"netdisk": {"price": "0.02"}}, now=DAY - timedelta(days=9))
    yield storage
    assert books.check_books(storage) == []
    storage.close()


def measure(storage: Storage, hours: dict[int, int], owner: str = "alice", day: datetime = DAY) -> None:
    rows = [
        {"owner": owner, "hour": day + timedelta(hours=h), "used_bytes": 0, "used_files": 1, "billable_bytes": b} for h, b in hours.items()
    ]
    with storage.write() as connection:
        connection.execute(netdisk_usage.insert(), rows)


def total(storage: Storage, user: str = "alice") -> int:
    return bills.bill(storage, user=user, month=MORNING_AFTER.date()).total_micros


@pytest.mark.parametrize(("rule", "micros"), [("mean", 20_000 * 12 * 100 // 24), ("max", 20_000 * 100)])
def test_a_day_is_charged_once_by_the_rule(storage: Storage, rule: str, micros: int) -> None:
    measure(storage, dict.fromkeys(range(12), 100 * GIB))
    for hours in (0, 1, 30):
        charge_netdisks(storage, rule=rule, now=MORNING_AFTER + timedelta(hours=hours))
    assert total(storage) == micros
    assert -sum(m.amount_micros for m in wallet.list_transactions(storage, user="alice").items if m.kind == "charge_netdisk") == micros


def test_today_is_not_charged_before_it_is_over(storage: Storage) -> None:
    measure(storage, {0: 100 * GIB})
    assert charge_netdisks(storage, rule="max", now=DAY + timedelta(hours=23, minutes=59)) == 0
    assert charge_netdisks(storage, rule="max", now=DAY + timedelta(days=1)) == 1


def test_what_is_free_costs_nothing_and_without_a_price_nothing_does(storage: Storage, tmp_path: Path) -> None:
    measure(storage, dict.fromkeys(range(24), 0))
    assert charge_netdisks(storage, rule="max", now=MORNING_AFTER) == 0
    (tmp_path / "other").mkdir()
    unpriced = stage(sqlite(tmp_path / "other"))
    measure(unpriced, {1: GIB})
    assert netdisk_price(unpriced, now=MORNING_AFTER) is None
    assert charge_netdisks(unpriced, rule="max", now=MORNING_AFTER) == 0
    unpriced.close()


def test_an_empty_wallet_is_asked_again_when_it_holds_something(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=0, now=DAY)
    measure(storage, dict.fromkeys(range(24), GIB), owner="poor")
    assert charge_netdisks(storage, rule="mean", now=MORNING_AFTER) == 0
    operator.credit(storage, user="poor", amount_micros=10**6, actor="r", reason="x", request_id="q", now=MORNING_AFTER)
    assert charge_netdisks(storage, rule="mean", now=MORNING_AFTER + timedelta(hours=1)) == 1
    assert total(storage, "poor") == 20_000


def test_unmeasured_hours_count_as_nothing() -> None:
    assert measured_bytes("mean", [24, 24]) == 2
    assert measured_bytes("max", [1, 7, 3]) == 7
    assert measured_bytes("max", []) == 0
