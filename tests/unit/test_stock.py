"""Live stock: machines come, go and shrink under claims, and nothing is sold twice or lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.errors import SoldOut
from ark_extensions.domain.offers import Claim, Node, free_on, with_claimed_devices
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, launches, market, orders
from ark_extensions.usecases.stock import refresh_stock
from ark_extensions.usecases.views import WorkspaceOrder
from tests.unit import test_monthly as monthly
from tests.unit.fresh import storage_with
from tests.unit.test_monthly import T0, buy, order


def machine(name: str, gpus: int, vcpu: int = 8) -> Node:
    return Node(name, vcpu, 16384, tuple((f"H200#{n}", "H200") for n in range(gpus)))


def furnish(storage: Storage) -> None:
    monthly.furnish(storage)
    refresh_stock(storage, nodes=[machine("a", 2)])


storage = storage_with(furnish)


def free(storage: Storage) -> int:
    return market.list_offers(storage, now=T0)[0].free


def hourly(request_id: str) -> WorkspaceOrder:
    return WorkspaceOrder(request_id=request_id, offer="hour", image="python-cpu")


def test_a_machine_that_goes_sells_nothing_and_one_that_comes_sells_at_once(storage: Storage) -> None:
    assert free(storage) == 2
    assert refresh_stock(storage, nodes=[machine("a", 2), machine("b", 4)])
    assert free(storage) == 6
    assert not refresh_stock(storage, nodes=[machine("b", 4), machine("a", 2)]), "nothing changed"
    assert refresh_stock(storage, nodes=[])
    assert free(storage) == 0
    with pytest.raises(SoldOut):
        orders.place_order(storage, user="alice", order=hourly("r1"), now=T0)


def test_a_machine_that_shrinks_keeps_what_is_claimed_of_it(storage: Storage) -> None:
    refresh_stock(storage, nodes=[machine("a", 4)])
    views = [orders.place_order(storage, user="alice", order=hourly(f"r{n}"), now=T0) for n in range(3)]
    launches.start_failed(storage, owner="alice", name=views[0].name, message=launches.FAILED_START, now=T0)
    refresh_stock(storage, nodes=[machine("a", 2)])  # another program of the cluster took two
    assert free(storage) == 0, "two are left and two are claimed, whatever their numbers"
    refresh_stock(storage, nodes=[machine("a", 3)])
    assert free(storage) == 1


def test_monthly_compute_stays_reserved_and_follows_its_owner_to_another_machine(storage: Storage) -> None:
    asset = buy(storage)
    view = orders.place_order(storage, user="alice", order=order(asset), now=T0)
    gate = {"owner": "alice", "server_name": view.name, "workspace_id": view.id, "now": T0}
    assert launches.authorize_launch(storage, **gate).node == "a"
    refresh_stock(storage, nodes=[machine("b", 1)])
    assert free(storage) == 1, "on the new machine nothing is reserved yet: what was bought waits for the old one"
    spec = launches.authorize_launch(storage, **gate)
    assert (spec.node, spec.gpu_devices) == ("b", ("H200#0",))
    assert free(storage) == 0
    refresh_stock(storage, nodes=[machine("a", 2), machine("b", 1)])
    assert launches.authorize_launch(storage, **gate).node == "b", "it stays where it is while that machine is there"
    assert free(storage) == 2


def test_monthly_compute_without_a_machine_says_so_and_keeps_its_claim(storage: Storage) -> None:
    asset = buy(storage)
    refresh_stock(storage, nodes=[])
    with pytest.raises(SoldOut, match="The machine of this monthly compute is away") as refused:
        orders.place_order(storage, user="alice", order=order(asset), now=T0)
    assert refused.value.code == "machine_away"
    refresh_stock(storage, nodes=[machine("a", 2)])
    assert free(storage) == 1
    assert [a.id for a in assets.list_assets(storage, user="alice", now=T0)] == [asset.id]


def test_pay_as_you_go_starts_on_any_machine(storage: Storage) -> None:
    view = orders.place_order(storage, user="alice", order=hourly("r1"), now=T0)
    gate = {"owner": "alice", "server_name": view.name, "workspace_id": view.id, "now": T0}
    spec = launches.authorize_launch(storage, **gate)
    launches.record_stop(storage, workspace_id=view.id, launch_id=spec.launch_id, now=T0, exit_code=0, was_ready=False)
    refresh_stock(storage, nodes=[machine("b", 1)])
    assert launches.authorize_launch(storage, **gate).node == "b"


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 12)), unique=True, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_claimed_names_stay_and_the_rest_adds_up(claimed: list[tuple[str, int]], of_a: int, of_b: int) -> None:
    node = Node("n", 1, 1, tuple((f"{m}#{n}", m) for m, count in (("A", of_a), ("B", of_b)) for n in range(count)))
    claims = [Claim(f"h{n}", "n", 0, 0, (f"{model}#{number}",)) for n, (model, number) in enumerate(claimed)]
    named = with_claimed_devices(node, claims)
    assert len({device for device, _ in named.gpus}) == len(named.gpus)
    left = free_on(named, claims)
    for model, count in (("A", of_a), ("B", of_b)):
        held = sum(m == model for m, _ in claimed)
        assert sum(m == model for _, m in left.gpus) == (max(count - held, 0) if count else 0)
    assert with_claimed_devices(named, claims) == named
