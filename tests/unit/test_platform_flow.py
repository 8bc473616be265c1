"""The life of a workspace through the use cases, on a real SQLite file, with the time as an argument."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import ArkError, Conflict, InsufficientBalance, InvalidField, NotFound, SoldOut
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import (
    deadlines,
    events,
    launches,
    market,
    operator,
    orders,
    reconciliation,
    settlement,
    users,
    wallet,
    workspaces,
)
from ark_extensions.usecases.views import Sentence, WorkspaceOrder
from tests.unit.fresh import storage_with

T0 = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
CATALOG = {
    "offers": [
        {
            "id": "cpu",
            "name": "CPU · 1",
            "plan": "payg",
            "vcpu": 1,
            "memory_mib": 1024,
            "system_disk_gib": 20,
            "price": "3.60",
            "per": "hour",
        },
        {
            "id": "gpu",
            "name": "H200 · 1",
            "plan": "payg",
            "vcpu": 1,
            "memory_mib": 1024,
            "system_disk_gib": 20,
            "gpu_model": "H200",
            "gpu_count": 1,
            "gpu_memory_gib": 140,
            "price": "20",
            "per": "hour",
        },
    ],
    "images": [{"id": "python-cpu", "name": "Python", "reference": "python-cpu"}],
    "disks": [{"size_gib": 200, "price": "2.40"}],
}
ORDER = WorkspaceOrder(request_id="r1", offer="cpu", image="python-cpu")


def later(**span: float) -> datetime:
    return T0 + timedelta(**span)


def furnish(storage: Storage) -> None:
    """Fill an empty database with what these tests stand on."""
    market.set_nodes(storage, nodes=[Node("local", 4, 4096, (("0", "H200"), ("1", "H200")))])
    market.seed_catalog(storage, catalog=CATALOG, now=T0)
    for name in ("alice", "bob"):
        users.ensure_user(storage, name=name, admin=False, opening_credit_micros=100 * MICROS, now=T0)
    for kind, name in (("dataset", "digits"), ("model", "digits-mlp")):
        facts = {"title": name, "description": "", "license": "BSD", "content_hash": "a" * 64, "size_bytes": 10, "file_count": 1}
        market.add_item_version(storage, kind=kind, name=name, now=T0, **facts)


storage = storage_with(furnish)


def launch(storage: Storage, now: datetime, order: WorkspaceOrder = ORDER, user: str = "alice") -> tuple[str, str, str]:
    """Order, pass the gate, become ready; (workspace id, name, launch id)."""
    view = orders.place_order(storage, user=user, order=order, now=now)
    spec = launches.authorize_launch(storage, owner=user, server_name=view.name, workspace_id=view.id, now=now)
    launches.record_ready(storage, workspace_id=view.id, launch_id=spec.launch_id, now=now)
    return view.id, view.name, spec.launch_id


def stop(storage: Storage, workspace_id: str, launch_id: str, now: datetime, **more: object) -> None:
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=now)
    launches.record_stop(storage, workspace_id=workspace_id, launch_id=launch_id, now=now, exit_code=0, was_ready=True, **more)


def sentences(storage: Storage, name: str) -> list[str]:
    return [e.message.msgid for e in events.list_events(storage, owner="alice", name=name).items]


def state(storage: Storage, name: str, now: datetime = T0) -> State:
    return workspaces.get_workspace(storage, owner="alice", name=name, now=now).state


def test_a_run_is_charged_to_the_second_and_the_bill_says_so(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    launches.request_stop(storage, owner="alice", name=name, actor="alice", reason=StopReason.USER, now=later(minutes=30, seconds=1))
    stop(storage, workspace_id, launch_id, later(minutes=30, seconds=1))
    cost = 3_600_000 * 1801 // 3600
    assert wallet.wallet(storage, user="alice", now=later(hours=1)).balance_micros == 100 * MICROS - cost
    [run] = wallet.list_runs(storage, user="alice", month=T0.date(), now=later(hours=1))
    assert (run.seconds, run.cost_micros, run.close_reason) == (1801, cost, "user")
    view = workspaces.get_workspace(storage, owner="alice", name=name, now=later(hours=1))
    assert view.state is State.STOPPED and view.cost_total_micros == cost
    assert "Stopped by {actor}." in sentences(storage, name)


def test_a_start_tells_what_with_and_keeps_the_nodes_name_for_the_detail(storage: Storage) -> None:
    _, name, _ = launch(storage, T0)
    [event] = [e for e in events.list_events(storage, owner="alice", name=name).items if e.kind == "starting"]
    assert (event.message.msgid, dict(event.message.params)) == ("Starting with {offer}.", {"offer": "CPU · 1"})
    assert event.detail["node"] == "local"


def test_hourly_settlement_and_stop_charge_the_same_total_and_a_repeat_charges_nothing(storage: Storage) -> None:
    workspace_id, _, launch_id = launch(storage, T0)
    for minutes in (7, 13, 13, 59, 121):
        launches.record_alive(storage, alive={workspace_id: launch_id}, now=later(minutes=minutes))
        settlement.settle_usage(storage, now=later(minutes=minutes))
        assert settlement.settle_usage(storage, now=later(minutes=minutes)) == 0
    stop(storage, workspace_id, launch_id, later(minutes=121, seconds=7))
    assert (
        wallet.list_transactions(storage, user="alice").items[0].balance_after_micros == 100 * MICROS - 3_600_000 * (121 * 60 + 7) // 3600
    )


def test_only_what_was_seen_is_charged(storage: Storage) -> None:
    workspace_id, _, launch_id = launch(storage, T0)
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=later(minutes=10))
    settlement.settle_usage(storage, now=later(hours=5))
    assert wallet.wallet(storage, user="alice", now=later(hours=5)).balance_micros == 100 * MICROS - 600_000
    [suspect] = reconciliation.suspects(storage, now=later(hours=5))
    reconciliation.mend(storage, suspect=suspect, hub_state="absent", now=later(hours=5))
    [run] = wallet.list_runs(storage, user="alice", month=None, now=later(hours=5))
    assert run.closed_at == later(minutes=10) and run.close_reason == "lost"


def test_a_failed_start_costs_nothing_and_frees_the_stock(storage: Storage) -> None:
    view = orders.place_order(storage, user="alice", order=replace(ORDER, offer="gpu"), now=T0)
    spec = launches.authorize_launch(storage, owner="alice", server_name=view.name, workspace_id=view.id, now=T0)
    assert spec.gpu_devices == ("0",)
    failed = {"launch_id": spec.launch_id, "exit_code": 1, "was_ready": False, "cause": Sentence("No.")}
    launches.record_stop(storage, workspace_id=view.id, now=later(seconds=3), **failed)
    assert state(storage, view.name) is State.FAILED
    assert wallet.wallet(storage, user="alice", now=later(hours=1)).balance_micros == 100 * MICROS
    assert {o.offer.id: o.free for o in market.list_offers(storage, now=T0)} == {"cpu": 4, "gpu": 2}


def test_the_same_request_is_one_order_and_another_body_is_refused(storage: Storage) -> None:
    first = orders.place_order(storage, user="alice", order=ORDER, now=T0)
    assert orders.place_order(storage, user="alice", order=ORDER, now=later(seconds=1)).id == first.id
    with pytest.raises(Conflict):
        orders.place_order(storage, user="alice", order=replace(ORDER, image="other"), now=T0)
    assert orders.place_order(storage, user="bob", order=ORDER, now=T0).id != first.id


@pytest.mark.parametrize(
    ("change", "field", "error"),
    [
        ({"offer": "nothing"}, "offer", InvalidField),
        ({"image": "nothing"}, "image", InvalidField),
        ({"data_disk_gib": 300}, "data_disk_gib", InvalidField),
        ({"data_disk_gib": -1}, "data_disk_gib", InvalidField),
        ({"datasets": ("digits@7",)}, "datasets", InvalidField),
        ({"datasets": ("../etc",)}, "datasets", InvalidField),
        ({"models": ("digits",)}, "models", InvalidField),
        ({"datasets": ("digits", "digits@1")}, "datasets", InvalidField),
        ({"name": "Upper"}, "name", InvalidField),
        ({"name": "a" * 31}, "name", InvalidField),
        ({"display_name": "x" * 61}, "display_name", InvalidField),
        ({"auto_stop_at": T0 - timedelta(seconds=1)}, "auto_stop", InvalidField),
        ({"auto_stop_after_minutes": 10**7}, "auto_stop", InvalidField),
        ({"idle_stop_minutes": 1}, "idle_stop_minutes", InvalidField),
    ],
)
def test_bad_orders_are_refused_at_the_field_and_leave_nothing(storage: Storage, change: dict, field: str, error: type[ArkError]) -> None:
    with pytest.raises(error) as refused:
        orders.place_order(storage, user="alice", order=replace(ORDER, **change), now=T0)
    assert refused.value.field == field
    assert workspaces.list_workspaces(storage, owner="alice", now=T0) == []
    assert market.list_offers(storage, now=T0)[0].free == 4


def test_what_was_withdrawn_between_form_and_submit_is_refused(storage: Storage) -> None:
    for what, id, field in (("offer", "cpu", "offer"), ("image", "python-cpu", "image"), ("dataset", "digits", "datasets")):
        market.withdraw(storage, what=what, id=id, now=T0)
        with pytest.raises(InvalidField) as refused:
            orders.place_order(storage, user="alice", order=replace(ORDER, datasets=("digits",)), now=T0)
        assert refused.value.field == field
        market.seed_catalog(storage, catalog=CATALOG, now=T0)
        with storage.write() as connection:
            for table in ("offers", "images"):
                connection.exec_driver_sql(f"UPDATE {table} SET withdrawn_at = NULL")


def test_the_last_gpu_is_sold_once_and_named_devices_are_never_shared(storage: Storage) -> None:
    held = []
    for n in range(2):
        order = replace(ORDER, request_id=f"g{n}", offer="gpu")
        view = orders.place_order(storage, user="alice", order=order, now=T0)
        held += launches.authorize_launch(storage, owner="alice", server_name=view.name, workspace_id=view.id, now=T0).gpu_devices
    assert held == ["0", "1"]
    with pytest.raises(SoldOut):
        orders.place_order(storage, user="bob", order=replace(ORDER, offer="gpu"), now=T0)


def test_a_wallet_without_the_first_hour_is_refused_with_the_way_out(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=3_599_999, now=T0)
    with pytest.raises(InsufficientBalance) as refused:
        orders.place_order(storage, user="poor", order=ORDER, now=T0)
    assert "Recharge" in str(refused.value)
    operator.credit(storage, user="poor", amount_micros=1, actor="root", reason="gift", request_id="c1", now=T0)
    operator.credit(storage, user="poor", amount_micros=1, actor="root", reason="gift", request_id="c1", now=T0)
    assert wallet.wallet(storage, user="poor", now=T0).balance_micros == 3_600_000
    orders.place_order(storage, user="poor", order=ORDER, now=T0)


def test_a_first_hour_is_held_for_each_workspace_and_given_back_as_it_passes(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=2 * 3_600_000, now=T0)

    def held(now: datetime) -> tuple[int, int]:
        view = wallet.wallet(storage, user="poor", now=now)
        return view.held_micros, view.available_micros

    assert held(T0) == (0, 7_200_000)
    view = orders.place_order(storage, user="poor", order=replace(ORDER, request_id="h1"), now=T0)
    assert held(T0) == (3_600_000, 3_600_000)
    spec = launches.authorize_launch(storage, owner="poor", server_name=view.name, workspace_id=view.id, now=T0)
    launches.record_ready(storage, workspace_id=view.id, launch_id=spec.launch_id, now=T0)
    half = later(minutes=30)
    launches.record_alive(storage, alive={view.id: spec.launch_id}, now=half)
    assert held(half) == (1_800_000, 3_600_000), "what is used is no longer held"
    orders.place_order(storage, user="poor", order=replace(ORDER, request_id="h2"), now=half)
    assert held(half) == (5_400_000, 0)
    with pytest.raises(InsufficientBalance, match="first hours of your other workspaces"):
        orders.place_order(storage, user="poor", order=replace(ORDER, request_id="h3"), now=half)
    stop(storage, view.id, spec.launch_id, half)
    assert held(half) == (3_600_000, 1_800_000), "a stop gives back what was held"


@pytest.mark.parametrize(("owner", "server", "known"), [("bob", "ws1", True), ("alice", "ws2", True), ("alice", "ws1", False)])
def test_the_gate_refuses_foreign_renamed_and_invented_workspaces(storage: Storage, owner: str, server: str, known: bool) -> None:
    view = orders.place_order(storage, user="alice", order=ORDER, now=T0)
    with pytest.raises(NotFound):
        launches.authorize_launch(storage, owner=owner, server_name=server, workspace_id=view.id if known else "f" * 32, now=T0)
    assert state(storage, "ws1") is State.CREATING


def test_the_gate_refuses_a_released_workspace_and_a_restored_one_starts(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    with pytest.raises(Conflict):
        workspaces.release_workspace(storage, owner="alice", name=name, confirm=name, actor="alice", now=T0, recycle_days=7)
    stop(storage, workspace_id, launch_id, later(hours=1))
    with pytest.raises(InvalidField):
        workspaces.release_workspace(storage, owner="alice", name=name, confirm="other", actor="alice", now=T0, recycle_days=7)
    workspaces.release_workspace(storage, owner="alice", name=name, confirm=name, actor="alice", now=later(hours=1), recycle_days=7)
    again = {"confirm": name, "actor": "alice", "now": later(days=3), "recycle_days": 7}
    twice = workspaces.release_workspace(storage, owner="alice", name=name, **again)
    assert twice.restorable_until == later(days=7, hours=1), "a second press of the button changes nothing"
    said = events.list_events(storage, owner="alice", name=name).items
    assert [event.kind for event in said].count("released") == 1
    gate = {"owner": "alice", "server_name": name, "workspace_id": workspace_id}
    with pytest.raises(Conflict):
        launches.authorize_launch(storage, **gate, now=later(hours=2))
    assert reconciliation.expired_releases(storage, now=later(days=6)) == []
    assert reconciliation.expired_releases(storage, now=later(days=8)) == [workspace_id]
    workspaces.restore_workspace(storage, owner="alice", name=name, actor="alice", now=later(hours=2))
    launches.authorize_launch(storage, **gate, now=later(hours=2))


def test_late_reports_of_an_older_launch_change_nothing(storage: Storage) -> None:
    workspace_id, name, old = launch(storage, T0)
    stop(storage, workspace_id, old, later(hours=1))
    spec = launches.authorize_launch(storage, owner="alice", server_name=name, workspace_id=workspace_id, now=later(hours=2))
    launches.record_ready(storage, workspace_id=workspace_id, launch_id=old, now=later(hours=2))
    launches.record_stop(storage, workspace_id=workspace_id, launch_id=old, now=later(hours=2), exit_code=0, was_ready=True)
    assert state(storage, name) is State.STARTING
    launches.record_ready(storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=later(hours=2))
    launches.record_ready(storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=later(hours=3))
    runs = wallet.list_runs(storage, user="alice", month=None, now=later(hours=2))
    assert [run.opened_at for run in runs] == [later(hours=2), T0]


def test_a_server_that_runs_though_the_books_say_stopped_is_counted_from_now(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    stop(storage, workspace_id, launch_id, later(minutes=10))
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=later(minutes=10, seconds=5))
    assert state(storage, name) is State.STOPPED  # a late beat
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=later(minutes=20))
    assert state(storage, name) is State.RUNNING
    runs = wallet.list_runs(storage, user="alice", month=None, now=later(minutes=30))
    assert [(run.opened_at, run.closed_at) for run in runs] == [(later(minutes=20), None), (T0, later(minutes=10))]


def test_auto_stop_warns_twice_then_stops_and_can_be_extended(storage: Storage) -> None:
    _, name, _ = launch(storage, T0, replace(ORDER, auto_stop_after_minutes=60))
    assert deadlines.due_stops(storage, now=later(minutes=44)) == []
    for minute in (46, 47, 56, 57):
        assert deadlines.due_stops(storage, now=later(minutes=minute)) == []
    assert [e.kind for e in events.list_events(storage, owner="alice", name=name).items].count("stop_soon") == 2
    change = {"owner": "alice", "name": name, "actor": "alice", "now": later(minutes=58)}
    workspaces.change_workspace(storage, **change, auto_stop_at=later(minutes=118))
    assert deadlines.due_stops(storage, now=later(minutes=61)) == []
    [order] = deadlines.due_stops(storage, now=later(minutes=118))
    assert (order.name, order.reason) == (name, "deadline")
    assert state(storage, name) is State.STOPPING
    assert deadlines.due_stops(storage, now=later(minutes=119)) == []


def test_a_span_counts_anew_at_each_start_and_is_no_moment_in_between(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0, replace(ORDER, auto_stop_after_minutes=60))
    seen = {"owner": "alice", "name": name}
    assert workspaces.get_workspace(storage, **seen, now=T0).auto_stop_at == later(hours=1)
    stop(storage, workspace_id, launch_id, later(minutes=10))
    assert workspaces.get_workspace(storage, **seen, now=later(minutes=11)).auto_stop_at is None
    spec = launches.authorize_launch(storage, owner="alice", server_name=name, workspace_id=workspace_id, now=later(hours=2))
    launches.record_ready(storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=later(hours=2))
    assert workspaces.get_workspace(storage, **seen, now=later(hours=2)).auto_stop_at == later(hours=3)


def test_idle_stop_counts_from_the_last_work(storage: Storage) -> None:
    _, name, _ = launch(storage, T0, replace(ORDER, idle_stop_minutes=30))
    workspaces.record_activity(storage, owner="alice", name=name, now=later(minutes=20))
    assert deadlines.due_stops(storage, now=later(minutes=49)) == []
    [order] = deadlines.due_stops(storage, now=later(minutes=50))
    assert order.reason == "idle"


def test_an_empty_wallet_warns_before_it_stops_and_deletes_nothing(storage: Storage) -> None:
    users.ensure_user(storage, name="alice2", admin=False, opening_credit_micros=4 * MICROS, now=T0)
    workspace_id, name, launch_id = launch(storage, T0, user="alice2")
    assert settlement.watch_wallets(storage, now=T0) == []
    seen = {"alive": {workspace_id: launch_id}}
    launches.record_alive(storage, **seen, now=later(minutes=40))
    assert settlement.watch_wallets(storage, now=later(minutes=40)) == []
    settlement.watch_wallets(storage, now=later(minutes=41))
    kinds = [e.kind for e in events.list_events(storage, owner="alice2", name=name).items]
    assert kinds.count("wallet_low") == 2
    launches.record_alive(storage, **seen, now=later(minutes=67))
    [order] = settlement.watch_wallets(storage, now=later(minutes=67))
    assert (order.workspace_id, order.reason) == (workspace_id, "wallet")
    stop(storage, workspace_id, launch_id, later(minutes=67))
    view = workspaces.get_workspace(storage, owner="alice2", name=name, now=later(hours=2))
    assert view.state is State.STOPPED and view.restorable_until is None


def test_a_data_disk_costs_by_the_day_until_it_is_released(storage: Storage) -> None:
    order = replace(ORDER, data_disk_gib=200)
    shown = orders.quote(storage, user="alice", order=order, now=T0)
    assert (shown.per_hour_micros, shown.per_day_stopped_micros) == (3_600_000, 2_400_000)
    workspace_id, name, launch_id = launch(storage, T0, order)
    stop(storage, workspace_id, launch_id, later(hours=1))
    settlement.settle_usage(storage, now=later(days=1))
    assert wallet.wallet(storage, user="alice", now=later(days=1)).balance_micros == (100 * MICROS) - 3_600_000 - 2_400_000
    released = {"owner": "alice", "name": name, "actor": "alice"}
    workspaces.release_workspace(storage, **released, confirm=name, now=later(days=2), recycle_days=7)
    workspaces.restore_workspace(storage, **released, now=later(days=5))
    settlement.settle_usage(storage, now=later(days=6))
    assert wallet.wallet(storage, user="alice", now=later(days=6)).balance_micros == 100 * MICROS - 3_600_000 - 3 * 2_400_000


def test_a_start_that_was_interrupted_is_failed_and_frees_its_stock(storage: Storage) -> None:
    view = orders.place_order(storage, user="alice", order=ORDER, now=T0)
    assert reconciliation.suspects(storage, now=later(seconds=10)) == []
    [suspect] = reconciliation.suspects(storage, now=later(seconds=20))
    assert reconciliation.mend(storage, suspect=suspect, hub_state="pending_spawn", now=later(seconds=20)) is None
    assert reconciliation.mend(storage, suspect=suspect, hub_state="absent", now=later(seconds=20)) is not None
    assert state(storage, view.name) is State.FAILED
    assert market.list_offers(storage, now=T0)[0].free == 4


def test_a_price_change_leaves_the_running_run_at_its_price(storage: Storage) -> None:
    workspace_id, _, launch_id = launch(storage, T0)
    dearer = {"offers": [{**CATALOG["offers"][0], "price": "7.20"}]}
    market.seed_catalog(storage, catalog=dearer, now=later(minutes=5))
    assert market.list_offers(storage, now=later(minutes=6))[0].price_micros == 7_200_000
    stop(storage, workspace_id, launch_id, later(hours=1))
    [run] = wallet.list_runs(storage, user="alice", month=None, now=later(hours=1))
    assert run.cost_micros == 3_600_000


def test_amounts_are_whole_numbers_on_every_database(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    found = workspaces.get_workspace(storage, owner="alice", name=name, now=later(minutes=5))
    assert {type(found.cost_total_micros), type(found.cost_this_run_micros)} == {int}
