"""Live stock on a real node: what strangers take, a cordon, and GPUs, seen with the rights that the chart grants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ark_extensions.cluster_api import ClusterApi
from ark_extensions.domain.offers import Node
from ark_extensions.nodes.kubernetes import read_nodes
from ark_extensions.settings import Kubernetes
from tests.cluster.conftest import Cluster
from tests.cluster.rights_stage import granted
from tests.kubernetes import objects
from tests.platform import wait_until

NAMESPACE = "ark-stock-test"
MODEL = "A100-SXM4-80GB"


@pytest.fixture(scope="module")
def stage(cluster: Cluster) -> Iterator[tuple[Cluster, ClusterApi]]:
    cluster.gpus()
    with granted(cluster, NAMESPACE) as made:
        yield made


def node(stage: tuple[Cluster, ClusterApi]) -> Node | None:
    found = read_nodes(stage[1], Kubernetes(namespace=NAMESPACE))
    return found[0] if found else None


def gpus(stage: tuple[Cluster, ClusterApi]) -> int:
    found = node(stage)
    return len(found.gpus) if found else -1


def test_a_strangers_pod_takes_its_gpus_from_the_stock_and_gives_them_back(stage: tuple[Cluster, ClusterApi]) -> None:
    here, _ = stage
    before = node(stage)
    assert before is not None and {model for _, model in before.gpus} == {MODEL}
    resources = {"limits": {objects.GPU: "1", "memory": "256Mi", "cpu": "50m"}}
    here.run_pod("stranger", here.image("base"), ["sleep", "infinity"], container={"resources": resources})
    after = node(stage)
    assert after is not None
    assert len(after.gpus) == len(before.gpus) - 1 and after.memory_mib == before.memory_mib - 256
    here.remove_pod("stranger")
    wait_until(lambda: gpus(stage) == len(before.gpus))


def test_a_workspaces_pod_is_in_the_books_already(stage: tuple[Cluster, ClusterApi]) -> None:
    here, _ = stage
    before = gpus(stage)
    marks = {"ark/installation": "ark", "ark/workspace": "w1"}
    here.run_pod("ours", here.image("base"), ["sleep", "infinity"], container={"resources": {"limits": {objects.GPU: "1"}}}, labels=marks)
    assert gpus(stage) == before
    here.remove_pod("ours")


def test_a_cordoned_machine_sells_nothing_until_it_is_back(stage: tuple[Cluster, ClusterApi]) -> None:
    here, _ = stage
    assert node(stage) is not None
    here.kubectl("cordon", here.node)
    try:
        wait_until(lambda: node(stage) is None)
    finally:
        here.kubectl("uncordon", here.node)
    wait_until(lambda: node(stage) is not None)
