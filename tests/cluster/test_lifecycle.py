"""A workspace's life in a real cluster from its order to the end of its disk, and ends that nobody wishes: each comes to a
true state, a plain event and the right bill. The silent node comes last: it is the cluster's only one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from ark_extensions.domain import cluster as names
from ark_extensions.storage import Storage
from ark_extensions.usecases import books, market
from ark_extensions.usecases.events import list_events
from ark_extensions.usecases.views import EventView, WorkspaceView
from ark_extensions.usecases.workspaces import get_workspace
from tests.cluster.conftest import Cluster
from tests.cluster.platform_stage import ClusterPlatform
from tests.contract.spawner_stage import now
from tests.platform import wait_until

USER = "pod-alice"
#: the issue's minute, and what a busy test machine takes itself
SOON = 60
OFFER = {"id": "tiny", "name": "Tiny", "plan": "payg", "vcpu": 1, "memory_mib": 700, "system_disk_gib": 1, "price": "1.00", "per": "hour"}
IMAGES = [{"id": "gone", "name": "Gone", "reference": "gone"}]


@pytest.fixture(scope="module")
def platform(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[ClusterPlatform]:
    made = ClusterPlatform(cluster, settings={"recycle_days": 0, "start_timeout_seconds": 100}, kubernetes={"image_pull_policy": "Never"})
    try:
        made.start()
        made.add_user(USER)
        market.seed_catalog(storage(made), catalog={"offers": [OFFER], "images": IMAGES, "disks": []}, now=now())
        yield made
    finally:
        made.close(keep_logs=request.session.testsfailed > 0)


@cache
def storage(platform: ClusterPlatform) -> Storage:
    """Its database: the tests look on while the Hub is away."""
    return Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")


def order(platform: ClusterPlatform, name: str, image: str = "python-cpu", **more: Any) -> str:
    body = {"request_id": name, "offer": "tiny", "image": image, "name": name, **more}
    answer = platform.api("POST", "/workspaces", body, user=USER)
    assert answer.status == 201, answer.text
    return str(answer.json["id"])


def view(platform: ClusterPlatform, name: str) -> WorkspaceView:
    return get_workspace(storage(platform), owner=USER, name=name, now=now())


def state(platform: ClusterPlatform, name: str) -> str:
    return str(view(platform, name).state)


def becomes(platform: ClusterPlatform, name: str, wanted: str, *, seconds: float = 150) -> None:
    wait_until(lambda: state(platform, name) == wanted, seconds=seconds, message=f"{name} is not {wanted}: {said(platform, name)}")


def act(platform: ClusterPlatform, name: str, verb: str) -> None:
    answer = platform.api("POST", f"/workspaces/{name}/{verb}", {}, user=USER)
    assert answer.status == 202, answer.text


def events(platform: ClusterPlatform, name: str) -> list[EventView]:
    return list(list_events(storage(platform), owner=USER, name=name).items)


def said(platform: ClusterPlatform, name: str) -> str:
    return "\n".join(event.message.msgid.format(**event.message.params) for event in events(platform, name))


def pods_of(platform: ClusterPlatform, workspace_id: str) -> list[dict[str, Any]]:
    return [pod for pod in platform.pods() if pod["metadata"]["labels"].get(names.WORKSPACE) == workspace_id]


def inside(platform: ClusterPlatform, workspace_id: str, command: str, *, check: bool = True) -> str:
    line = ["exec", "-n", platform.namespace, names.pod_name(workspace_id), "--", "/bin/sh", "-c", command]
    return platform.cluster.kubectl(*line, check=check, seconds=120)


def proven(platform: ClusterPlatform) -> None:
    assert books.check_books(storage(platform)) == []


def test_from_the_order_to_the_release(platform: ClusterPlatform) -> None:
    mine = order(platform, "life", datasets=["digits"], models=["digits-mlp"])
    becomes(platform, "life", "running")
    [pod] = pods_of(platform, mine)
    assert pod["metadata"]["labels"][names.OWNER] == names.user_slug(USER)
    assert "JUPYTERHUB_API_TOKEN" in str(pod) and not [
        line for line in pod["spec"]["containers"][0]["env"] if "TOKEN" in line["name"] and "value" in line
    ]
    inside(platform, mine, "echo kept > ~/file && echo shared > /ark-contexts/data/file && echo gone > /tmp/file")
    assert inside(platform, mine, "cat ~/data/file; ls ~/imported_datasets ~/imported_models; id -u").split()[:1] == ["shared"]
    assert "3" in inside(platform, mine, "ls ~/imported_datasets/digits")
    for place in ("~/imported_datasets", "~/imported_datasets/digits", "~/imported_models/digits-mlp"):
        assert "ead-only" in inside(platform, mine, f"touch {place}/x 2>&1 || true"), place
    shm = inside(platform, mine, "df -m /dev/shm | tail -1").split()
    assert int(shm[1]) == 700
    assert inside(platform, mine, "ls /var/run/secrets/kubernetes.io 2>&1 || true").count("No such file")
    act(platform, "life", "stop")
    becomes(platform, "life", "stopped", seconds=30)
    assert pods_of(platform, mine) == []
    assert [claim["metadata"]["name"] for claim in platform.claims()] == [names.claim_name(mine)]
    line = ["secrets", "-n", platform.namespace, "-l", names.WORKSPACE]
    wait_until(lambda: not (platform.cluster.get(*line) or {"items": []})["items"], seconds=SOON)
    act(platform, "life", "start")
    becomes(platform, "life", "running")
    assert inside(platform, mine, "cat ~/file; ls /tmp/file 2>/dev/null || true") == "kept\n"
    act(platform, "life", "stop")
    becomes(platform, "life", "stopped", seconds=30)
    assert platform.api("DELETE", "/workspaces/life", {"confirm": "life"}, user=USER).status in (200, 204)
    wait_until(lambda: platform.claims() == [], seconds=SOON, message="the disk goes with the release")
    proven(platform)


def test_an_image_that_is_nowhere_is_told_at_once_and_costs_nothing(platform: ClusterPlatform) -> None:
    mine = order(platform, "nowhere", "gone")
    becomes(platform, "nowhere", "failed", seconds=SOON)
    assert "image gone is not on the machine" in said(platform, "nowhere")
    assert not any(event.kind == "charged" for event in events(platform, "nowhere"))
    wait_until(lambda: pods_of(platform, mine) == [], seconds=SOON)


def test_a_full_memory_is_told(platform: ClusterPlatform) -> None:
    mine = order(platform, "memory")
    becomes(platform, "memory", "running")
    # the kernel may choose whom it ends: here it takes the server, as it does when the notebook's own process is the smaller one
    blame = "for one in $(pgrep -f [j]upyterhub-singleuser); do echo 1000 > /proc/$one/oom_score_adj; done"
    inside(platform, mine, f"{blame}; perl -e 'my @a; while (1) {{ push @a, \"x\" x 1000000 }}'", check=False)
    becomes(platform, "memory", "stopped", seconds=SOON)
    assert "The workspace's memory (0.684 GiB) was full" in said(platform, "memory"), said(platform, "memory")
    wait_until(lambda: pods_of(platform, mine) == [], seconds=SOON)
    proven(platform)


def test_a_node_that_falls_silent(platform: ClusterPlatform) -> None:
    place = platform.cluster.ours()
    mine = order(platform, "lost")
    becomes(platform, "lost", "running")
    line = ["pgrep", "-f", f"kubelet --config={place.config}"]
    [kubelet] = map(int, subprocess.run(line, capture_output=True, text=True, check=True).stdout.split())
    os.kill(kubelet, signal.SIGSTOP)
    try:
        becomes(platform, "lost", "stopped", seconds=SOON)
        assert "does not answer" in said(platform, "lost")
        wait_until(lambda: pods_of(platform, mine) == [], seconds=SOON)
        assert not any(event.kind == "charged" for event in events(platform, "lost")), "it ran for less than the node's grace"
    finally:
        os.kill(kubelet, signal.SIGCONT)
    proven(platform)
