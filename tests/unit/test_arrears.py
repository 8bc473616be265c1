"""What an empty wallet takes, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ark_extensions.domain.money import MICROS
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import arrears, settlement, users, workspaces
from tests.unit.fresh import storage_with
from tests.unit.purse_stage import ORDER, T0, furnish, run, stop

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
storage = storage_with(lambda storage: furnish(storage, 100 * MICROS))


def test_only_a_bought_disk_is_released_and_only_its_owners(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=10 * MICROS, now=T0)
    names = {}
    for owner, what, order in (
        ("poor", "bought", replace(ORDER, request_id="1", data_disk_gib=200)),
        ("poor", "free", replace(ORDER, request_id="2")),
        ("alice", "rich", replace(ORDER, request_id="3", data_disk_gib=200)),
    ):
        workspace_id, names[what], launch_id = run(storage, T0, order, user=owner)
        stop(storage, workspace_id, launch_id, T0 + HOUR)
    for day in range(20):
        settlement.settle_usage(storage, now=T0 + day * DAY)
        arrears.run_arrears(storage, keep_days=14, recycle_days=7, now=T0 + day * DAY)

    def state(owner: str, what: str) -> State:
        return workspaces.get_workspace(storage, owner=owner, name=names[what], now=T0 + 20 * DAY).state

    assert state("poor", "bought") is State.RELEASED
    assert state("poor", "free") is State.STOPPED, "what costs nothing stays"
    assert state("alice", "rich") is State.STOPPED, "whoever can pay keeps everything"
