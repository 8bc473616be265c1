"""What an operator sees of the money: what was earned by offer and by day, and who owes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, bills, launches, settlement, users
from tests.unit.fresh import storage_with
from tests.unit.purse_stage import ORDER, T0, furnish, run, stop

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
storage = storage_with(lambda storage: furnish(storage, 100 * MICROS))


def test_revenue_is_told_by_offer_and_by_day_and_belongs_to_one_span(storage: Storage) -> None:
    assets.buy_asset(storage, user="alice", request_id="m", offer="month", months=1, auto_renew=False, now=T0)
    workspace_id, _, launch_id = run(storage, T0)
    stop(storage, workspace_id, launch_id, T0 + 2 * HOUR)
    workspace_id, _, launch_id = run(storage, T0 + DAY, replace(ORDER, request_id="b", data_disk_gib=200), user="bob")
    stop(storage, workspace_id, launch_id, T0 + DAY + HOUR)
    settlement.settle_usage(storage, now=T0 + 2 * DAY)

    found = bills.takings(storage, since=T0, until=T0 + 3 * DAY)
    assert dict(found.by_offer) == {"CPU monthly": 50 * MICROS, "CPU": 3 * 3_600_000, "charge_disk": 2_400_000}
    assert [amount for _, amount in found.by_offer] == sorted((amount for _, amount in found.by_offer), reverse=True)
    assert dict(found.by_day) == {
        T0.date(): 50 * MICROS + 2 * 3_600_000, (T0 + DAY).date(): 3_600_000, (T0 + 2 * DAY).date(): 2_400_000,
    }  # fmt: skip
    assert found.total_micros == sum(amount for _, amount in found.by_day)
    parts = [bills.takings(storage, since=T0 + n * DAY, until=T0 + (n + 1) * DAY).total_micros for n in range(3)]
    assert sum(parts) == found.total_micros and all(parts), "no charge is in two spans, and none in no span"


def test_who_owes_stands_with_the_deepest_first_and_nobody_else(storage: Storage) -> None:
    for name in ("deep", "shallow"):
        users.ensure_user(storage, name=name, admin=False, opening_credit_micros=4 * MICROS, now=T0)
    for name, hours in (("deep", 3), ("shallow", 2), ("alice", 2)):
        workspace_id, _, launch_id = run(storage, T0, replace(ORDER, request_id=name), user=name)
        launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + hours * HOUR)
    settlement.settle_usage(storage, now=T0 + 3 * HOUR)
    assert bills.receivables(storage).items == (("deep", 6_800_000), ("shallow", 3_200_000))
