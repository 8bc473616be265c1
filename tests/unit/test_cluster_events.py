"""What a real cluster said (`recorded/cluster_events.json`, by tests/kubernetes/record_events.py), and what a person is told then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ark_spawner import kube_pod
from ark_spawner.cluster_events import Facts, Told, explain, explain_end, explain_event, explain_waiting, size_text
from ark_spawner.cluster_rules import RULES

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded/cluster_events.json").read_text())
FACTS = Facts(image="ark/pytorch:2.8", node="gpu-7", gpu="A100", memory_gib="8", system_disk_gib="150")

#: recorded under this name → the code of the rule that must speak, and words of its sentence
SPEAKS = {
    "gpu-taken": ("gpu_taken", "No A100 is free"),
    "memory-taken": ("memory_taken", "8 GiB of memory"),
    "cpu-taken": ("cpu_taken", "processors"),
    "system-disk-taken": ("system_disk_taken", "150 GiB"),
    "no-such-node": ("no_such_node", "no machine for this offer"),
    "node-closed": ("node_closed", "maintenance"),
    "node-silent": ("node_silent", "cannot take it now"),
    "disk-pending": ("disk_pending", "being made"),
    "claim-missing": ("claim_missing", "nowhere"),
    "refused-by-node": ("refused_by_node", "Start it again"),
    "image-pulled": ("image_pulled", "was pulled: "),
    "image-there": ("image_there", "is on the machine"),
    "image-missing": ("image_missing", "ark/pytorch:2.8 does not exist"),
    "image-forbidden": ("image_forbidden", "may not pull"),
    "image-unreachable": ("image_unreachable", "registry does not answer"),
    "image-never": ("image_never", "may not be pulled"),
    "image-name": ("image_name", "cannot be right"),
    "cannot-begin": ("cannot_begin", "no server"),
    "mount-refused": ("mount_refused", "cannot be mounted"),
    "secret-missing": ("settings_missing", "keys"),
    "item-missing": ("item_missing", "not where the cluster looks"),
    "sandbox": ("sandbox", "cannot set up"),
    "exited": ("exited", "exit code 3"),
    "completed": ("exited", "exit code 0"),
    "memory-full": ("memory_full", "memory (8 GiB) was full"),
    "system-disk-full": ("system_disk_full", "/home/user"),
    "shared-memory-full": ("shared_memory_full", "shared memory"),
    "evicted": ("evicted", "being emptied"),
    "preempted": ("preempted", "monthly compute"),
    "goes-first": ("gpu_taken", "No A100 is free"),
    "node-shutdown": ("node_shutdown", "being shut down"),
    "node-shutdown-refused": ("node_shutdown", "being shut down"),
    "node-lost": ("node_lost", "charged only up to the last moment"),
    "pod-refused": ("pod_refused", "cluster's rules"),
    "quota": ("quota", "quota"),
    "disk-elsewhere": ("disk_elsewhere", "cannot be attached to the machine that has free compute"),
    "too-many-pods": ("too_many_pods", "as many workspaces as it may"),
    "no-place": ("no_place", "no place for this workspace"),
    "image-disk-full": ("image_disk_full", "The machine's disk is full"),
    "disk-busy": ("disk_busy", "still attached to the machine"),
    "disk-attach": ("disk_attach", "cannot be attached"),
    "container": ("container", "cannot be started on this machine"),
    "node-memory-full": ("node_memory_full", "The machine's memory was full"),
    "node-memory-short": ("node_memory_full", "The machine's memory was full"),
    "node-pids-full": ("node_pids_full", "too many processes"),
    "node-disk-full": ("node_disk_full", "The machine's own disk was full"),
}
#: what is told on the way, before what the recording is about
STEPS = {
    "placed": ("image-there", "its place on ark-node"),
    "image_pulling": ("image-missing", "is being pulled"),
    "image_waiting": ("image-missing", "Waiting a little"),
    "made": ("image-there", "is made"),
    "started": ("image-there", "The container runs"),
}
#: what the test cluster cannot be brought to, for nobody adds machines to it: the texts are from the sources
FROM_SOURCES = {
    "machine_asked": ("TriggeredScaleUp", "pod triggered scale-up: [{pool 1->2 (max: 3)}]"),
    "no_more_machines": ("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached"),
    # what others have said: the watch over the disk and the processes, and Kubernetes before 1.36
    "node_disk_full": ("Evicted", "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. "),
    "node_pids_full": ("Evicted", "The node was low on resource: pids. Threshold quantity: 1, available: 0. "),
    "disk_busy": ("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node'),
    "disk_elsewhere": ("FailedScheduling", "0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
    "container": ("RunContainerError", "context deadline exceeded"),
}


def told(name: str) -> list[Told]:
    """Everything that is told of a recorded pod: by its events, by its state, and at its end."""
    recorded = RECORDED[name]
    if "refusal" in recorded:
        reason, _, message = recorded["refusal"].partition(" ")
        return [t for t in (explain(reason, message, FACTS),) if t is not None]
    pod = {"metadata": {"deletionTimestamp": "now"} if recorded["deleting"] else {}, "status": recorded["status"]}
    found = [explain_event(event, FACTS) for event in recorded["events"]]
    return [t for t in (*found, explain_waiting(pod, FACTS), explain_end(pod, FACTS)) if t is not None]


def words(one: Told) -> str:
    return one.sentence.msgid.format(**one.sentence.params)


@pytest.mark.parametrize("name", SPEAKS)
def test_what_the_cluster_said_is_told_in_plain_words(name: str) -> None:
    code, part = SPEAKS[name]
    speaking = [one for one in told(name) if one.code == code]
    assert speaking, [one.code for one in told(name)]
    assert part in words(speaking[0])


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_that_was_recorded_is_unknown_or_ends_a_start_wrongly(name: str) -> None:
    assert name in SPEAKS
    for one in told(name):
        assert not one.code.startswith("unknown"), one
        assert "{" not in words(one)
        if one.final:
            assert one.code == SPEAKS[name][0] or (name, one.code) == ("image-pulled", "cannot_begin"), "only the true cause ends it"


@pytest.mark.parametrize("code", STEPS)
def test_each_step_on_the_way_is_told(code: str) -> None:
    name, part = STEPS[code]
    assert any(one.code == code and part in words(one) for one in told(name)), [one.code for one in told(name)]


@pytest.mark.parametrize("code", FROM_SOURCES)
def test_what_one_machine_cannot_bring_about(code: str) -> None:
    found = explain(*FROM_SOURCES[code], FACTS)
    assert found is not None and found.code == code


def test_every_rule_is_tested() -> None:
    assert {rule.code for rule in RULES} == {code for code, _ in SPEAKS.values()} | set(STEPS) | set(FROM_SOURCES)


ENDS = [
    *("exited", "completed", "memory-full", "system-disk-full", "shared-memory-full", "evicted", "preempted", "node-lost", "cannot-begin"),
    *("node-memory-full", "node-memory-short", "node-pids-full", "node-disk-full", "node-shutdown", "node-shutdown-refused"),
]


@pytest.mark.parametrize("name", ENDS)
def test_a_pod_that_ended_is_seen_as_ended(name: str) -> None:
    recorded = RECORDED[name]
    pod = {"metadata": {"deletionTimestamp": "now"} if recorded["deleting"] else {}, "status": recorded["status"]}
    if not recorded["deleting"] and recorded["status"]["phase"] in (
        "Pending",
        "Running",
    ):  # recorded before the kubelet had told the phase, and why
        assert kube_pod.how_it_ended(pod, FACTS) is None and not kube_pod.is_running(pod)
        pod["status"] = {**recorded["status"], "phase": "Failed"}
    ended = kube_pod.how_it_ended(pod, FACTS)
    assert ended is not None and ended.code == SPEAKS[name][0]
    assert not kube_pod.is_running(pod)


def test_what_else_is_free_is_offered() -> None:
    facts = Facts(gpu="A100", free_gpus="2 × A10")
    found = explain("FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", facts)
    assert found is not None
    assert words(found).startswith("No A100 is free in the cluster now; 2 × A10 are free.")


def test_what_else_is_free_is_known_from_the_start_on() -> None:
    mine = kube_pod.WorkspacePod(None, "ark", "w1", tell=None)  # type: ignore[arg-type]
    body = {"metadata": {"uid": "1"}, "spec": {"containers": [{"image": "ark/pytorch:2.8"}]}}
    mine.know(body, Facts(gpu="A100", free_gpus="2 × A10"))
    for _ in range(2):
        assert (mine.facts.gpu, mine.facts.free_gpus) == ("A100", "2 × A10")
        mine.know(body)


def test_the_size_of_an_image_that_was_pulled_before_is_told() -> None:
    found = explain("Pulling", 'Pulling image "x"', Facts(image="x", image_bytes=3_328_599_654))
    assert found is not None and words(found) == "The image x is being pulled to the machine: 3.1 GiB."
    assert size_text(5 << 20) == "5 MiB"


def test_an_unknown_warning_is_told_as_one_and_an_unknown_remark_is_not() -> None:
    event = {"type": "Warning", "reason": "Martians", "message": "they are here"}
    found = explain_event(event, FACTS)
    assert found is not None and "Martians" in words(found) and "here" not in words(found)
    assert explain_event({**event, "type": "Normal"}, FACTS) is None
