"""A second real node, with a kubelet, a containerd and a firewall of its own: a workspace that stopped on one machine goes on at
another with its disks, and a machine that loses its power costs nobody more than what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.domain.cluster import pod_name
from ark_extensions.storage import Storage
from ark_extensions.usecases import market
from tests.cluster.platform_stage import ClusterPlatform
from tests.integration.crash_stage import Someone, books_are_right
from tests.kubernetes import build, images
from tests.kubernetes.place import NODE, SECOND_NODE
from tests.kubernetes.second import SecondNode, joined
from tests.platform import wait_until

SHAPE = {"vcpu": 1, "memory_mib": 700, "system_disk_gib": 1}
OFFERS = [
    {"id": "two-hourly", "name": "Hourly", "plan": "payg", "price": "36.00", "per": "hour", **SHAPE},
    {"id": "two-monthly", "name": "Monthly", "plan": "monthly", "price": "50.00", "per": "month", **SHAPE},
]
#: seconds; what is promised after a machine's end
SOON = 60
#: by then the test cluster says that a node does not answer (its controller manager's grace, and a look)
KNOWN = timedelta(seconds=22)


@pytest.fixture
def second(platform: ClusterPlatform) -> Iterator[SecondNode]:
    cluster = platform.cluster
    place = cluster.ours()
    platform.make_room()
    with joined(place, build.programs(), images.ensure(["base", "workspace-base"]).values()) as node:
        yield node
        platform.make_room()
    cluster.kubectl("uncordon", NODE)
    books_are_right(platform)


@pytest.fixture
def storage(platform: ClusterPlatform) -> Iterator[Storage]:
    made = Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")
    market.seed_catalog(made, catalog={"offers": OFFERS}, now=datetime.now(UTC))
    yield made
    made.close()


def only(platform: ClusterPlatform, storage: Storage, open_: str, shut: str) -> None:
    """One machine sells, the other is closed, and the platform knows it."""

    def sold() -> list[str]:
        with storage.read() as connection:
            return [node.name for node in market.read_nodes(connection)]

    platform.cluster.kubectl("uncordon", open_)
    platform.cluster.kubectl("cordon", shut)
    wait_until(lambda: sold() == [open_], seconds=SOON)


def order(someone: Someone, name: str, **what: str) -> str:
    identifier = someone.api("POST", "/workspaces", {"request_id": f"two-{name}", "name": name, "image": "python-cpu", **what})["id"]
    someone.wait_for("running", name=name)
    return str(identifier)


def start(someone: Someone, name: str) -> None:
    someone.api("POST", f"/workspaces/{name}/start", {})
    someone.wait_for("running", name=name)


def pod(platform: ClusterPlatform, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.cluster.get("pod", pod_name(identifier), "-n", platform.namespace)
    return found


def machine(platform: ClusterPlatform, identifier: str) -> str:
    return str(pod(platform, identifier)["spec"]["nodeName"])


def inside(platform: ClusterPlatform, identifier: str, script: str) -> str:
    return platform.cluster.kubectl("exec", "-n", platform.namespace, pod_name(identifier), "--", "bash", "-c", script)


def said(someone: Someone, name: str) -> str:
    return "\n".join(str(event["message"]) for event in someone.api("GET", f"/workspaces/{name}/events")["items"])


def test_workspaces_go_on_at_another_machine_when_theirs_is_short_of_memory_or_loses_power(
    platform: ClusterPlatform, storage: Storage, second: SecondNode
) -> None:
    someone = Someone.on(platform)
    only(platform, storage, SECOND_NODE, NODE)
    moves = order(someone, "moves", offer="two-hourly")
    assert machine(platform, moves) == SECOND_NODE
    assert pod(platform, moves)["status"]["hostIP"] == second.machine.address
    wait_until(lambda: someone.jupyter("moves"), seconds=SOON)
    inside(platform, moves, "echo disk > ~/file; echo netdisk > ~/data/file; echo gone > /tmp/file; sync")

    # the kubelet puts it out; the machine sells nothing meanwhile, and the next start is elsewhere, with the same disks
    with second.short_of_memory():
        someone.wait_for("stopped", name="moves", seconds=SOON)
        assert "机器的内存已满" in said(someone, "moves"), said(someone, "moves")
        only(platform, storage, NODE, SECOND_NODE)
        start(someone, "moves")
    assert machine(platform, moves) == NODE
    assert inside(platform, moves, "cat ~/file ~/data/file; ls /tmp/file 2>/dev/null || true").split() == ["disk", "netdisk"]
    inside(platform, moves, "echo more >> ~/file; sync")
    someone.api("POST", "/workspaces/moves/stop", {})
    someone.wait_for("stopped", name="moves")

    # stopped as it should be, back where it came from; and a term of monthly compute is bought there, too
    only(platform, storage, SECOND_NODE, NODE)
    start(someone, "moves")
    asset = someone.api("POST", "/assets", {"request_id": "two", "offer": "two-monthly", "months": 1})["id"]
    try:
        month = order(someone, "month", asset=asset)
        assert {machine(platform, identifier) for identifier in (moves, month)} == {SECOND_NODE}
        inside(platform, month, "echo month > ~/file; sync")
        platform.cluster.kubectl("uncordon", NODE)
        second.power_off()
        dark = datetime.now(UTC)
        for name in ("moves", "month"):
            someone.wait_for("stopped", name=name, seconds=SOON)
            assert "响应" in said(someone, name), said(someone, name)
        assert datetime.now(UTC) - dark < timedelta(seconds=SOON)
        wait_until(lambda: platform.pods() == [], seconds=SOON, message="the lost machine's pods are given up")
        # this platform posts every second, and what is posted stays: up to the moment at which the cluster itself knows
        late = [(run.workspace_name, run.closed_at) for run in someone.runs() if run.closed_at is None or run.closed_at > dark + KNOWN]
        assert not late, f"charged after {dark}: {late}"

        # both go on at the machine that is left
        for name in ("moves", "month"):
            someone.api("POST", f"/workspaces/{name}/start", {})
        for name, identifier, kept in (("moves", moves, ["disk", "more"]), ("month", month, ["month"])):
            someone.wait_for("running", name=name)
            assert machine(platform, identifier) == NODE
            assert inside(platform, identifier, "cat ~/file").split() == kept
    finally:
        platform.make_room()
        platform.ark("asset", "convert", someone.name, asset, "--percent", "1", "--yes", "--reason", "the test is over")
