"""From the submit of a workspace to its JupyterLab's answer, against plain JupyterHub's local spawner starting the same JupyterLab.

Ours is the whole way: API, order, gate, sandbox, Hub, proxy. Theirs is one POST to the Hub. Both are asked for `/lab` every 20 ms.
"""

from __future__ import annotations

import time

from bench.measure import Row, at_most, interleaved
from bench.plain_hub import USER, PlainHub, status_of, wait_for
from tests.platform import Platform, wait_until

ROUNDS = 5


class Ours:
    """A platform of its own, and one user who orders a workspace a round. ``offer``: which; else the largest."""

    def __init__(self, platform: Platform, offer: str = "") -> None:
        self.platform = platform
        platform.add_user(USER)
        self.token = platform.token(USER)
        offers = self._api("GET", "/offers?available=true&plan=payg")["items"]
        self.offer = offer or max(offers, key=lambda offer: offer["vcpu"])["id"]  # plain JupyterHub limits nothing: give the same processor

    def _api(self, method: str, path: str, body: object = None) -> dict:  # type: ignore[type-arg]
        answer = self.platform.api(method, path, body, user=USER)
        assert answer.status < 300, answer.text
        return answer.json or {}

    def round(self, number: int) -> float:
        name = f"bench-{number}"
        order = {"request_id": name, "name": name, "offer": self.offer, "image": "python-cpu"}
        begun = time.perf_counter()
        self._api("POST", "/workspaces", order)
        wait_for(self.platform.port, f"/user/{USER}/{name}/lab", token=self.token)
        took = time.perf_counter() - begun
        self._api("POST", f"/workspaces/{name}/stop", {})
        wait_until(lambda: self._api("GET", f"/workspaces/{name}")["state"] == "stopped", seconds=60)
        return took


def plain_round(hub: PlainHub, number: int) -> float:
    server = f"/hub/api/users/{USER}/servers/bench-{number}"
    begun = time.perf_counter()
    status = hub.request("POST", server, {})
    assert status in (201, 202), status
    wait_for(hub.port, f"/user/{USER}/bench-{number}/lab", token=hub.token)
    took = time.perf_counter() - begun
    hub.request("DELETE", server, {"remove": True})
    wait_until(lambda: status_of(hub.port, "GET", f"/user/{USER}/bench-{number}/api/status", token=hub.token) != 200, seconds=60)
    return took


def run() -> list[Row]:
    platform = Platform(settings={"opening_credit": "1000.00"})
    try:
        with PlainHub() as hub:
            platform.start()
            hub.start()
            wait_for(hub.port, "/hub/health", token=hub.token)
            hub.request("POST", f"/hub/api/users/{USER}", {})
            ours = Ours(platform)
            interleaved(ours.round, lambda n: plain_round(hub, n), rounds=1)  # warm: page cache, byte code
            value, baseline = interleaved(lambda n: ours.round(n + 1), lambda n: plain_round(hub, n + 1), rounds=ROUNDS)
    finally:
        platform.close()
    return [at_most("submit → JupyterLab answers", value, "s", baseline, times=1.15)]
