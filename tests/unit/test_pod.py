"""A workspace's pod, claim and secret as data: golden files that a person can read, and what must hold of any of them.

After a change that is meant, run with ``ARK_WRITE_GOLDEN=1`` and read the difference.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio.client import ApiClient

from ark_extensions.domain import cluster as names
from ark_extensions.domain.offers import Plan, Quantities
from ark_extensions.domain.workspaces import LaunchSpec, Mount
from ark_extensions.settings import Kubernetes
from ark_spawner import pod
from ark_spawner.environment import Mirrors, workspace_environment
from ark_spawner.pod import Cluster
from hub_config.kubernetes import cluster_of

GOLDEN = Path(__file__).parent / "golden"
FLOWERS, RESNET = Mount("dataset", "flower-photos", 1, "h1"), Mount("model", "resnet34-pth", 2, "h2")
SPEC = LaunchSpec(
    "0123456789abcdef0123456789abcdef", "train", "alice", "launch1", "python-cpu", "workspace", Quantities(4, 8192, 50), (), 0
)
GPU = replace(
    SPEC,
    workspace_name="flowers",
    quantities=Quantities(24, 245760, 150, "A100", 2),
    gpu_devices=("A100#0", "A100#1"),
    image_reference="pytorch",
    data_disk_gib=500,
    mounts=(FLOWERS, RESNET),
    plan=Plan.MONTHLY,
    node="gpu-7",
)
SMALL = Cluster()
CAMPUS = Cluster(
    installation="campus",
    storage_class="ceph-block",
    catalogue_claim="ark-catalogue",
    catalogue_sub_path="{kind}s/{name}/v{version}",
    images={"pytorch": "registry.example.org/ark/pytorch:2.8"},
    image_pull_secrets=("registry",),
    gpu_models={"NVIDIA-A100-SXM4-80GB": "A100", "NVIDIA-A100-PCIE-80GB": "A100"},
    gpu_runtime_class="nvidia",
    runtime_class="gvisor",
    node_selector={"ark/for": "workspaces"},
    tolerations=({"key": "ark", "operator": "Equal", "value": "workspaces", "effect": "NoSchedule"},),
    priority_class_payg="ark-payg",
    priority_class_monthly="ark-monthly",
    pod_overrides={"dnsConfig": {"nameservers": ["192.0.2.53"]}},
    labels={"hub.jupyter.org/network-access-hub": "true"},
)
CASES = {
    "cpu": (SPEC, SMALL),
    "gpu-with-data": (GPU, CAMPUS),
    "payg-on-campus": (replace(SPEC, node="cpu-1"), CAMPUS),
    "gpu-anywhere": (replace(GPU, node="", mounts=()), CAMPUS),
}
PROGRAM = ["/opt/ark/python/bin/jupyterhub-singleuser"]
TOKENS = {"JUPYTERHUB_API_TOKEN": "hunter2", "JPY_API_TOKEN": "hunter2"}


def environment(spec: LaunchSpec) -> dict[str, str]:
    hub = {"JUPYTERHUB_USER": spec.owner, "JUPYTERHUB_API_URL": "http://hub:8081/hub/api", **TOKENS}
    return workspace_environment(
        spec, hub=hub, mirrors=Mirrors(), environment_prefix=PurePosixPath("/opt/ark/python"), api_url="http://console/api/v1"
    )


def made(spec: LaunchSpec, cluster: Cluster) -> list[pod.Manifest]:
    given_to_it = environment(spec)
    return [
        pod.claim(spec, cluster),
        pod.pod(spec, cluster, program=PROGRAM, environment=given_to_it),
        pod.secret(spec, cluster, environment=given_to_it, pod_uid="the-pods-uid"),
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_objects_are_as_a_person_has_read_them(name: str) -> None:
    written = yaml.safe_dump_all(made(*CASES[name]), sort_keys=True, width=120)
    golden = GOLDEN / f"pod-{name}.yaml"
    if os.environ.get("ARK_WRITE_GOLDEN"):
        golden.write_text(written)
    assert written == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_client_sends_them_unchanged(name: str) -> None:
    for manifest in made(*CASES[name]):
        assert ApiClient.sanitize_for_serialization(ApiClient.__new__(ApiClient), manifest) == manifest


@pytest.mark.parametrize("name", CASES)
def test_no_token_is_in_the_pod(name: str) -> None:
    claim, body, secret = made(*CASES[name])
    assert "hunter2" not in json.dumps([claim, body])
    assert set(secret["data"]) == set(TOKENS)


quantities = st.builds(
    Quantities,
    vcpu=st.integers(1, 256),
    memory_mib=st.integers(128, 4 << 20),
    system_disk_gib=st.integers(0, 2000),
    gpu_model=st.sampled_from(["A100", "H200", "MI300X"]),
    gpu_count=st.integers(0, 16),
)
mounts = st.lists(
    st.builds(
        Mount,
        kind=st.sampled_from(["dataset", "model"]),
        name=st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
        version=st.integers(1, 9),
        content_hash=st.just("h"),
    ),
    unique_by=lambda m: (m.kind, m.name),
    max_size=5,
)
specs = st.builds(
    LaunchSpec,
    workspace_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    workspace_name=st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True),
    owner=st.text(min_size=1, max_size=80),
    launch_id=st.uuids().map(lambda u: u.hex),
    image_id=st.just("i"),
    image_reference=st.just("i"),
    quantities=quantities,
    gpu_devices=st.just(()),
    data_disk_gib=st.sampled_from([0, 200, 500]),
    mounts=mounts.map(tuple),
    plan=st.sampled_from(Plan),
    node=st.sampled_from(["", "node-1"]),
)


@given(spec=specs, cluster=st.sampled_from([SMALL, CAMPUS]))
def test_what_holds_of_every_pod(spec: LaunchSpec, cluster: Cluster) -> None:
    body = pod.pod(spec, cluster, program=PROGRAM, environment={"A": "$(HOME)"})
    claim = pod.claim(spec, cluster)
    [container] = body["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["env"] == [{"name": "A", "value": "$$(HOME)"}], "Kubernetes fills nothing in"
    volumes = body["spec"]["volumes"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    assert len(claims) == len(set(claims)), "one volume for a claim"
    mounted = container["volumeMounts"]
    assert {m["name"] for m in mounted} <= {v["name"] for v in volumes}
    assert len({m["mountPath"] for m in mounted}) == len(mounted)
    for item in spec.mounts:
        [found] = [m for m in mounted if m["mountPath"].endswith(f"imported_{item.kind}s/{item.name}")]
        assert found["readOnly"] and f"{item.version}" in found["subPath"]
    for manifest in (body, claim):
        assert len(manifest["metadata"]["name"]) <= 63
        for value in manifest["metadata"]["labels"].values():
            assert len(value) <= 63 and value.isascii()
    assert not any(m.get("subPath", "").startswith("/") or ".." in m.get("subPath", "").split("/") for m in mounted)


@given(
    one=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    two=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
)
def test_two_workspaces_never_share_a_name(one: str, two: str) -> None:
    assert (names.pod_name(one) == names.pod_name(two)) == (one == two)
    assert names.claim_name(one) != names.pod_name(one)


def test_two_owners_never_share_a_netdisk() -> None:
    paths = {names.netdisk_sub_path("netdisk/{user}/data", owner) for owner in ("alice", "Alice", "alice ", "a-lice", "爱丽丝", "../alice")}
    assert len(paths) == 6


def test_the_settings_say_all_that_a_pod_needs() -> None:
    """Every field of the one is a field of the other, with the same default."""
    from_settings = cluster_of(Kubernetes(), data_disk_default_gib=10, labels={}, annotations={})
    assert from_settings == replace(Cluster(), tolerations=from_settings.tolerations)


def test_the_highest_priority_is_for_those_who_paid_ahead() -> None:
    assert pod.pod(GPU, CAMPUS, program=PROGRAM, environment={})["spec"]["priorityClassName"] == "ark-monthly"
    payg = replace(GPU, plan=Plan.PAYG)
    assert pod.pod(payg, CAMPUS, program=PROGRAM, environment={})["spec"]["priorityClassName"] == "ark-payg"


def test_overrides_add_to_what_is_there() -> None:
    assert pod.merged({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "d": 2}) == {"a": {"b": 1, "c": [1, 2]}, "d": 2}
