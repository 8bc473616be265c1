"""What `ark doctor` looks at where workspaces are pods: the API, machines, storage, priorities and network policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ark_extensions.cli.finding import Finding
from ark_extensions.cluster_api import ClusterApi, ClusterError, access_of
from ark_extensions.domain.cluster import INSTALLATION
from ark_extensions.nodes.kubernetes import nodes_for_sale
from ark_extensions.settings import Settings

Document = Mapping[str, Any]
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
RIGHTS = "Install or upgrade helm-values/ark, which grants what is needed."


def cluster(settings: Settings) -> Iterator[Finding]:
    """Everything about the cluster; one problem when it cannot be asked at all."""
    try:
        access = access_of(settings)
        api = ClusterApi(access, timeout_seconds=settings.kubernetes.request_timeout_seconds)
        machines = api.items("/api/v1/nodes")
    except ClusterError as error:
        yield Finding("kubernetes", "problem", str(error), "Check the setting kubernetes.kubeconfig, or the pod's service account.")
        return
    yield Finding("kubernetes", "ok", f"The API at {access.server} answers.")
    parts: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("machines", lambda: _machines(machines, api.items("/api/v1/pods"), settings)),
        ("storage", lambda: storage_class(api.items("/apis/storage.k8s.io/v1/storageclasses"), settings.kubernetes.storage_class)),
        ("files", lambda: _claims(api, settings)),
        ("priorities", lambda: _priorities(api, settings)),
        ("network", lambda: network(_policies(api, settings), settings.kubernetes.installation, _guarded(access.server, machines))),
    ]
    for name, look in parts:
        try:
            yield from look()
        except ClusterError as error:
            yield Finding(
                name, "problem", str(error), RIGHTS if error.status == 403 else "Try again; if it stays, ask who runs the cluster."
            )


def _machines(machines: Sequence[Document], pods: Sequence[Document], settings: Settings) -> Iterator[Finding]:
    nodes = nodes_for_sale(machines, pods, settings.kubernetes)
    gpus = sum(len(node.gpus) for node in nodes)
    if not nodes:
        remedy = "Look for cordons, taints and conditions with `kubectl describe nodes`, and at node_selector and tolerations."
        yield Finding("machines", "problem", f"None of {len(machines)} nodes takes workspaces.", remedy)
    elif gpus:
        yield Finding("machines", "ok", f"{len(nodes)} of {len(machines)} nodes take workspaces; {gpus} GPUs are not in other pods' hands.")
    else:
        remedy = f"With GPUs in them: install the GPU operator, and check gpu_resource ({settings.kubernetes.gpu_resource})."
        yield Finding("machines", "note", f"{len(nodes)} of {len(machines)} nodes take workspaces; none has a GPU to sell.", remedy)


def storage_class(classes: Sequence[Document], wanted: str | None) -> Iterator[Finding]:
    """The storage class of data disks: there, and able to grow."""
    if wanted is not None:
        found = [one for one in classes if one["metadata"]["name"] == wanted]
    else:
        found = [one for one in classes if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    if not found:
        missing = f"There is no storage class {wanted}." if wanted else "The cluster has no default storage class."
        yield Finding("storage", "problem", missing, "Name one in kubernetes.storage_class: see `kubectl get storageclass`.")
        return
    name = found[0]["metadata"]["name"]
    if found[0].get("allowVolumeExpansion"):
        yield Finding("storage", "ok", f"Data disks are made by {name}, and can grow.")
    else:
        yield Finding(
            "storage", "note", f"Data disks are made by {name}, which cannot grow them.", "Set allowVolumeExpansion, if it is able to."
        )


def _claims(api: ClusterApi, settings: Settings) -> Iterator[Finding]:
    rules = settings.kubernetes
    for name in dict.fromkeys((rules.netdisk_claim, rules.catalogue_claim)):
        claim = api.get(f"/api/v1/namespaces/{rules.namespace}/persistentvolumeclaims/{name}")
        phase = ((claim or {}).get("status") or {}).get("phase")
        modes = ((claim or {}).get("spec") or {}).get("accessModes") or []
        if claim is None:
            yield Finding("files", "problem", f"There is no claim {name}, on which netdisks and the catalogue lie.", RIGHTS)
        elif phase != "Bound":
            yield Finding("files", "problem", f"The claim {name} is {phase}.", f"See `kubectl describe pvc -n {rules.namespace} {name}`.")
        elif not {"ReadWriteMany", "ReadOnlyMany"} & set(modes):
            yield Finding("files", "note", f"The claim {name} can be used on one node only.", "With more nodes: use a ReadWriteMany class.")
        else:
            yield Finding("files", "ok", f"The claim {name} is bound, for many nodes.")


def _priorities(api: ClusterApi, settings: Settings) -> Iterator[Finding]:
    rules = settings.kubernetes
    wanted = [name for name in (rules.priority_class_monthly, rules.priority_class_payg) if name]
    if not wanted:
        yield Finding("priorities", "note", "Monthly compute has no priority.", "Set priority_class_monthly and priority_class_payg.")
        return
    found = {one["metadata"]["name"]: one["value"] for one in api.items("/apis/scheduling.k8s.io/v1/priorityclasses")}
    missing = [name for name in wanted if name not in found]
    if missing:
        yield Finding("priorities", "problem", f"There is no priority class {', '.join(missing)}: such workspaces cannot start.", RIGHTS)
    elif len(wanted) == 2 and found[wanted[0]] <= found[wanted[1]]:
        yield Finding(
            "priorities", "problem", "Monthly compute has no higher priority than pay-as-you-go.", "Give its class a higher value."
        )
    else:
        yield Finding("priorities", "ok", "Monthly compute goes before pay-as-you-go.")


def _policies(api: ClusterApi, settings: Settings) -> list[dict[str, Any]]:
    return api.items(f"/apis/networking.k8s.io/v1/namespaces/{settings.kubernetes.namespace}/networkpolicies")


def network(policies: Sequence[Document], installation: str, guarded: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a policy holds workspaces, and whether what must be out of their reach (address → what it is) is so."""
    mine = [p["spec"] for p in policies if (p["spec"]["podSelector"].get("matchLabels") or {}).get(INSTALLATION) == installation]
    egress = [spec for spec in mine if "Egress" in spec.get("policyTypes", [])]
    if not egress:
        remedy = "Install helm-values/ark with network.enabled, and a network plugin that enforces policies."
        yield Finding("network", "problem", "No network policy holds workspaces: they reach each other and the cluster.", remedy)
        return
    blocks = [
        to["ipBlock"]
        for spec in egress
        for rule in spec.get("egress") or []
        if not rule.get("ports")
        for to in rule.get("to") or []
        if "ipBlock" in to
    ]
    for address, what in guarded.items():
        if any(_reaches(block, address) for block in blocks):
            remedy = f"Add {address} to network.blocked in the values of helm-values/ark."
            yield Finding("network", "problem", f"Workspaces can reach {what} at {address}.", remedy)
    yield Finding("network", "ok", "A network policy holds workspaces; whether it is enforced is up to the cluster's network plugin.")


def _reaches(block: Document, address: str) -> bool:
    place = ipaddress.ip_address(address)

    def holds(cidr: str) -> bool:
        network = ipaddress.ip_network(cidr, strict=False)
        return network.version == place.version and place in network

    return holds(block["cidr"]) and not any(holds(cidr) for cidr in block.get("except") or [])


def _guarded(server: str, machines: Sequence[Document]) -> dict[str, str]:
    """Addresses that workspaces must not reach: nodes', the API's, the clouds' metadata service."""
    found = {"169.254.169.254": "the cloud's metadata service"}
    for machine in machines:
        for address in (machine.get("status") or {}).get("addresses") or []:
            if address.get("type") in ("InternalIP", "ExternalIP"):
                found[address["address"]] = f"the node {machine['metadata']['name']}"
    host = urlsplit(server).hostname or ""
    try:
        found[str(ipaddress.ip_address(host))] = "the Kubernetes API"
    except ValueError:
        pass  # a name: its addresses may differ from here to there
    return found
