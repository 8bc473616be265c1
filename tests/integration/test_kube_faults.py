"""Bad days of a cluster: whatever its API answers, a workspace runs once or not at all, its user is told why, and the bill
is right. The API is the tests' stand-in, which does as it is told; its node really runs the pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.spawner import SpawnException
from kubespawner import KubeSpawner

from ark_extensions.domain import cluster as names
from ark_extensions.domain.workspaces import State
from ark_extensions.usecases import books, wallet
from ark_extensions.usecases.views import RunView
from ark_spawner import kube_pod, watching
from tests.cluster_objects import now_text
from tests.contract.spawner_stage import KubeStage, eventually, now
from tests.contract.test_spawner import can_sandbox, no_trace_of_a_run

pytestmark = pytest.mark.skipif(not can_sandbox(), reason="bubblewrap cannot run here")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[KubeStage]:
    made = KubeStage(tmp_path)
    await made.open()
    yield made
    await made.close()


def runs(stage: KubeStage) -> list[RunView]:
    return wallet.list_runs(stage.storage, user="alice", month=None, now=now())


def said(stage: KubeStage) -> list[str]:
    return [event.message.msgid.format(**event.message.params) for event in stage.events()]


async def poll(stage: KubeStage) -> int | None:
    return await stage.user().spawners["w1"].poll()


async def ends(stage: KubeStage) -> None:
    """As the Hub's own polling does: what it finds dead it stops."""

    async def dead() -> bool:
        return await poll(stage) is not None

    await eventually(dead, seconds=30)
    await stage.user().stop("w1")


# while it starts


@pytest.mark.parametrize("answer", [429, 500, 503, "drop", "lost", "hang"])
@pytest.mark.parametrize("plural", ["pods", "persistentvolumeclaims", "secrets"])
async def test_a_start_survives_answers_that_go_wrong(stage: KubeStage, plural: str, answer: int | str) -> None:
    stage.traits.k8s_api_request_timeout = 1
    stage.order()
    fault = stage.api.fail("create", plural, answer, times=2 if answer != "hang" else 1)
    await stage.start()
    assert fault.times == 0, "the fault was met"
    assert len(stage.api.pods()) == 1 and len(stage.node.processes()) == 1
    assert len(runs(stage)) == 1
    await stage.stop()
    no_trace_of_a_run(stage)
    assert books.check_books(stage.storage) == []


async def test_a_cluster_that_is_away_is_an_answer_in_plain_words_and_costs_nothing(
    stage: KubeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_pod, "PERSIST_SECONDS", 1.0)
    mine = stage.order()
    stage.api.fail("create", "*", 503)
    with pytest.raises(SpawnException) as refusal:
        await stage.begin("w1", {"workspace": mine.id})
    assert refusal.value.reason == "no_cluster" and "cluster does not answer" in str(refusal.value)
    assert stage.workspace().state == State.FAILED and runs(stage) == []
    stage.api.heal()
    no_trace_of_a_run(stage)
    await stage.start()


async def test_what_an_earlier_hub_left_makes_way(stage: KubeStage) -> None:
    """409: a pod and a secret of that name are there, of another launch, and the pod takes its time to go."""
    mine = stage.order()
    name = names.pod_name(mine.id)
    labels = names.labels("ark", workspace_id=mine.id, owner="alice") | {"component": "singleuser-server", names.LAUNCH: "an-old-one"}
    meta = {"name": name, "namespace": "stage", "labels": labels}
    old = stage.api.put("pods", {"metadata": dict(meta), "spec": {"containers": []}, "status": {"phase": "Running"}})
    stage.api.put("secrets", {"metadata": dict(meta), "data": {}})
    await stage.start()
    [pod] = stage.api.pods()
    assert pod["metadata"]["uid"] != old["metadata"]["uid"]
    [secret] = stage.api.objects["secrets"].values()
    assert secret["data"], "not the old one's"


async def test_a_quota_is_told(stage: KubeStage) -> None:
    mine = stage.order()
    stage.api.fail("create", "pods", 403)
    with pytest.raises(SpawnException) as refusal:
        await stage.begin("w1", {"workspace": mine.id})
    assert refusal.value.reason == "pod_refused"
    assert "the stand-in was told to" in stage.events()[0].detail["answer"], "for experts"
    assert "stand-in" not in said(stage)[0]
    no_trace_of_a_run(stage)


async def test_a_full_cluster_is_told_while_it_waits_and_at_the_end(stage: KubeStage) -> None:
    stage.traits.patience_seconds = 2
    stage.node.no_place = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available."
    mine = stage.order()
    task = stage.begin("w1", {"workspace": mine.id})
    await eventually(lambda: any("memory free now" in sentence for sentence in said(stage)))
    with pytest.raises(SpawnException) as refusal:
        await task
    assert refusal.value.reason == "memory_taken"
    assert stage.workspace().state == State.FAILED and runs(stage) == []
    raw = next(event.detail for event in stage.events() if event.kind == "cluster")
    assert "Insufficient memory" in raw["message"], "kept for experts when the cluster has forgotten it"
    no_trace_of_a_run(stage)


# while it runs


async def test_a_dropped_watch_is_taken_up_again(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    for _ in range(3):
        stage.api.drop_watches()
        await asyncio.sleep(0.05)
    stage.kill_server()
    await ends(stage)
    assert stage.workspace().state == State.STOPPED


@pytest.mark.parametrize("answer", [410, 500, "drop"])
async def test_a_cluster_that_cannot_be_asked_ends_nothing_and_bills_nothing(
    stage: KubeStage, answer: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FRESH_SECONDS", 0.5)
    stage.order()
    await stage.start()
    before = stage.workspace().seen_at
    stage.api.fail("*", "*", answer)
    stage.api.drop_watches()
    watch = stage.user().spawners["w1"].pod_reflector
    await eventually(lambda: not watch.fresh)
    assert await poll(stage) is None, "nobody knows: it goes on"
    stage.restart_hub()
    assert await poll(stage) is None, "nor does a new Hub conclude anything"
    assert stage.workspace().state == State.RUNNING and stage.workspace().seen_at == before
    stage.api.heal()

    async def seen() -> bool:
        assert await poll(stage) is None
        spawner = stage.user().spawners["w1"]
        return spawner._seen is not None

    await eventually(seen, seconds=30)
    await stage.stop()
    no_trace_of_a_run(stage)


async def test_a_watch_that_gave_up_works_again_by_itself(stage: KubeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.05)
    stage.order()
    await stage.start()
    watch = stage.user().spawners["w1"].pod_reflector

    async def gives_up(self: object) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(watching.PodReflector, "_watch_and_update", gives_up)
        watch.watch_task.cancel()  # as dead as KubeSpawner's own is after its last failure
        await asyncio.wait([watch.watch_task])
        assert watch.stuck
    stage.kill_server()
    await ends(stage)
    assert stage.user().spawners.get("w1") is None or stage.user().spawners["w1"].pod_reflector is not watch
    assert stage.workspace().state == State.STOPPED


async def test_a_list_from_the_past_ends_nothing(stage: KubeStage) -> None:
    stage.api.remember()  # when there was no pod
    stage.order()
    await stage.start()
    stage.api.fail("list", "pods", "stale")
    stage.restart_hub()
    assert await poll(stage) is None
    stage.api.heal()
    await stage.stop()
    no_trace_of_a_run(stage)


async def test_a_list_from_the_past_keeps_nothing_alive(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    stage.api.remember()
    stage.api.fail("list", "pods", "stale")
    await stage.stop()
    assert stage.workspace().state == State.STOPPED
    no_trace_of_a_run(stage)


# ends


async def test_a_lost_node_is_told_and_not_charged(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    stage.node.go_silent()
    spawner = stage.user().spawners["w1"]

    async def noticed() -> bool:
        assert await spawner.poll() is None
        return any("machine does not answer" in sentence for sentence in said(stage))

    await eventually(noticed)
    seen = stage.workspace().seen_at
    assert await spawner.poll() is None and stage.workspace().seen_at == seen, "nobody has seen it since"
    [pod] = stage.api.pods()
    stage.node.take(pod, 30)  # what Kubernetes does then: it asks a node that does not answer
    await ends(stage)
    assert stage.workspace().state == State.STOPPED
    assert stage.events()[0].kind != "charged", "it began less than the node's grace before"
    [run] = runs(stage)
    assert run.cost_micros == 0
    assert stage.api.pods() == [], "it does not wait for the node"
    assert books.check_books(stage.storage) == []


EVICTED = {
    "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ": "The system disk (1 GiB) was full",
    'Usage of EmptyDir volume "shm" exceeds the limit "256Mi". ': "The shared memory was full",
    "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. ": "platform's fault",
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 1Mi. ": "The machine's memory was full",
}


@pytest.mark.parametrize("message", EVICTED)
async def test_an_eviction_is_told(stage: KubeStage, message: str) -> None:
    stage.order()
    await stage.start()
    [pod] = stage.api.pods()
    stage.node.show_ended(pod["metadata"]["name"], pod["metadata"]["uid"], 137, reason="Error", pod_reason="Evicted", message=message)
    await ends(stage)
    assert stage.workspace().state == State.STOPPED
    assert any(EVICTED[message] in sentence for sentence in said(stage))
    no_trace_of_a_run(stage)


async def test_a_full_memory_is_told(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    [pod] = stage.api.pods()
    stage.node.show_ended(pod["metadata"]["name"], pod["metadata"]["uid"], 137, reason="OOMKilled")
    await ends(stage)
    assert any("memory (0.25 GiB) was full" in sentence for sentence in said(stage))


async def test_a_pod_that_somebody_removes_is_noticed(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    [pod] = stage.api.pods()
    stage.node.take(pod, 0)
    await ends(stage)
    assert stage.workspace().state == State.STOPPED
    no_trace_of_a_run(stage)


async def test_a_start_that_a_killed_hub_left_on_its_way_is_ended_and_told(stage: KubeStage) -> None:
    mine = stage.order()
    stage.node.no_place = "0/1 nodes are available: 1 Insufficient cpu."
    task = stage.begin("w1", {"workspace": mine.id})
    await eventually(lambda: stage.api.pods() != [])
    task.cancel()
    spawner = stage.user().spawners["w1"]
    spawner._watching = None
    stage.restart_hub()
    await ends(stage)
    assert stage.workspace().state == State.FAILED
    assert any("interrupted" in sentence for sentence in said(stage))
    no_trace_of_a_run(stage)


# disks


async def test_a_disk_grows_when_a_larger_one_was_bought(stage: KubeStage) -> None:
    mine = stage.order()
    await stage.start()
    await stage.stop()
    [claim] = stage.api.objects["persistentvolumeclaims"].values()
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    stage.traits.cluster = kube_pod_cluster(3)
    stage.restart_hub()
    await stage.start()
    [claim] = stage.api.objects["persistentvolumeclaims"].values()
    assert claim["spec"]["resources"]["requests"]["storage"] == "3Gi"
    assert claim["metadata"]["labels"][names.WORKSPACE] == mine.id


async def test_a_disk_that_cannot_grow_is_told_and_the_workspace_starts(stage: KubeStage) -> None:
    stage.order()
    await stage.start()
    await stage.stop()
    stage.traits.cluster = kube_pod_cluster(3)
    stage.restart_hub()
    stage.api.fail("patch", "persistentvolumeclaims", 403)
    await stage.start()
    assert any("could not be made larger" in sentence for sentence in said(stage))


def kube_pod_cluster(gib: int) -> Any:
    from ark_spawner.pod import Cluster

    return Cluster(data_disk_default_gib=gib)


@pytest.mark.parametrize(("kind", "status"), [("Ready", "False"), ("DisruptionTarget", "True")])
async def test_the_node_that_a_pod_was_lost_with_was_last_heard_of_before_anybody_noticed(kind: str, status: str) -> None:
    noticed = datetime.now(UTC).replace(microsecond=0)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    condition = {"type": kind, "status": status, "lastTransitionTime": now_text()}
    moment = kube_pod.silent_since({"metadata": {}, "status": {"conditions": [condition, ready]}})
    assert kube_pod.silent_since({"metadata": {}, "status": {"conditions": [ready]}}) is None
    assert moment is not None and abs(moment - (noticed - kube_pod.NODE_GRACE)) <= timedelta(seconds=2)
    assert KubeSpawner.reflectors == {}
