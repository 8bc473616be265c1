"""The reconciler over a cluster that misbehaves: orphan pods end, strange disks wait, lost machines are told, nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.cluster_api import Access, ClusterApi, ClusterError
from ark_extensions.domain.cluster import claim_name, labels, pod_name
from ark_extensions.nodes import ClusterMachines
from ark_extensions.reconcile.cluster import follow_stock, give_up_lost, tend_disks
from ark_extensions.reconcile.passes import clear_leftovers, empty_recycle_bin, mend_suspects
from ark_extensions.settings import Kubernetes
from ark_extensions.storage import Storage
from ark_extensions.usecases.events import list_events
from ark_extensions.usecases.workspaces import release_workspace
from ark_extensions.volumes.kubernetes import ClusterDisks
from bench.population import NOON, Crowd, fresh_storage
from tests.api_stand_in import StandIn, stand_in
from tests.unit.loop_stage import FailingHub, running_crowd
from tests.unit.test_nodes_kubernetes import ALLOCATABLE, READY

RULES = Kubernetes()
WEEK = timedelta(days=7)
LATER = NOON + timedelta(minutes=2)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as state:
        state.add("nodes", "a", status={"allocatable": ALLOCATABLE, "conditions": READY})
        yield state


@pytest.fixture
def storage() -> Iterator[Storage]:
    with running_crowd(Crowd(owners=1, each=2)) as storage:
        yield storage


@pytest.fixture
def disks(server: StandIn) -> ClusterDisks:
    return ClusterDisks(ClusterApi(Access(server.url, None, lambda: None), sleep=lambda seconds: None), RULES)


def marks(workspace_id: str) -> dict[str, str]:
    return labels("ark", workspace_id=workspace_id, owner="user00000")


def add_pod(server: StandIn, workspace_id: str, node: str = "a") -> None:
    server.add("pods", pod_name(workspace_id), labels=marks(workspace_id), spec={"nodeName": node})


def add_disk(server: StandIn, workspace_id: str, size: str = "10Gi", **more: Any) -> None:
    spec = {"resources": {"requests": {"storage": size}}}
    server.add("persistentvolumeclaims", claim_name(workspace_id), labels=more.pop("labels", marks(workspace_id)), spec=spec, **more)


def told(storage: Storage, kind: str) -> list[str]:
    found = []
    for name in ("ws-0", "ws-1"):
        events = list_events(storage, owner="user00000", name=name).items
        found += [event.message.msgid for event in events if event.kind == kind]
    return found


async def test_a_pod_without_a_workspace_is_ended_and_others_are_let_alone(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    for workspace_id in ("user00000-0", "user00000-1", "gone"):
        add_pod(server, workspace_id)
    server.add("pods", "stranger", labels={"app": "x"})
    server.add("pods", "two", labels={**marks("gone"), "ark/installation": "two"})
    assert await clear_leftovers(storage, disks) == "1 system disks left behind were removed."
    assert server.names("pods") == sorted(["stranger", "two", pod_name("user00000-0"), pod_name("user00000-1")])
    assert await clear_leftovers(storage, disks) is None


async def test_a_database_that_knows_nothing_ends_and_marks_nothing(server: StandIn, disks: ClusterDisks) -> None:
    add_pod(server, "user00000-0")
    add_disk(server, "user00000-0")
    with fresh_storage() as empty:
        assert await clear_leftovers(empty, disks) is None
        assert await tend_disks(empty, disks, recycle=WEEK, now=NOON) is None
    assert server.names("pods") and {call[0] for call in server.calls} == {"GET"}


async def test_a_disk_without_a_workspace_is_deleted_only_when_it_was_marked_for_the_recycle_period(
    server: StandIn, storage: Storage, disks: ClusterDisks
) -> None:
    add_disk(server, "gone")
    add_disk(server, "user00000-0")
    server.add("persistentvolumeclaims", "stranger")
    assert await tend_disks(storage, disks, recycle=WEEK, now=NOON) == "Data disks: 1 without a workspace were marked."
    assert await tend_disks(storage, disks, recycle=WEEK, now=NOON + WEEK - timedelta(seconds=1)) is None
    assert len(server.names("persistentvolumeclaims")) == 3
    assert await tend_disks(storage, disks, recycle=WEEK, now=NOON + WEEK) == "Data disks: 1 without a workspace were deleted."
    assert server.names("persistentvolumeclaims") == [claim_name("user00000-0"), "stranger"]


async def test_a_marked_disk_whose_workspace_is_known_again_is_kept(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    add_disk(server, "user00000-0")
    disks.mark_orphan("user00000-0", NOON - 2 * WEEK)
    assert await tend_disks(storage, disks, recycle=WEEK, now=NOON) is None
    assert disks.data_disks()[0].orphan_since is None


async def test_a_claim_of_our_name_that_is_not_ours_is_never_deleted(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    for foreign in ({}, {**marks("user00000-0"), "ark/installation": "two"}, marks("user00000-1")):
        add_disk(server, "user00000-0", labels=foreign)
        hub = FailingHub(state="absent")
        await mend_suspects(storage, hub, now=LATER)
        if not told(storage, "released"):
            release_workspace(storage, owner="user00000", name="ws-0", confirm="ws-0", actor="user00000", now=LATER, recycle_days=7)
        said = await empty_recycle_bin(storage, hub, disks, now=LATER + timedelta(days=8))
        assert said == "0 of 1 data disks in the recycle bin were deleted."
        assert server.names("persistentvolumeclaims") == [claim_name("user00000-0")]
    add_disk(server, "user00000-0")
    assert (
        await empty_recycle_bin(storage, hub, disks, now=LATER + timedelta(days=8)) == "1 of 1 data disks in the recycle bin were deleted."
    )
    assert server.names("persistentvolumeclaims") == []


async def test_a_disk_bought_bigger_grows_and_never_shrinks(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    add_disk(server, "user00000-0", "10Gi")
    assert disks.grow_data_disk("user00000-0", 200)
    assert not disks.grow_data_disk("user00000-0", 100)
    assert not disks.grow_data_disk("none", 100)
    assert [disk.size_gib for disk in disks.data_disks()] == [200]


async def test_a_lost_machine_is_told_once_and_its_pods_are_given_up(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    add_pod(server, "user00000-0", "b")
    add_pod(server, "user00000-1", "a")
    server.add("nodes", "b", status={"conditions": [{"type": "Ready", "status": "Unknown"}]})
    server.fail(9, "DELETE", "/pods", 500)
    assert await give_up_lost(storage, disks, now=NOON) == "0 of 1 workspaces on lost machines were given up."
    server.failures.clear()
    assert await give_up_lost(storage, disks, now=NOON) == "1 of 1 workspaces on lost machines were given up."
    assert server.names("pods") == [pod_name("user00000-1")]
    assert server.calls[-1][2]["gracePeriodSeconds"] == 0
    assert len(told(storage, "machine_lost")) == 1
    del server.objects["", "nodes", "a"]
    assert await give_up_lost(storage, disks, now=NOON) == "1 of 1 workspaces on lost machines were given up."


async def test_a_workspace_that_rests_and_has_no_disk_any_more_is_told_once(server: StandIn, storage: Storage, disks: ClusterDisks) -> None:
    add_disk(server, "user00000-1")
    assert await tend_disks(storage, disks, recycle=WEEK, now=LATER) is None, "while it runs nobody can say"
    await mend_suspects(storage, FailingHub(state="absent"), now=LATER)
    assert await tend_disks(storage, disks, recycle=WEEK, now=LATER) == "Data disks: 1 missing."
    assert await tend_disks(storage, disks, recycle=WEEK, now=LATER) is None
    assert len(told(storage, "disk_lost")) == 1


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_pass_that_cannot_ask_changes_nothing(server: StandIn, storage: Storage, disks: ClusterDisks, status: int) -> None:
    add_pod(server, "gone")
    add_disk(server, "gone")
    server.fail(999, "GET", "", status)
    machines = ClusterMachines(ClusterApi(Access(server.url, None, lambda: None), sleep=lambda seconds: None), RULES)
    for job in (
        clear_leftovers(storage, disks),
        tend_disks(storage, disks, recycle=WEEK, now=NOON),
        give_up_lost(storage, disks, now=NOON),
        follow_stock(storage, machines),
    ):
        with pytest.raises(ClusterError):
            await job
    assert {call[0] for call in server.calls} == {"GET"}


async def test_stock_follows_the_nodes(server: StandIn, storage: Storage) -> None:
    machines = ClusterMachines(ClusterApi(Access(server.url, None, lambda: None)), RULES)
    assert await follow_stock(storage, machines) == "The stock has changed: 1 machines with 4 GPUs are for sale."
    assert await follow_stock(storage, machines) is None
    server.objects["", "nodes", "a"]["spec"] = {"unschedulable": True}
    assert await follow_stock(storage, machines) == "The stock has changed: 0 machines with 0 GPUs are for sale."


def test_a_note_that_somebody_bent_counts_as_none(server: StandIn, disks: ClusterDisks) -> None:
    add_disk(server, "w")
    disks.mark_orphan("w", datetime(2026, 11, 1, tzinfo=UTC))
    assert disks.data_disks()[0].orphan_since == datetime(2026, 11, 1, tzinfo=UTC)
    server.objects["ark", "persistentvolumeclaims", claim_name("w")]["metadata"]["annotations"] = {"ark/orphan-since": "yesterday"}
    assert disks.data_disks()[0].orphan_since is None
