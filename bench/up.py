"""The second `make up`, from the command to the marketplace page, against a bare `jupyterhub` start to its sign-in page."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.measure import Row, at_most, interleaved, no_more_than
from bench.plain_hub import PlainHub, wait_for
from tests.platform import Platform

ROUNDS = 5
ROOT = Path(__file__).resolve().parent.parent
MARKETPLACE = "/services/console/marketplace"


def make(platform: Platform, target: str) -> None:
    command = ["make", "-s", target, f"DIR={platform.state_dir}", f"PORT={platform.port}", "BACKGROUND=1"]
    environment = {name: value for name, value in platform.environment().items() if name not in ("ARK_STATE_DIR", "PYTHONPATH")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ours(platform: Platform, token: str) -> float:
    begun = time.perf_counter()
    make(platform, "up")
    wait_for(platform.port, MARKETPLACE, token=token)
    took = time.perf_counter() - begun
    make(platform, "down")
    return took


def bare(hub: PlainHub) -> float:
    begun = time.perf_counter()
    hub.start()
    wait_for(hub.port, "/hub/login", token=hub.token)
    took = time.perf_counter() - begun
    hub.stop()
    return took


def run() -> list[Row]:
    platform = Platform()
    try:
        with PlainHub() as hub:
            make(platform, "up")  # the first start: databases, catalogue, secrets
            token = platform.token()
            make(platform, "down")
            bare(hub)
            value, baseline = interleaved(lambda _: ours(platform, token), lambda _: bare(hub), rounds=ROUNDS)
    finally:
        platform.close()
    return [
        at_most("second make up → marketplace", value, "s", baseline, times=2.0),
        no_more_than("second make up → marketplace, in all", value, "s", limit=10.0),
    ]
