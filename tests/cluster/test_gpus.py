"""GPUs of a real cluster: two models on two nodes, and what a person is told when the last of one are taken meanwhile by others."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ark_extensions.storage import Storage
from ark_extensions.usecases import market
from tests.cluster.other_node import other_node
from tests.cluster.platform_stage import ClusterPlatform
from tests.integration.crash_stage import Someone, books_are_right
from tests.kubernetes import objects
from tests.platform import wait_until

#: as offers name what the nodes' labels say
A100, A10 = "A100-SXM4-80GB", "A10"
STRANGER = "gpu-stranger"
OFFER = {
    "id": "test-gpu",
    "name": "GPU",
    "plan": "payg",
    "vcpu": 1,
    "memory_mib": 512,
    "system_disk_gib": 1,
    "gpu_model": A100,
    "gpu_count": 1,
    "price": "1.00",
    "per": "hour",
}


@pytest.fixture
def here(platform: ClusterPlatform) -> Iterator[ClusterPlatform]:
    cluster = platform.cluster
    cluster.ours()
    platform.make_room()
    with other_node(cluster, "ark-test-a10", gpus=2, model="NVIDIA-A10"):
        yield platform
        cluster.remove_pod(STRANGER)
        platform.make_room()
    books_are_right(platform)


@pytest.fixture
def storage(here: ClusterPlatform) -> Iterator[Storage]:
    made = Storage(f"sqlite:///{here.state_dir / 'ark.sqlite'}")
    market.seed_catalog(made, catalog={"offers": [OFFER]}, now=datetime.now(UTC))
    yield made
    made.close()


def test_what_else_is_free_is_told_when_the_last_of_a_model_are_taken(here: ClusterPlatform, storage: Storage) -> None:
    someone, cluster = Someone.on(here), here.cluster
    wait_until(lambda: market.free_gpus(storage) == {A100: objects.GPU_COUNT, A10: 2}, seconds=60, message="the stock of both nodes")
    # between two looks at the nodes a stranger is faster
    here.kill("reconcile", signal.SIGSTOP)
    try:
        resources = {"limits": {objects.GPU: str(objects.GPU_COUNT), "memory": "64Mi", "cpu": "50m"}}
        cluster.run_pod(STRANGER, cluster.image("base"), ["sleep", "infinity"], container={"resources": resources})
        someone.api("POST", "/workspaces", {"request_id": "gpu", "name": "gpu", "offer": OFFER["id"], "image": "python-cpu"})
        wait_until(lambda: f"没有空闲的 {A100}；空闲的有 2 × {A10}" in sentences(someone), seconds=60, message="what else is free")
    finally:
        here.kill("reconcile", signal.SIGCONT)
    # the stranger leaves: the very start that waited goes on, and its claim counts once
    cluster.remove_pod(STRANGER)
    someone.wait_for("running", name="gpu")
    wait_until(lambda: market.free_gpus(storage) == {A100: objects.GPU_COUNT - 1, A10: 2}, seconds=60, message="one is taken")


def sentences(someone: Someone) -> str:
    return "\n".join(str(event["message"]) for event in someone.api("GET", "/workspaces/gpu/events")["items"])
