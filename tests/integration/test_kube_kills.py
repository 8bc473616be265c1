"""kill -9 at every stage of a pod's start and stop: what the next Hub and the reconciler make of it.

No pod, secret or disk is orphaned, none runs free, none is billed that did not run. ``ARK_POD_KILLS`` sets how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ark_extensions.cluster_api import Access
from ark_extensions.cluster_api import ClusterApi as AdapterApi
from ark_extensions.domain.workspaces import State
from ark_extensions.environments import PROJECT
from ark_extensions.reconcile.passes import clear_leftovers, mend_suspects
from ark_extensions.settings import Kubernetes
from ark_extensions.usecases import books, wallet
from ark_extensions.volumes.kubernetes import ClusterDisks
from tests.contract.spawner_stage import Stage, now
from tests.kube_hub import ClusterProcess
from tests.kube_lives import NAME, OWNER, Life

KILLS = int(os.environ.get("ARK_POD_KILLS", "100"))
#: after a kill, everything is true again within this time
SOON = timedelta(seconds=60)


class Shop(Stage):
    spawner_class = Life.spawner_class


class SleepingHub:
    """The Hub after the kill, as its API would tell: whatever its database has as a server it looked at already."""

    async def server_state(self, user: str, name: str) -> str:
        return "stopped"

    async def stop_server(self, user: str, name: str) -> None:
        return

    async def remove_server(self, user: str, name: str) -> None:
        return


class World:
    def __init__(self, place: Path, cluster: ClusterProcess) -> None:
        self.shop = Shop(place)
        self.storage = self.shop.storage
        self.shop.order(user=OWNER, name=NAME)
        self.cluster = cluster
        self.disks = ClusterDisks(AdapterApi(Access(cluster.url, None, lambda: None)), Kubernetes(namespace="stage"))
        line = [sys.executable, "-m", "tests.kube_lives", str(place)]
        self.lives = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)

    def life(self, kill_at: int) -> dict[str, Any]:
        assert self.lives.stdin is not None and self.lives.stdout is not None
        print(kill_at, file=self.lives.stdin, flush=True)
        found: dict[str, Any] = json.loads(self.lives.stdout.readline())
        return found

    async def mend(self) -> None:
        """The reconciler's passes, as they are a minute later."""
        await mend_suspects(self.storage, SleepingHub(), now=now() + SOON)
        await clear_leftovers(self.storage, self.disks)

    async def cluster_has(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.cluster.url}/state") as answer:
            found: dict[str, Any] = await answer.json()
            return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cluster = ClusterProcess(tmp_path, address="127.77.0.2")
    made = World(tmp_path, cluster)
    yield made
    made.lives.communicate(timeout=10)
    cluster.close()
    made.storage.close()


async def test_a_hub_killed_at_any_stage_leaves_nothing_that_is_not_mended(world: World) -> None:
    whole = world.life(0)
    assert whole["ended"] == 0, (world.shop.place / "error.txt").read_text()
    steps, runs, seen = whole["number"], 1, set()
    assert steps > 15, "every request and every use case is a stage"
    for number in range(KILLS):
        ended = world.life(1 + number % steps)
        if ended["ended"] == 0:  # fewer steps than the whole one had: a request less
            runs = len(list_runs(world))
            continue
        assert ended["ended"] == -9, (ended, (world.shop.place / "error.txt").read_text())
        seen.add(ended["step"])
        await world.mend()
        found, workspace = await world.cluster_has(), world.shop.workspace(NAME, user=OWNER)
        context = (number, ended, workspace.state, found)
        if workspace.state == State.RUNNING:
            assert len(found["pods"]) == 1, context
        elif workspace.state not in (State.STARTING, State.STOPPING):
            assert found["pods"] == {} and found["secrets"] == 0, context
        assert found["persistentvolumeclaims"] == 1, context
        now_runs = list_runs(world)
        opened = len(now_runs) - runs
        assert opened <= 1 and (opened == 0 or "/log" not in ended["step"]), context
        assert sum(run.closed_at is None for run in now_runs) == (1 if workspace.state in (State.RUNNING, State.STOPPING) else 0), context
        runs = len(now_runs)
    assert books.check_books(world.storage) == []
    assert len(seen) >= min(KILLS, steps) * 0.6, seen


def list_runs(world: World) -> list[Any]:
    return wallet.list_runs(world.storage, user=OWNER, month=None, now=now())
