"""Offers sized to a machine: pure functions of its nodes and of the rules in ``hub_config/catalog.yaml``.

Promises: every offer fits the machine at least once; its id says its shape, so a machine that grew gets new offers
beside the old ones instead of changing what people already bought.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ark_extensions.domain.offers import Node

Offer = dict[str, Any]


def cpu_offers(nodes: Sequence[Node], rules: Mapping[str, Any]) -> list[Offer]:
    """Offers without a GPU: 1, 2, 4 … vCPU and the whole of the largest node, each with its share of memory."""
    if not nodes:
        return []
    node = max(nodes, key=lambda n: (n.vcpu, n.memory_mib))
    share_mib = _tidy_mib(min(node.memory_mib // node.vcpu, int(rules["memory_gib_per_vcpu"] * 1024)))
    if share_mib == 0:
        return []
    return [_cpu_offer(vcpu, vcpu * share_mib, rules) for vcpu in _doubling(node.vcpu, and_all=True)]


def _cpu_offer(vcpu: int, memory_mib: int, rules: Mapping[str, Any]) -> Offer:
    memory = _gib(memory_mib)
    price = vcpu * Decimal(rules["price_per_vcpu"]) + Decimal(memory_mib) / 1024 * Decimal(rules["price_per_memory_gib"])
    return {
        "id": f"cpu-{vcpu}c-{memory.replace('.', '-')}g",
        "name": f"CPU · {vcpu} vCPU · {memory} GiB",
        "plan": "payg",
        "vcpu": vcpu,
        "memory_mib": memory_mib,
        "system_disk_gib": rules["system_disk_gib"],
        "gpu_model": None,
        "gpu_count": 0,
        "gpu_memory_gib": 0,
        "price": _cents(price),
        "per": "hour",
    }


def gpu_offers(nodes: Sequence[Node], memory_gib: Mapping[str, int], rules: Mapping[str, Any]) -> list[Offer]:
    """One offer for each GPU model and each count 1, 2, 4 … that a node has, with the node's share of CPU and memory.

    ``memory_gib``: memory of one GPU by model, 0 or missing when it is not known.
    """
    best: dict[str, tuple[int, Node]] = {}
    for node in nodes:
        for model, count in Counter(model for _, model in node.gpus).items():
            if count > best.get(model, (0, node))[0]:
                best[model] = (count, node)
    offers = []
    for model, (count, node) in sorted(best.items()):
        vcpu = max(min(node.vcpu // len(node.gpus), int(rules["vcpu_per_gpu"])), 1)
        memory_mib = _tidy_mib(min(node.memory_mib // len(node.gpus), int(rules["memory_gib_per_gpu"] * 1024)))
        if memory_mib == 0:
            continue
        price = _gpu_price(model, memory_gib.get(model, 0), rules)
        for gpus in _doubling(min(count, node.vcpu // vcpu)):
            offers.append(_gpu_offer(model, gpus, memory_gib.get(model, 0), vcpu * gpus, memory_mib * gpus, price * gpus, rules))
    return offers


def _gpu_offer(model: str, count: int, gpu_memory_gib: int, vcpu: int, memory_mib: int, price: Decimal, rules: Mapping[str, Any]) -> Offer:
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    return {
        "id": f"{slug}-{count}-{vcpu}c-{_gib(memory_mib).replace('.', '-')}g",
        "name": f"{model} × {count} · {vcpu} vCPU · {_gib(memory_mib)} GiB",
        "plan": "payg",
        "vcpu": vcpu,
        "memory_mib": memory_mib,
        "system_disk_gib": rules["system_disk_gib"],
        "gpu_model": model,
        "gpu_count": count,
        "gpu_memory_gib": gpu_memory_gib,
        "price": _cents(price),
        "per": "hour",
    }


def monthly_offers(hourly: Sequence[Offer], rules: Mapping[str, Any]) -> list[Offer]:
    """Each hourly offer once more, sold by the month for the price of ``hours`` hours; its id is the hourly one's and ``-monthly``."""
    hours = Decimal(rules["hours"])
    return [
        {**offer, "id": f"{offer['id']}-monthly", "plan": "monthly", "per": "month", "price": _cents(Decimal(offer["price"]) * hours)}
        for offer in hourly
    ]


def _gpu_price(model: str, memory_gib: int, rules: Mapping[str, Any]) -> Decimal:
    """The listed price of the longest name that the model begins with; else by its memory."""
    listed = [name for name in rules["price_per_gpu"] if re.match(re.escape(name) + r"(?![A-Za-z0-9])", model)]
    if listed:
        return Decimal(rules["price_per_gpu"][max(listed, key=len)])
    return max(memory_gib, 8) * Decimal(rules["price_per_gpu_memory_gib"])


def _doubling(limit: int, *, and_all: bool = False) -> list[int]:
    counts = [1 << power for power in range(limit.bit_length()) if 1 << power <= limit]
    return counts if not and_all or counts[-1] == limit else [*counts, limit]


def _tidy_mib(memory_mib: int) -> int:
    """Down to a whole GiB from 2 GiB on, to a quarter below."""
    return memory_mib - memory_mib % (1024 if memory_mib >= 2048 else 256)


def _gib(memory_mib: int) -> str:
    return f"{memory_mib / 1024:g}"


def _cents(price: Decimal) -> str:
    return str(max(price.quantize(Decimal("0.01")), Decimal("0.01")))
