"""The bad days of a workspace in a real pod: each ends in a true state, a plain event and the right bill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.domain.cluster import claim_name, pod_name
from ark_extensions.storage import Storage
from ark_extensions.usecases import market
from tests.cluster.platform_stage import ClusterPlatform
from tests.integration.crash_stage import Someone, back, books_are_right
from tests.platform import wait_until

TRUE_WITHIN = timedelta(seconds=60)
#: a system disk that a test can fill
SMALL = {
    "id": "test-small",
    "name": "Small",
    "plan": "payg",
    "vcpu": 1,
    "memory_mib": 1024,
    "system_disk_gib": 1,
    "price": "0.10",
    "per": "hour",
}


@pytest.fixture(scope="module")
def here(platform: ClusterPlatform) -> ClusterPlatform:
    platform.make_room()
    storage = Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")
    market.seed_catalog(storage, catalog={"offers": [SMALL]}, now=datetime.now(UTC))
    storage.close()
    return platform


@pytest.fixture
def someone(here: ClusterPlatform) -> Iterator[Someone]:
    made = Someone.on(here)
    yield made
    here.make_room()
    books_are_right(here)


def order(someone: Someone, name: str = "crash") -> str:
    """A small workspace; its id."""
    body = {"request_id": f"{someone.name}-{name}", "name": name, "offer": SMALL["id"], "image": "python-cpu"}
    return str(someone.api("POST", "/workspaces", body)["id"])


def running(someone: Someone, name: str = "crash") -> str:
    identifier = order(someone, name)
    someone.wait_for("running", name=name)
    wait_until(lambda: someone.jupyter(name), seconds=60)
    return identifier


def inside(here: ClusterPlatform, identifier: str, script: str, *, check: bool = True) -> str:
    return here.cluster.kubectl("exec", "-n", here.namespace, pod_name(identifier), "--", "bash", "-c", script, check=check)


def said(someone: Someone, name: str = "crash") -> list[dict[str, Any]]:
    return list(someone.api("GET", f"/workspaces/{name}/events")["items"])


def test_a_start_is_quick_and_a_stop_keeps_only_the_disk(here: ClusterPlatform, someone: Someone) -> None:
    began = time.monotonic()
    identifier = running(someone)
    print(f"from the order to JupyterLab's answer: {time.monotonic() - began:.1f} s")
    inside(here, identifier, "echo kept > ~/kept; echo shared > ~/data/shared; echo gone > /tmp/gone")
    someone.api("POST", "/workspaces/crash/stop", {})
    someone.wait_for("stopped")
    wait_until(lambda: here.pods() == [], seconds=30)
    assert claim_name(identifier) in [claim["metadata"]["name"] for claim in here.claims()]  # others' stopped workspaces have theirs
    someone.api("POST", "/workspaces/crash/start", {})
    someone.wait_for("running")
    assert inside(here, identifier, "cat ~/kept ~/data/shared; ls /tmp/gone 2>/dev/null || true").split() == ["kept", "shared"]


def test_a_killed_hub_finds_the_running_pod_again(here: ClusterPlatform, someone: Someone) -> None:
    running(someone)
    server = someone.jupyter()
    back(here, "hub", here.kill("hub"))
    wait_until(lambda: someone.jupyter() == server, seconds=60)
    assert someone.state() == "running"
    assert len(someone.runs()) == 1 and len(here.pods()) == 1


def test_a_hub_killed_in_the_middle_of_a_start_ends_in_the_truth(here: ClusterPlatform, someone: Someone) -> None:
    order(someone)
    wait_until(lambda: here.pods() != [], seconds=30)
    killed = back(here, "hub", here.kill("hub"))
    state = someone.wait_for("running", "stopped", "failed", seconds=90)
    wait_until(lambda: bool(here.pods()) == (someone.state() == "running"), seconds=60, message=f"{state}, pods: {len(here.pods())}")
    assert datetime.now(UTC) - killed < TRUE_WITHIN


def test_a_full_system_disk_ends_the_workspace_and_says_so(here: ClusterPlatform, someone: Someone) -> None:
    identifier = running(someone)
    inside(here, identifier, "echo kept > ~/kept; head -c 1500M /dev/zero > /tmp/large", check=False)
    began = datetime.now(UTC)
    someone.wait_for("stopped", "failed")
    assert datetime.now(UTC) - began < TRUE_WITHIN
    assert any("系统盘" in str(event["message"]) for event in said(someone)), [event["message"] for event in said(someone)]
    wait_until(lambda: here.pods() == [], seconds=60)
    someone.api("POST", "/workspaces/crash/start", {})
    someone.wait_for("running")
    assert inside(here, identifier, "cat ~/kept; ls /tmp/large 2>/dev/null || true").split() == ["kept"]


def test_a_pod_that_somebody_deletes_is_told_and_not_billed_on(here: ClusterPlatform, someone: Someone) -> None:
    identifier = running(someone)
    here.cluster.kubectl("delete", "pod", pod_name(identifier), "-n", here.namespace, "--wait=true")
    gone = datetime.now(UTC)
    someone.wait_for("stopped", "failed")
    assert datetime.now(UTC) - gone < TRUE_WITHIN
    run = someone.runs()[0]
    assert run.closed_at is not None and run.closed_at <= gone + timedelta(seconds=1)
