"""Data disks and pods of a real cluster under the adapter's hands, with the rights that the chart grants and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ark_extensions.cluster_api import ClusterApi, ClusterError
from ark_extensions.domain.cluster import claim_name, labels, pod_name
from ark_extensions.domain.errors import Conflict
from ark_extensions.reconcile.cluster import tend_disks
from ark_extensions.reconcile.passes import clear_leftovers
from ark_extensions.settings import Kubernetes
from ark_extensions.volumes.kubernetes import ClusterDisks
from bench.population import NOON, Crowd
from tests.cluster.conftest import Cluster
from tests.cluster.rights_stage import granted
from tests.platform import wait_until
from tests.unit.loop_stage import running_crowd

NAMESPACE = "ark-disks-test"
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def stage(cluster: Cluster) -> Iterator[tuple[Cluster, ClusterApi]]:
    with granted(cluster, NAMESPACE) as made:
        yield made


@pytest.fixture
def disks(stage: tuple[Cluster, ClusterApi]) -> ClusterDisks:
    return ClusterDisks(stage[1], Kubernetes(namespace=NAMESPACE))


def make_disk(here: Cluster, workspace_id: str, **marks: str) -> None:
    metadata = {"name": claim_name(workspace_id), "namespace": NAMESPACE}
    metadata["labels"] = {**labels("ark", workspace_id=workspace_id, owner="user00000"), **marks}  # type: ignore[assignment]
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": here.storage_class}
    here.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def claims(here: Cluster) -> set[str]:
    return {claim["metadata"]["name"] for claim in (here.get("pvc", "-n", NAMESPACE) or {"items": []})["items"]}


def test_a_disk_grows_and_goes_with_what_is_in_it(stage: tuple[Cluster, ClusterApi], disks: ClusterDisks) -> None:
    here, _ = stage
    make_disk(here, "one")
    volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": claim_name("one")}}]
    command = ["sh", "-c", "echo dear > /home/user/thesis; exec sleep infinity"]
    here.run_pod(
        pod_name("one"),
        here.image("base"),
        command,
        labels=labels("ark", workspace_id="one", owner="user00000"),
        spec={"volumes": volumes},
        container={"volumeMounts": [{"name": "home", "mountPath": "/home/user"}]},
    )
    volume = here.get("pvc", claim_name("one"), "-n", NAMESPACE)["spec"]["volumeName"]
    assert here.execute(pod_name("one"), "cat", "/home/user/thesis") == "dear\n"
    assert disks.grow_data_disk("one", 3)
    wait_until(lambda: here.get("pvc", claim_name("one"), "-n", NAMESPACE)["status"]["capacity"]["storage"] == "3Gi")
    assert disks.run_dirs() == ["one"] and disks.lost_pods() == []
    disks.delete_data_disk("one")
    assert here.execute(pod_name("one"), "cat", "/home/user/thesis") == "dear\n", "while a pod uses it, the disk is kept"
    disks.remove_run_dir("one")
    wait_until(lambda: here.get("pv", volume) is None, seconds=60)
    assert here.place is None or not (here.place.disks / volume).exists()
    assert disks.data_disks() == [] and disks.run_dirs() == []


def test_what_is_not_ours_is_left_alone(stage: tuple[Cluster, ClusterApi], disks: ClusterDisks) -> None:
    here, _ = stage
    make_disk(here, "two", **{"ark/installation": "another"})
    with pytest.raises(Conflict, match="left alone"):
        disks.delete_data_disk("two")
    with pytest.raises(Conflict):
        disks.grow_data_disk("two", 10)
    assert claim_name("two") in claims(here)
    here.kubectl("delete", "pvc", claim_name("two"), "-n", NAMESPACE)


async def test_a_reconciler_ends_an_orphan_pod_and_recycles_an_orphan_disk(stage: tuple[Cluster, ClusterApi], disks: ClusterDisks) -> None:
    here, _ = stage
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        make_disk(here, "gone")
        make_disk(here, "user00000-0")
        for workspace_id in ("gone", "user00000-0"):
            marks = labels("ark", workspace_id=workspace_id, owner="user00000")
            here.run_pod(pod_name(workspace_id), here.image("base"), ["sleep", "infinity"], labels=marks)
        assert await clear_leftovers(storage, disks) == "1 system disks left behind were removed."
        wait_until(lambda: disks.run_dirs() == ["user00000-0"])
        assert await tend_disks(storage, disks, recycle=WEEK, now=NOON) == "Data disks: 1 without a workspace were marked."
        assert await tend_disks(storage, disks, recycle=WEEK, now=NOON + WEEK) == "Data disks: 1 without a workspace were deleted."
        wait_until(lambda: claims(here) == {claim_name("user00000-0")})
        disks.remove_run_dir("user00000-0")
        disks.delete_data_disk("user00000-0")
        wait_until(lambda: not claims(here))


def test_the_services_may_do_nothing_else(stage: tuple[Cluster, ClusterApi]) -> None:
    _, api = stage
    here = f"/api/v1/namespaces/{NAMESPACE}"
    for path in (
        f"{here}/secrets",
        f"{here}/configmaps",
        "/api/v1/secrets",
        "/api/v1/namespaces/kube-system/secrets",
        f"{here}/serviceaccounts",
    ):
        with pytest.raises(ClusterError) as refused:
            api.items(path)
        assert refused.value.status == 403
    for act in (
        lambda: api.create(f"{here}/pods", {"metadata": {"name": "x"}}),
        lambda: api.delete("/api/v1/namespaces/kube-system/pods/any"),
        lambda: api.delete("/api/v1/namespaces/ark/persistentvolumeclaims/any"),
        lambda: api.patch(f"{here}/pods/any", {"metadata": {"labels": {"a": "b"}}}),
        lambda: api.patch("/api/v1/nodes/ark-node", {"spec": {"unschedulable": True}}),
        lambda: api.create(f"{here}/pods/any/exec?command=id", {}),
    ):
        with pytest.raises(ClusterError) as refused:
            act()
        assert refused.value.status == 403


def test_marks_survive_in_the_cluster(stage: tuple[Cluster, ClusterApi], disks: ClusterDisks) -> None:
    here, _ = stage
    make_disk(here, "three")
    since = datetime(2026, 11, 1, 8, tzinfo=UTC)
    disks.mark_orphan("three", since)
    assert [disk.orphan_since for disk in disks.data_disks()] == [since]
    disks.mark_orphan("three", None)
    assert [disk.orphan_since for disk in disks.data_disks()] == [None]
    disks.delete_data_disk("three")
