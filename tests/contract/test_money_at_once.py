"""Many at once, on both databases: one order a key, the last one sold once, money for one buys one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ark_extensions.domain.errors import ArkError, Conflict, InsufficientBalance, SoldOut
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.domain.workspaces import LaunchSpec
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, books, launches, market, orders, recharges, settlement, stock, users, wallet
from ark_extensions.usecases.views import WorkspaceView
from tests import postgresql
from tests.unit.purse_stage import ORDER, T0, run, sqlite, stage

WORKERS = 12  # fewer than a storage has connections: on a busy machine the last in a queue for one would be turned away


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, server: postgresql.Server | None, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "postgresql" and server is None:
        pytest.skip(postgresql.missing() or "")
    storage = stage(server.database() if request.param == "postgresql" and server else sqlite(tmp_path))
    yield storage
    assert books.check_books(storage) == []
    storage.close()


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work(n)`` in threads; results, refusals among them."""

    def one(n: int) -> object:
        try:
            return work(n)
        except ArkError as refused:
            return refused

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, range(count)))


def test_the_same_key_100_times_is_one_order_and_another_body_is_refused(storage: Storage) -> None:
    same = at_once(100, lambda n: orders.place_order(storage, user="alice", order=ORDER, now=T0))
    assert len({view.id for view in same}) == 1  # type: ignore[attr-defined]
    changed = at_once(20, lambda n: orders.place_order(storage, user="alice", order=replace(ORDER, display_name=f"n{n}"), now=T0))
    assert all(isinstance(refused, Conflict) for refused in changed)


def test_the_same_purchase_and_recharge_100_times_are_one_each_and_another_body_is_refused(storage: Storage) -> None:
    about = {"user": "alice", "request_id": "a", "offer": "month", "auto_renew": False, "now": T0}
    bought = at_once(100, lambda n: assets.buy_asset(storage, **about, months=1 + n % 2))  # two bodies under one key, at once
    terms = {view.id for view in bought if isinstance(view, assets.AssetView)}
    assert len(terms) == 1 and sum(isinstance(refused, Conflict) for refused in bought) == 50
    [asset] = assets.list_assets(storage, user="alice", now=T0)
    renewed = at_once(100, lambda n: assets.renew_asset(storage, user="alice", asset_id=asset.id, request_id="r", months=1, now=T0))
    ends = {view.expires_at for view in renewed if isinstance(view, assets.AssetView)}
    assert len(ends) <= 1, "money for one renewal at most, and it is one"
    begun = {"user": "alice", "request_id": "p", "provider": "stripe", "now": T0}
    recharge = at_once(100, lambda n: recharges.begin_recharge(storage, **begun, amount_micros=(5 + n % 2) * MICROS))
    views = {view.id for view in recharge if isinstance(view, recharges.RechargeView)}
    assert len(views) == 1 and sum(isinstance(refused, Conflict) for refused in recharge) == 50


def test_a_payment_told_100_times_arrives_once(storage: Storage) -> None:
    view = recharges.begin_recharge(storage, user="alice", request_id="p", provider="stripe", amount_micros=5 * MICROS, now=T0)
    fact = {"provider": "stripe", "reference": "cs", "amount_micros": 5 * MICROS, "currency": "CNY", "own_currency": "CNY", "now": T0}
    told = at_once(100, lambda n: recharges.recharge_paid(storage, recharge_id=view.id, **fact))
    assert told.count(True) == 1
    assert wallet.wallet(storage, user="alice", now=T0).balance_micros == 105 * MICROS


def test_the_last_monthly_gpu_is_sold_to_one_of_many_buyers(storage: Storage) -> None:
    market.set_nodes(storage, nodes=[Node("local", 1, 512)])
    buyers = 1000
    for n in range(10):
        users.ensure_user(storage, name=f"u{n}", admin=False, opening_credit_micros=60 * MICROS, now=T0)

    def buy(n: int) -> object:
        return assets.buy_asset(storage, user=f"u{n % 10}", request_id=f"a{n}", offer="month", months=1, auto_renew=False, now=T0)

    results = at_once(buyers, buy)
    assert sum(isinstance(r, assets.AssetView) for r in results) == 1
    assert all(isinstance(r, (assets.AssetView, SoldOut, InsufficientBalance)) for r in results)
    assert sum(wallet.wallet(storage, user=f"u{n}", now=T0).balance_micros for n in range(10)) == 550 * MICROS


def test_the_last_gpu_by_the_hour_is_sold_once_while_the_stock_is_refreshed(storage: Storage) -> None:
    offer = {"id": "gpu", "name": "H200", "plan": "payg", "price": "1", "per": "hour", "vcpu": 1, "memory_mib": 512, "system_disk_gib": 9}
    market.seed_catalog(storage, catalog={"offers": [{**offer, "gpu_model": "H200", "gpu_count": 1, "gpu_memory_gib": 140}]}, now=T0)
    node = Node("gpu-1", 64, 65536, (("H200#0", "H200"),))
    stock.refresh_stock(storage, nodes=[node])

    def buy(n: int) -> object:
        if n % 50 == 7:
            return stock.refresh_stock(storage, nodes=[replace(node, memory_mib=65536 - n)])
        return orders.place_order(storage, user="alice", order=replace(ORDER, offer="gpu", request_id=f"g{n}"), now=T0)

    results = at_once(1021, buy)  # 21 of them refresh
    assert sum(isinstance(r, WorkspaceView) for r in results) == 1
    assert sum(isinstance(r, SoldOut) for r in results) == 999


def test_money_for_one_term_buys_one_of_a_hundred(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=50 * MICROS, now=T0)

    def buy(n: int) -> object:
        return assets.buy_asset(storage, user="poor", request_id=f"a{n}", offer="month", months=1, auto_renew=False, now=T0)

    results = at_once(100, buy)
    assert sum(isinstance(r, assets.AssetView) for r in results) == 1
    assert wallet.wallet(storage, user="poor", now=T0).balance_micros == 0


def test_money_for_one_hour_starts_one_of_a_hundred(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=3_600_000, now=T0)
    gates = []
    for n in range(100):
        view = orders.place_order(storage, user="poor", order=replace(ORDER, request_id=f"o{n}"), now=T0, max_workspaces=100)
        gate = {"owner": "poor", "server_name": view.name, "workspace_id": view.id, "now": T0}
        spec = launches.authorize_launch(storage, **gate)
        launches.record_stop(storage, workspace_id=view.id, launch_id=spec.launch_id, now=T0, exit_code=1, was_ready=False)
        gates.append(gate)
    started = at_once(100, lambda n: launches.authorize_launch(storage, **gates[n]))
    assert sum(isinstance(r, LaunchSpec) for r in started) == 1
    assert sum(isinstance(r, InsufficientBalance) for r in started) == 99
    refused = next(str(r) for r in started if isinstance(r, InsufficientBalance))
    assert "first hours of your other workspaces" in refused
    ordered = at_once(100, lambda n: orders.place_order(storage, user="poor", order=replace(ORDER, request_id=f"p{n}"), now=T0))
    assert not any(isinstance(r, WorkspaceView) for r in ordered)


def test_two_billing_services_at_once_charge_once(storage: Storage) -> None:
    for n in range(5):
        workspace_id, _, launch_id = run(storage, T0, replace(ORDER, request_id=f"r{n}"))
        launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + timedelta(hours=1))
    at_once(20, lambda n: settlement.settle_usage(storage, now=T0 + timedelta(hours=1)))
    assert wallet.wallet(storage, user="alice", now=T0 + timedelta(hours=1)).balance_micros == 100 * MICROS - 5 * 3_600_000


def test_one_start_of_a_workspace_takes_the_stock_once(storage: Storage) -> None:
    view = orders.place_order(storage, user="alice", order=ORDER, now=T0)
    gate = {"owner": "alice", "server_name": view.name, "workspace_id": view.id, "now": T0}
    at_once(20, lambda n: launches.authorize_launch(storage, **gate))
    assert market.list_offers(storage, now=T0)[0].free == 63
