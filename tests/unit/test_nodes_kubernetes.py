"""What a cluster's nodes sell: pure, on objects as the API lists them."""

from __future__ import annotations

from typing import Any

import pytest

from ark_extensions.cluster_api import Access, ClusterApi
from ark_extensions.domain.offers import Node
from ark_extensions.nodes.kubernetes import gpu_model, nodes_for_sale, read_gpu_memory_gib, read_nodes, requested
from ark_extensions.settings import Kubernetes
from tests.api_stand_in import stand_in

RULES = Kubernetes()
READY = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
ALLOCATABLE = {"cpu": "15890m", "memory": "64Gi", "nvidia.com/gpu": "4", "ephemeral-storage": "500Gi", "pods": "110"}


def machine(name: str = "a", *, labels: dict[str, str] | None = None, spec: Any = None, conditions: Any = None, **allocatable: str) -> Any:
    given = {**ALLOCATABLE, **{key.replace("_", "-"): value for key, value in allocatable.items()}}
    labels = {"nvidia.com/gpu.product": "NVIDIA-H200", **(labels or {})}
    status = {"allocatable": given, "conditions": READY if conditions is None else conditions}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec or {}, "status": status}


def pod(node: str = "a", *, labels: dict[str, str] | None = None, namespace: str = "other", phase: str = "Running", **requests: str) -> Any:
    resources = {"requests": {key.replace("gpu", "nvidia.com/gpu"): value for key, value in requests.items()}}
    spec = {"nodeName": node, "containers": [{"resources": resources}]}
    return {"metadata": {"name": "p", "namespace": namespace, "labels": labels or {}}, "spec": spec, "status": {"phase": phase}}


def test_what_is_left_is_rounded_down() -> None:
    strangers = [pod(cpu="250m", memory="100Mi"), pod(cpu="1", memory="1Gi", gpu="1"), pod("b", cpu="8")]
    gpus = (("H200#0", "H200"), ("H200#1", "H200"), ("H200#2", "H200"))
    assert nodes_for_sale([machine()], strangers, RULES) == [Node("a", 14, 64 * 1024 - 1124, gpus)]
    kept = Kubernetes(reserve_vcpu=1.0, reserve_memory_mib=1024)
    assert nodes_for_sale([machine()], [], kept)[0].vcpu == 14
    assert nodes_for_sale([machine()], [pod(cpu="20", memory="70Gi", gpu="5")], RULES) == [Node("a", 0, 0, ())]


def test_finished_pods_and_our_own_take_nothing_here() -> None:
    ours = pod(namespace="ark", labels={"ark/installation": "ark", "ark/workspace": "w"}, cpu="4", gpu="2")
    assert nodes_for_sale([machine()], [ours, pod(phase="Succeeded", cpu="4"), pod(phase="Failed", gpu="4")], RULES)[0].vcpu == 15
    for stranger in (pod(namespace="ark", labels={"ark/installation": "two"}, cpu="4"), pod(labels={"ark/installation": "ark"}, cpu="4")):
        assert nodes_for_sale([machine()], [stranger], RULES)[0].vcpu == 11, "another installation's, or a forged label elsewhere"


@pytest.mark.parametrize(
    "closed",
    [
        machine(spec={"unschedulable": True}),
        machine(conditions=[{"type": "Ready", "status": "Unknown"}]),
        machine(conditions=[{"type": "Ready", "status": "False"}]),
        machine(conditions=[]),
        machine(spec={"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}),
        machine(spec={"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}),
    ],
)
def test_a_machine_that_takes_no_workspaces_sells_nothing(closed: Any) -> None:
    assert nodes_for_sale([closed], [], RULES) == []


def test_tolerated_taints_and_preferences_do_not_close_a_machine() -> None:
    gpu = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    mild = {"key": "anything", "effect": "PreferNoSchedule"}
    assert len(nodes_for_sale([machine(spec={"taints": [gpu, mild]})], [], RULES)) == 1
    team = Kubernetes(tolerations=[{"key": "team", "operator": "Equal", "value": "x"}])
    assert len(nodes_for_sale([machine(spec={"taints": [{"key": "team", "value": "x", "effect": "NoExecute"}]})], [], team)) == 1
    assert nodes_for_sale([machine(spec={"taints": [{"key": "team", "value": "y", "effect": "NoExecute"}]})], [], team) == []


@pytest.mark.parametrize(
    ("label", "model"),
    [
        ("NVIDIA-H200", "H200"),
        ("NVIDIA-A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("Tesla-T4", "T4"),
        ("NVIDIA-GeForce-RTX-4090", "RTX 4090"),
        ("odd", "Odd One"),
        ("", "GPU"),
    ],
)
def test_models_are_named_as_people_name_them(label: str, model: str) -> None:
    assert gpu_model({"nvidia.com/gpu.product": label}, Kubernetes(gpu_models={"odd": "Odd One"})) == model


def test_a_pod_asks_for_its_containers_or_its_largest_step() -> None:
    def container(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec: dict[str, Any] = {"containers": [container("1"), container("500m")], "overhead": {"cpu": "250m"}}
    assert requested({"spec": spec}, "cpu") == 1.75
    spec["initContainers"] = [container("1", restartPolicy="Always"), container("4")]
    assert requested({"spec": spec}, "cpu") == 5.25
    spec["initContainers"] = [container("4"), container("3", restartPolicy="Always")]
    assert requested({"spec": spec}, "cpu") == 4.75
    assert requested({"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 2}}}]}}, "nvidia.com/gpu") == 2
    assert requested({"spec": {}}, "cpu") == 0


def test_one_reading_of_the_cluster() -> None:
    with stand_in() as server:
        api = ClusterApi(Access(server.url, None, lambda: None))
        for name in "abc":
            given = machine(name, labels={"nvidia.com/gpu.memory": "143771", "pool": "ark" if name != "c" else "db"})
            server.add("nodes", name, labels=given["metadata"]["labels"], spec={}, status=given["status"])
        given = pod("b", gpu="3")
        server.add("pods", "p", namespace="other", spec=given["spec"], status=given["status"])
        rules = Kubernetes(node_selector={"pool": "ark"})
        assert [(node.name, len(node.gpus)) for node in read_nodes(api, rules)] == [("a", 4), ("b", 1)]
        assert read_gpu_memory_gib(api, rules) == {"H200": 141}
