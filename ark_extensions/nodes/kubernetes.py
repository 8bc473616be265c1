"""What a cluster has for sale now: its nodes' allocatable resources, less what other people's pods ask for.

Promises: a node that is cordoned, not ready, tainted against workspaces or outside the selection sells nothing; a pod of
this installation is never counted here (its claim is in the books); rounding is down, so that what is sold fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from ark_extensions.cluster_api import ClusterApi, Document, is_ready, quantity
from ark_extensions.domain.cluster import INSTALLATION
from ark_extensions.domain.offers import Node
from ark_extensions.settings import Kubernetes

MIB = 1 << 20
#: what NVIDIA's feature discovery puts before a model; people and price lists leave it out
VENDOR = re.compile(r"^(NVIDIA|Tesla|Quadro|GeForce)-", re.IGNORECASE)
UNKNOWN_MODEL = "GPU"
FINISHED = frozenset({"Succeeded", "Failed"})


def read_nodes(api: ClusterApi, rules: Kubernetes) -> list[Node]:
    """The nodes for sale. Pods are listed after nodes: a pod that comes in between counts against its node, never for it."""
    machines = api.items("/api/v1/nodes", **_selection(rules))
    return nodes_for_sale(machines, api.items("/api/v1/pods"), rules)


def read_gpu_memory_gib(api: ClusterApi, rules: Kubernetes) -> dict[str, int]:
    """Memory in GiB of one GPU of each model, where nodes are labelled with it; the smallest, where they differ."""
    found: dict[str, int] = {}
    for machine in api.items("/api/v1/nodes", **_selection(rules)):
        mib = _labels(machine).get(rules.gpu_memory_label, "")
        if mib.isdecimal() and int(mib):
            gib = -(-int(mib) // 1024)
            model = gpu_model(_labels(machine), rules)
            found[model] = min(gib, found.get(model, gib))
    return found


def nodes_for_sale(machines: Sequence[Document], pods: Iterable[Document], rules: Kubernetes) -> list[Node]:
    """Pure: ``machines`` and ``pods`` as the API lists them."""
    open_ = {m["metadata"]["name"]: m for m in machines if takes_workspaces(m, rules)}
    foreign: dict[str, list[Document]] = {}
    for pod in pods:
        name = (pod.get("spec") or {}).get("nodeName")
        ours = _labels(pod).get(INSTALLATION) == rules.installation and pod["metadata"].get("namespace") == rules.namespace
        if name in open_ and not ours and (pod.get("status") or {}).get("phase") not in FINISHED:
            foreign.setdefault(name, []).append(pod)
    return [_for_sale(machine, foreign.get(name, []), rules) for name, machine in sorted(open_.items())]


def takes_workspaces(machine: Document, rules: Kubernetes) -> bool:
    """Whether a workspace could be put there at all."""
    spec = machine.get("spec") or {}
    if spec.get("unschedulable") or not is_ready(machine):
        return False
    taints = [taint for taint in spec.get("taints") or [] if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(one, taint) for one in rules.tolerations) for taint in taints)


def gpu_model(labels: Mapping[str, str], rules: Kubernetes) -> str:
    """The model as offers name it: by the settings, else the label without the vendor's name."""
    label = labels.get(rules.gpu_label, "")
    if label in rules.gpu_models:
        return rules.gpu_models[label]
    short = VENDOR.sub("", VENDOR.sub("", label))
    return re.sub(r"^(RTX|GTX)-", r"\1 ", short) or UNKNOWN_MODEL


def requested(pod: Document, resource: str) -> Decimal:
    """What the scheduler sets aside for a pod: its containers together, or the largest step of its initialisation."""
    spec = pod.get("spec") or {}
    together = sum((_request(c, resource) for c in spec.get("containers") or []), Decimal(0))
    beside, largest = Decimal(0), Decimal(0)
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":  # it stays beside the others
            beside += _request(container, resource)
            largest = max(largest, beside)
        else:
            largest = max(largest, beside + _request(container, resource))
    return max(together + beside, largest) + quantity((spec.get("overhead") or {}).get(resource, 0))


def _for_sale(machine: Document, foreign: Sequence[Document], rules: Kubernetes) -> Node:
    allocatable = machine["status"].get("allocatable") or {}

    def left(resource: str) -> Decimal:
        return quantity(allocatable.get(resource, 0)) - sum((requested(pod, resource) for pod in foreign), Decimal(0))

    model = gpu_model(_labels(machine), rules)
    count = max(int(left(rules.gpu_resources.get(model, rules.gpu_resource))), 0)
    gpus = tuple((f"{model}#{number}", model) for number in range(count))
    vcpu = int(left("cpu") - Decimal(rules.reserve_vcpu))
    memory_mib = int(left("memory") // MIB) - rules.reserve_memory_mib
    return Node(machine["metadata"]["name"], max(vcpu, 0), max(memory_mib, 0), gpus)


def _request(container: Document, resource: str) -> Decimal:
    resources = container.get("resources") or {}
    asked = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource, 0))
    return quantity(asked)


def _tolerates(toleration: Document, taint: Document) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")


def _labels(document: Document) -> Mapping[str, str]:
    return document["metadata"].get("labels") or {}


def _selection(rules: Kubernetes) -> dict[str, str]:
    chosen = ",".join(f"{key}={value}" for key, value in sorted(rules.node_selector.items()))
    return {"labelSelector": chosen} if chosen else {}
