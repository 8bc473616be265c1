"""What the doctor says of a cluster: each thing that can be missing, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ark_extensions.cli import doctor_cluster
from ark_extensions.cli.doctor_cluster import network, storage_class
from ark_extensions.cli.finding import Finding
from ark_extensions.settings import Kubernetes, Settings
from tests.api_stand_in import StandIn, stand_in
from tests.unit.test_nodes_kubernetes import ALLOCATABLE, READY

METADATA = {"169.254.169.254": "the cloud's metadata service"}
BLOCKED = ["10.0.0.0/8", "169.254.0.0/16"]


def policy(*, blocked: list[str], types: tuple[str, ...] = ("Egress",), installation: str = "ark", ports: Any = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": blocked}}]}
    spec = {"podSelector": {"matchLabels": {"ark/installation": installation}}, "policyTypes": list(types), "egress": [rule]}
    if ports:
        rule["ports"] = ports
    return {"spec": spec}


def states(findings: Iterator[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def test_a_policy_must_hold_workspaces_and_keep_what_is_guarded() -> None:
    assert states(network([], "ark", METADATA)) == ["problem"]
    assert states(network([policy(blocked=BLOCKED, installation="two")], "ark", METADATA)) == ["problem"]
    assert states(network([policy(blocked=BLOCKED, types=("Ingress",))], "ark", METADATA)) == ["problem"]
    assert states(network([policy(blocked=BLOCKED)], "ark", METADATA)) == ["ok"]
    (open_, _) = network([policy(blocked=["10.0.0.0/8"])], "ark", METADATA)
    assert open_.state == "problem" and "169.254.169.254" in open_.sentence + open_.remedy
    assert states(network([policy(blocked=BLOCKED)], "ark", {"203.0.113.9": "the node a"})) == ["problem", "ok"]
    assert states(network([policy(blocked=BLOCKED), policy(blocked=[], ports=[{"port": 53}])], "ark", METADATA)) == ["ok"]


def test_a_storage_class_is_there_and_can_grow() -> None:
    default = {
        "metadata": {"name": "a", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "allowVolumeExpansion": True,
    }
    other: dict[str, Any] = {"metadata": {"name": "b"}}
    assert states(storage_class([default, other], None)) == ["ok"]
    assert states(storage_class([default, other], "b")) == ["note"]
    assert states(storage_class([default, other], "c")) == ["problem"]
    assert states(storage_class([other], None)) == ["problem"]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as state:
        yield state


def settings(tmp_path: Path, url: str, **more: Any) -> Settings:
    file = tmp_path / "kubeconfig"
    document = {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
    document |= {"clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {"token": "t"}}]}
    file.write_text(yaml.safe_dump(document))
    return Settings(state_dir=tmp_path, runtime="kubernetes", kubernetes=Kubernetes(kubeconfig=file, **more))


def look(tmp_path: Path, server: StandIn, **more: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor_cluster.cluster(settings(tmp_path, server.url, **more))}


def test_a_cluster_that_has_all(tmp_path: Path, server: StandIn) -> None:
    server.page = 99
    server.add("nodes", "a", status={"allocatable": ALLOCATABLE, "conditions": READY})
    server.add("persistentvolumeclaims", "ark-files", spec={"accessModes": ["ReadWriteMany"]}, status={"phase": "Bound"})
    server.add("storageclasses", "fast", namespace="", allowVolumeExpansion=True)
    server.add("priorityclasses", "m", namespace="", value=2)
    server.add("priorityclasses", "p", namespace="", value=1)
    server.add("networkpolicies", "ark-workspaces", **policy(blocked=BLOCKED))
    rules = {"storage_class": "fast", "priority_class_monthly": "m", "priority_class_payg": "p"}
    assert {name: found.state for name, found in look(tmp_path, server, **rules).items()} == dict.fromkeys(
        ("kubernetes", "machines", "storage", "files", "priorities", "network"), "ok"
    )
    turned = look(tmp_path, server, storage_class="fast", priority_class_monthly="p", priority_class_payg="m")
    assert turned["priorities"].state == "problem"


def test_a_cluster_that_has_nothing_is_told_what_to_do(tmp_path: Path, server: StandIn) -> None:
    found = look(tmp_path, server, priority_class_payg="p")
    assert {name: one.state for name, one in found.items()} == {
        "kubernetes": "ok", "machines": "problem", "storage": "problem", "files": "problem", "priorities": "problem", "network": "problem",
    }  # fmt: skip
    assert all(one.remedy for one in found.values() if one.state != "ok")


def test_missing_rights_and_a_missing_cluster_are_sentences(tmp_path: Path, server: StandIn) -> None:
    server.fail(99, "GET", "networkpolicies", 403)
    assert "helm-values/ark" in look(tmp_path, server)["network"].remedy
    (gone,) = doctor_cluster.cluster(Settings(state_dir=tmp_path, kubernetes=Kubernetes(kubeconfig=tmp_path / "none")))
    assert gone.state == "problem" and "kubeconfig" in gone.remedy
