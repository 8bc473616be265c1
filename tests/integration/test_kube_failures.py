"""Hundreds of refused and of crashing starts, on a real Hub that would exit after five failures in a row: it stays up.

``ARK_FAILED_STARTS`` sets how many of each; `make soak` takes a thousand.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ark_extensions.domain.workspaces import State
from ark_extensions.usecases import wallet
from ark_extensions.usecases.workspaces import list_workspaces
from tests.cluster_stand_in import CRASHES
from tests.kube_hub import ClusterProcess, KubeHub, now

USERS = 20
STARTS = int(os.environ.get("ARK_FAILED_STARTS", "200"))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[KubeHub]:
    cluster = ClusterProcess(tmp_path, address="127.77.0.4")
    made = KubeHub(tmp_path / "hub", cluster, failure_limit=5, answer_seconds=60.0)
    try:
        await made.start()
        made.open_shop()
        yield made
    finally:
        await made.close()
        cluster.close()


async def test_the_hub_stays_up(hub: KubeHub) -> None:
    workspaces = {}
    for number in range(USERS):
        await hub.user(f"user{number}")
        workspaces[f"user{number}"] = hub.order(f"user{number}", "w1", image=CRASHES)
    assert hub.process is not None

    async def refused(user: str) -> None:
        for number in range(STARTS // USERS):
            status = await hub.ask(user, f"x{number % 3}", {"workspace": "invented"})
            assert status == 404, status

    await asyncio.gather(*map(refused, workspaces))
    assert hub.process.poll() is None and await hub.is_up(), "after refusals"
    assert (await hub.cluster_state())["pods"] == {}

    async def crashing(user: str) -> None:
        for _ in range(STARTS // USERS):
            while (status := await hub.ask(user, "w1", {"workspace": workspaces[user]})) in (400, 429):
                await asyncio.sleep(0.05)  # the last one is not put away yet
            assert status == 503, status
            await hub.until(user, "w1", "stopped")

    await asyncio.gather(*map(crashing, workspaces))
    assert hub.process.poll() is None and await hub.is_up(), "after crashes"
    found = await hub.cluster_state()
    assert found["pods"] == {} and found["secrets"] == 0
    for user in workspaces:
        assert wallet.list_runs(hub.storage, user=user, month=None, now=now()) == [], "nothing is charged"
    assert {w.state for w in list_workspaces(hub.storage, now=now())} == {State.FAILED}
