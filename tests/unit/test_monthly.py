"""Monthly compute: bought, reserved, used without hourly charge, renewed, reminded of, ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.assets import add_months, due_reminder
from ark_extensions.domain.errors import Conflict, InsufficientBalance, InvalidField, NotFound, SoldOut
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, launches, market, notices, orders, settlement, users, wallet, workspaces
from ark_extensions.usecases.views import WorkspaceOrder
from tests.unit.fresh import storage_with

T0 = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
SHAPE = {"vcpu": 2, "memory_mib": 1024, "system_disk_gib": 20, "gpu_model": "H200", "gpu_count": 1, "gpu_memory_gib": 140}
CATALOG = {
    "offers": [
        {"id": "hour", "name": "H200", "plan": "payg", "price": "20", "per": "hour", **SHAPE},
        {"id": "month", "name": "H200 monthly", "plan": "monthly", "price": "100", "per": "month", **SHAPE},
    ],
    "images": [{"id": "python-cpu", "name": "Python", "reference": "python-cpu"}],
}


def furnish(storage: Storage) -> None:
    """Fill an empty database with what these tests stand on."""
    market.set_nodes(storage, nodes=[Node("local", 4, 4096, (("0", "H200"),))])
    market.seed_catalog(storage, catalog=CATALOG, now=T0)
    for name in ("alice", "bob"):
        users.ensure_user(storage, name=name, admin=False, opening_credit_micros=1000 * MICROS, now=T0)


storage = storage_with(furnish)


def buy(storage: Storage, user: str = "alice", request_id: str = "a", months: int = 1, auto_renew: bool = False) -> assets.AssetView:
    return assets.buy_asset(storage, user=user, request_id=request_id, offer="month", months=months, auto_renew=auto_renew, now=T0)


def balance(storage: Storage, user: str = "alice", now: datetime = T0) -> int:
    return wallet.wallet(storage, user=user, now=now).balance_micros // MICROS


def order(asset: assets.AssetView, request_id: str = "w") -> WorkspaceOrder:
    return WorkspaceOrder(request_id=request_id, offer=None, image="python-cpu", asset=asset.id)


def test_a_term_is_charged_at_purchase_reserved_and_makes_no_workspace(storage: Storage) -> None:
    asset = buy(storage, months=2)
    assert buy(storage, months=2).id == asset.id
    assert (balance(storage), asset.expires_at, asset.used_by) == (800, datetime(2026, 3, 31, 8, tzinfo=UTC), None)
    assert workspaces.list_workspaces(storage, owner="alice", now=T0) == []
    assert [o.free for o in market.list_offers(storage, now=T0)] == [0, 0]
    with pytest.raises(SoldOut):
        buy(storage, user="bob")
    assert balance(storage, "bob") == 1000
    with pytest.raises(Conflict):
        buy(storage, months=3)


def test_a_workspace_on_it_is_not_charged_by_the_hour_and_holds_it_alone(storage: Storage) -> None:
    asset = buy(storage)
    view = orders.place_order(storage, user="alice", order=order(asset), now=T0)
    spec = launches.authorize_launch(storage, owner="alice", server_name=view.name, workspace_id=view.id, now=T0)
    assert spec.gpu_devices == ("0",)
    launches.record_ready(storage, workspace_id=view.id, launch_id=spec.launch_id, now=T0)
    later = T0 + timedelta(hours=10)
    launches.record_alive(storage, alive={view.id: spec.launch_id}, now=later)
    settlement.settle_usage(storage, now=later)
    assert balance(storage, now=later) == 900
    with pytest.raises(Conflict, match="uses this compute"):
        orders.place_order(storage, user="alice", order=order(asset, "w2"), now=later)
    launches.record_stop(storage, workspace_id=view.id, launch_id=spec.launch_id, now=later, exit_code=0, was_ready=True)
    assert [o.free for o in market.list_offers(storage, now=later)] == [0, 0]  # still the owner's
    assert assets.list_assets(storage, user="alice", now=later)[0].used_by == view.name
    second = orders.place_order(storage, user="alice", order=order(asset, "w2"), now=later)
    with pytest.raises(Conflict):
        launches.authorize_launch(storage, owner="alice", server_name=view.name, workspace_id=view.id, now=later)
    assert second.asset_id == asset.id


def test_another_users_or_an_invented_asset_is_refused_at_its_field(storage: Storage) -> None:
    asset = buy(storage)
    for wrong in (order(asset), replace(order(asset), asset="f" * 32)):
        with pytest.raises(InvalidField) as refused:
            orders.place_order(storage, user="bob", order=wrong, now=T0)
        assert refused.value.field == "asset"
    for both in (replace(order(asset), offer="hour"), replace(order(asset), asset=None)):
        with pytest.raises(InvalidField):
            orders.place_order(storage, user="alice", order=both, now=T0)
    with pytest.raises(NotFound):
        assets.renew_asset(storage, user="bob", asset_id=asset.id, request_id="r", months=1, now=T0)


@pytest.mark.parametrize("months", [0, -1, 13, 10**9])
def test_absurd_terms_are_refused(storage: Storage, months: int) -> None:
    with pytest.raises(InvalidField):
        buy(storage, months=months)
    assert balance(storage) == 1000


def test_a_wallet_that_cannot_pay_buys_nothing(storage: Storage) -> None:
    with pytest.raises(InsufficientBalance):
        buy(storage, months=11)
    assert assets.list_assets(storage, user="alice", now=T0) == []
    assert market.list_offers(storage, now=T0)[0].free == 1


def test_renewal_adds_months_at_the_price_now_and_once_per_request(storage: Storage) -> None:
    asset = buy(storage)
    market.seed_catalog(storage, catalog={"offers": [{**CATALOG["offers"][1], "price": "150"}]}, now=T0 + timedelta(days=1))
    for _ in range(2):
        now = T0 + timedelta(days=2)
        asset = assets.renew_asset(storage, user="alice", asset_id=asset.id, request_id="r1", months=1, now=now)
    assert (asset.expires_at, asset.paid_micros, balance(storage)) == (datetime(2026, 3, 31, 8, tzinfo=UTC), 250 * MICROS, 750)
    with pytest.raises(Conflict):
        assets.renew_asset(storage, user="alice", asset_id=asset.id, request_id="r2", months=1, now=asset.expires_at)


def test_reminders_come_once_each_at_seven_three_and_one_day(storage: Storage) -> None:
    asset = buy(storage)
    for hours in range(24 * 8, 0, -6):
        assets.run_terms(storage, now=asset.expires_at - timedelta(hours=hours))
    assert [n.kind for n in notices.list_notices(storage, owner="alice")] == ["term_ends"] * 3


def test_auto_renew_pays_a_day_before_and_a_poor_wallet_is_reminded_instead(storage: Storage) -> None:
    asset = buy(storage, auto_renew=True)
    for hours in (25, 24, 23, 1):
        assets.run_terms(storage, now=asset.expires_at - timedelta(hours=hours))
    [renewed] = assets.list_assets(storage, user="alice", now=T0)
    assert (renewed.expires_at, balance(storage)) == (datetime(2026, 3, 31, 8, tzinfo=UTC), 800)
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=100 * MICROS, now=T0)
    market.set_nodes(storage, nodes=[Node("local", 8, 8192, (("0", "H200"), ("1", "H200")))])
    poor = buy(storage, user="poor", auto_renew=True)
    assets.run_terms(storage, now=poor.expires_at - timedelta(hours=2))
    assert [n.kind for n in notices.list_notices(storage, owner="poor")] == ["term_ends"]


def test_at_its_end_the_workspace_stops_the_compute_is_free_and_the_files_stay(storage: Storage) -> None:
    asset = buy(storage)
    view = orders.place_order(storage, user="alice", order=order(asset), now=T0)
    spec = launches.authorize_launch(storage, owner="alice", server_name=view.name, workspace_id=view.id, now=T0)
    launches.record_ready(storage, workspace_id=view.id, launch_id=spec.launch_id, now=T0)
    over = asset.expires_at
    [stop] = assets.run_terms(storage, now=over)
    assert (stop.name, stop.reason) == (view.name, "term")
    launches.record_stop(storage, workspace_id=view.id, launch_id=spec.launch_id, now=over, exit_code=0, was_ready=True)
    assert assets.run_terms(storage, now=over + timedelta(seconds=5)) == []
    assert market.list_offers(storage, now=over)[0].free == 1
    kept = workspaces.get_workspace(storage, owner="alice", name=view.name, now=over)
    assert kept.state is State.STOPPED and kept.restorable_until is None
    with pytest.raises(Conflict, match="expired"):
        launches.request_start(storage, owner="alice", name=view.name, actor="alice", now=over)
    moved = launches.request_start(storage, owner="alice", name=view.name, offer="hour", actor="alice", now=over)
    assert (moved.asset_id, moved.offer.id) == (None, "hour")


@given(st.datetimes(datetime(2023, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC)), st.integers(1, 24), st.integers(1, 24))
def test_months_never_overflow_and_follow_one_another(start: datetime, first: int, second: int) -> None:
    assert start < add_months(start, first) < add_months(start, first + second)
    assert add_months(start, first).day <= start.day
    assert timedelta(days=28 * first) <= add_months(start, first) - start <= timedelta(days=31 * first)


def test_reminders_are_due_only_before_the_end() -> None:
    end = T0 + timedelta(days=30)
    assert due_reminder(end, end - timedelta(days=8), None) is None
    assert due_reminder(end, end - timedelta(days=2), 7) == 3
    assert due_reminder(end, end - timedelta(days=2), 3) is None
    assert due_reminder(end, end, None) is None
