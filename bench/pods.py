"""Workspaces as pods, against stock KubeSpawner: both on a real Hub, both against the same API stand-in, in turn.

submit → pod: from the request to the Hub until the API has the pod's object; ours includes the gate, the stock's hold, the
disk and the event. burst: named servers started as fast as the Hub allows on a node where pods run at once, in rounds in
which the two Hubs take turns at being first: a machine that gets busy meets both. Both are asked with what a user chose (a
workspace; one shape of KubeSpawner's profile list), and answer when the server is ready: who asked in between would measure
the answers to that, and slow down whichever Hub is slower. memory: what the Hub grows by for each of
them. A first, uncounted burst has both Hubs load what they load once (statements, connections, threads, code), which is no
workspace's memory, and both collect their garbage before they are weighed. The stand-in costs the same for both and is no
cluster: these are the Hub's own costs, with both Hubs, stand-ins and the asker on the machine's processors.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench.measure import Row, at_least, at_most
from tests.kube_hub import ClusterProcess, KubeHub

SUBMITS, SERVERS, ROUNDS, FIRST, AT_ONCE, USERS = 60, 200, 4, 40, 20, 20
ANSWER_SECONDS = 60.0


def run() -> list[Row]:
    return asyncio.run(_run())


async def _run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ark-bench-pods-") as directory:
        place = Path(directory)
        hubs, clusters = {}, {}
        try:
            for number, kind in enumerate(("ark", "stock")):
                (place / kind).mkdir()
                clusters[kind] = ClusterProcess(place / kind, address=f"127.77.1.{number + 1}")
                hubs[kind] = KubeHub(place / kind / "hub", clusters[kind], spawner=kind, failure_limit=0, answer_seconds=ANSWER_SECONDS)
                await hubs[kind].start()
                hubs[kind].open_shop()
                for user in range(USERS):
                    await hubs[kind].user(f"user{user}")
            submits = await _submits(hubs)
            bursts = await _bursts(hubs)
        finally:
            for hub in hubs.values():
                await hub.close()
            for cluster in clusters.values():
                cluster.close()
    mine, stock = submits["ark"], submits["stock"]
    return [
        at_most("pods: submit to pod object, p50", _at(mine, 0.5), "ms", _at(stock, 0.5), times=1.2),
        at_most("pods: submit to pod object, p99", _at(mine, 0.99), "ms", _at(stock, 0.99), times=1.5),
        at_least("pods: servers started a minute", bursts["ark"][0], "/min", bursts["stock"][0], times=0.95),
        at_most("pods: Hub memory a workspace", bursts["ark"][1], "KiB", bursts["stock"][1], times=1.1),
    ]


async def _submits(hubs: dict[str, KubeHub]) -> dict[str, list[float]]:
    """Milliseconds of one start after the other, the two Hubs in turn; the first of each is not counted."""
    found: dict[str, list[float]] = {kind: [] for kind in hubs}
    for number in range(SUBMITS + 1):
        for kind in ("ark", "stock") if number % 2 else ("stock", "ark"):
            hub, user = hubs[kind], f"user{number % USERS}"
            # asked again, an order is the same
            options = hub.choice(user, "one")
            known = set((await hub.cluster_state())["pods"])
            begun = time.monotonic()
            assert await hub.ask(user, "one", options) == 201
            pods = (await hub.cluster_state())["pods"]
            [made] = [moment for name, moment in pods.items() if name not in known]
            if number:
                found[kind].append((made - begun) * 1000)
            await hub.stop(user, "one")
            await hub.until(user, "one", "stopped")
    return found


async def _bursts(hubs: dict[str, KubeHub]) -> dict[str, tuple[float, float]]:
    """(servers a minute, KiB of the Hub's memory for each) by kind."""
    for hub in hubs.values():
        await _burst(hub, "first", FIRST)
    before = {kind: await _weight(hub) for kind, hub in hubs.items()}
    taken = dict.fromkeys(hubs, 0.0)
    for number in range(ROUNDS):
        for kind in ("ark", "stock") if number % 2 else ("stock", "ark"):
            taken[kind] += await _burst(hubs[kind], f"w{number}", SERVERS // ROUNDS)
    grown = {kind: await _weight(hub) - before[kind] for kind, hub in hubs.items()}
    return {kind: (SERVERS / taken[kind] * 60, grown[kind] * 1024 / SERVERS) for kind in hubs}


async def _burst(hub: KubeHub, name: str, servers: int) -> float:
    """Seconds until so many servers of all users are ready."""
    wanted = [(f"user{number % USERS}", f"{name}-{number // USERS}") for number in range(servers)]
    options = {pair: hub.choice(*pair) for pair in wanted}
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(user: str, name: str) -> None:
        async with turn:
            while (status := await hub.ask(user, name, options[user, name])) == 429:
                await asyncio.sleep(0.2)  # more at once than the Hub takes
            assert status == 201, f"{hub.spawner}: {status} for {user}/{name}"

    begun = time.monotonic()
    await asyncio.gather(*(one(*pair) for pair in wanted))
    return time.monotonic() - begun


async def _weight(hub: KubeHub) -> float:
    """MiB of the Hub's memory, when what only waits for the garbage collector, and what is free already, is given back."""
    await asyncio.sleep(2)  # what a start leaves to be done a moment later is done
    hub.collect_garbage()
    await asyncio.sleep(1)
    return hub.rss_mib()


def _at(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
