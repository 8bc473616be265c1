"""Offers, price versions and stock: what is on sale, for how much, and how many are left.

Stock is counted on nodes: an offer is available as many times as its quantities fit into what the nodes
have left, so CPU and GPU offers that share a machine cannot be sold twice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Plan(StrEnum):
    PAYG = "payg"
    MONTHLY = "monthly"


@dataclass(frozen=True)
class Quantities:
    """What one unit of an offer takes from a node. Memory in MiB, system disk in GiB."""

    vcpu: int
    memory_mib: int
    system_disk_gib: int
    gpu_model: str | None = None
    gpu_count: int = 0


@dataclass(frozen=True)
class Offer:
    """A compute shape on sale. ``gpu_memory_gib`` is of one GPU."""

    id: str
    name: str
    plan: Plan
    quantities: Quantities
    gpu_memory_gib: int = 0
    withdrawn_at: datetime | None = None


@dataclass(frozen=True)
class PriceVersion:
    """An immutable price from a moment on. ``per`` is ``hour``, ``month`` or ``day``; ``subject`` is an offer
    (``offer:ID``) or a disk size (``disk:GIB``)."""

    id: str
    subject: str
    per: str
    price_micros: int
    valid_from: datetime


@dataclass(frozen=True)
class Node:
    """A machine's capacity for workspaces. ``gpus``: (device id, model), one for each device."""

    name: str
    vcpu: int
    memory_mib: int
    gpus: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Claim:
    """What a workspace holds on one node from the start of a launch to its stop, or monthly compute for its term."""

    holder: str
    node: str
    vcpu: int
    memory_mib: int
    gpu_devices: tuple[str, ...] = ()


def price_at(versions: Iterable[PriceVersion], now: datetime) -> PriceVersion | None:
    """The version in force: the newest whose ``valid_from`` is not after ``now``."""
    valid = [v for v in versions if v.valid_from <= now]
    return max(valid, key=lambda v: (v.valid_from, v.id)) if valid else None


def free_on(node: Node, claims: Iterable[Claim]) -> Node:
    """The node with what the claims on it take removed (never below zero)."""
    vcpu, memory, taken = node.vcpu, node.memory_mib, set[str]()
    for claim in claims:
        if claim.node == node.name:
            vcpu -= claim.vcpu
            memory -= claim.memory_mib
            taken.update(claim.gpu_devices)
    gpus = tuple(g for g in node.gpus if g[0] not in taken)
    return replace(node, vcpu=max(vcpu, 0), memory_mib=max(memory, 0), gpus=gpus)


def with_claimed_devices(node: Node, claims: Iterable[Claim]) -> Node:
    """The node with its GPUs named so that claimed names stay, for machines whose GPUs are handed out by number only.

    A device is ``MODEL#N``. As many of a model as the node has for sale are named: those that claims hold first, then the
    lowest numbers that are free, so a node that sells fewer than before never seems to have a claimed one free.
    """
    held = {device for claim in claims if claim.node == node.name for device in claim.gpu_devices}
    counts = Counter(model for _, model in node.gpus)
    gpus: list[tuple[str, str]] = []
    for model in sorted(counts):
        names = sorted((d for d in held if d.rpartition("#")[0] == model), key=lambda d: int(d.rpartition("#")[2]))
        free = (name for n in itertools.count() if (name := f"{model}#{n}") not in held)
        names += itertools.islice(free, max(counts[model] - len(names), 0))
        gpus += [(name, model) for name in names]
    return replace(node, gpus=tuple(gpus))


def fits(node: Node, need: Quantities) -> int:
    """How many units of ``need`` a node (already less its claims) can hold."""
    counts = [node.vcpu // need.vcpu if need.vcpu else 1 << 30, node.memory_mib // need.memory_mib if need.memory_mib else 1 << 30]
    if need.gpu_count:
        counts.append(sum(1 for _, model in node.gpus if model == need.gpu_model) // need.gpu_count)
    return min(counts)


def available(nodes: Sequence[Node], claims: Sequence[Claim], need: Quantities) -> tuple[int, int]:
    """(units free now, units in total) of an offer with these quantities."""
    return (sum(fits(free_on(n, claims), need) for n in nodes), sum(fits(n, need) for n in nodes))


def place(nodes: Sequence[Node], claims: Sequence[Claim], need: Quantities, holder: str) -> Claim | None:
    """Choose the fullest node that still fits, and its devices (lowest ids first); None when nothing fits."""
    candidates = [(free_on(n, claims)) for n in nodes]
    fitting = [n for n in candidates if fits(n, need) > 0]
    if not fitting:
        return None
    node = min(fitting, key=lambda n: (len(n.gpus), n.vcpu, n.memory_mib, n.name))
    devices = tuple(d for d, model in node.gpus if need.gpu_count and model == need.gpu_model)[: need.gpu_count]
    return Claim(holder, node.name, need.vcpu, need.memory_mib, devices)
