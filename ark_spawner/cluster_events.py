"""What a cluster says about a pod, as sentences: pure. The table is `cluster_rules`; the raw text goes into the event's
detail, for advanced mode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ark_extensions.usecases.views import Sentence
from ark_spawner.cluster_rules import GPU_TAKEN_OTHERS_FREE, PULLING_SIZED, RULES, Rule

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What sentences name beside what the cluster says. ``free_gpus``: what else is free now, as ``2 × A10, 1 × T4``."""

    image: str = ""
    node: str = ""
    gpu: str = ""
    memory_gib: str = ""
    system_disk_gib: str = ""
    free_gpus: str = ""
    #: of images that were pulled before, in bytes
    image_bytes: int = 0


@dataclass(frozen=True)
class Told:
    """``final``: the start cannot come to a good end any more. ``step``: only worth a line of the progress."""

    code: str
    severity: str
    sentence: Sentence
    final: bool = False
    step: bool = False


UNKNOWN = Sentence("The cluster reports a problem that the platform does not know ({reason}). Advanced mode shows it.")
NOT_SAID = frozenset({"Killing", "SuccessfulAttachVolume", "SuccessfulMountVolume", "LeaderElection"})


def explain(reason: str, message: str, facts: Facts, **more: Any) -> Told | None:
    """The first rule for this reason and message, as a sentence; None when there is none."""
    for rule in RULES:
        if re.search(rule.reason, reason) and (found := re.search(rule.message, message)) is not None:
            said = {**vars(facts), **more, **{key: value for key, value in found.groupdict().items() if value is not None}}
            said["size"] = size_text(int(said.get("bytes") or facts.image_bytes))
            return Told(rule.code, rule.severity, _filled(_variant(rule, facts), said), rule.final, rule.step)
    return None


def explain_event(event: Mapping[str, Any], facts: Facts) -> Told | None:
    """An Event object of the cluster; None for what nobody needs to know. A warning that no rule knows is told as such."""
    reason, message = str(event.get("reason") or ""), str(event.get("message") or "")
    told = explain(reason, message, facts)
    if told is None and event.get("type") == "Warning" and reason not in NOT_SAID:
        return Told(f"unknown_{reason}", "warning", Sentence(UNKNOWN.msgid, {"reason": reason[:60]}))
    return told


def explain_waiting(pod: Mapping[str, Any], facts: Facts) -> Told | None:
    """Why the pod's container is not running yet, where its state says more than "wait"."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        waiting = status.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return explain(str(waiting["reason"]), str(waiting.get("message") or waiting["reason"]), facts)
    return None


def explain_end(pod: Mapping[str, Any], facts: Facts) -> Told | None:
    """Why a pod ended, or is being ended by somebody other than the platform: the cluster's cause goes before the program's."""
    status = pod.get("status", {})
    if status.get("reason"):
        told = explain(str(status["reason"]), str(status.get("message") or ""), facts)
        if told is not None:
            return told
    ended = terminated(pod)
    if ended is not None and ended.get("reason") == "OOMKilled":
        return explain("OOMKilled", "", facts)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return explain(str(condition.get("reason") or ""), str(condition.get("message") or ""), facts)
    if ended is not None:
        return explain(str(ended.get("reason") or "Error"), str(ended.get("message") or ""), facts, exit_code=ended.get("exitCode", 0))
    return None


def terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The end of the workspace's container, when it has ended."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        found: Mapping[str, Any] | None = status.get("state", {}).get("terminated")
        if found:
            return found
    return None


def raw(event: Mapping[str, Any]) -> dict[str, Any]:
    """What advanced mode shows of an Event object."""
    keys = ("reason", "message", "type", "count", "firstTimestamp", "lastTimestamp", "eventTime")
    return {key: event[key] for key in keys if event.get(key)}


def size_text(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{max(size_bytes // MIB, 1)} MiB"


def _variant(rule: Rule, facts: Facts) -> Sentence:
    if rule.code == "gpu_taken" and facts.free_gpus:
        return GPU_TAKEN_OTHERS_FREE
    if rule.code == "image_pulling" and facts.image_bytes:
        return PULLING_SIZED
    return rule.sentence


def _filled(sentence: Sentence, said: Mapping[str, Any]) -> Sentence:
    fields = re.findall(r"\{(\w+)\}", sentence.msgid)
    return Sentence(sentence.msgid, {field: said.get(field, "") for field in fields})
