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
from ark_extensions.supervisor.words import phrase

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
        yield Finding("kubernetes", "problem", str(error), phrase("Check the setting kubernetes.kubeconfig, or the pod's service account."))
        return
    yield Finding("kubernetes", "ok", phrase("The API at {server} answers.", server=access.server))
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
            remedy = phrase(RIGHTS) if error.status == 403 else phrase("Try again; if it stays, ask who runs the cluster.")
            yield Finding(name, "problem", str(error), remedy)


def _machines(machines: Sequence[Document], pods: Sequence[Document], settings: Settings) -> Iterator[Finding]:
    nodes = nodes_for_sale(machines, pods, settings.kubernetes)
    gpus = sum(len(node.gpus) for node in nodes)
    some: dict[str, object] = {"nodes": len(nodes), "count": len(machines)}
    if not nodes:
        remedy = phrase("Look for cordons, taints and conditions with `kubectl describe nodes`, and at node_selector and tolerations.")
        yield Finding("machines", "problem", phrase("None of {count} nodes takes workspaces.", count=len(machines)), remedy)
    elif gpus:
        sentence = phrase("{nodes} of {count} nodes take workspaces; {gpus} GPUs are not in other pods' hands.", **some, gpus=gpus)
        yield Finding("machines", "ok", sentence)
    else:
        resource = settings.kubernetes.gpu_resource
        remedy = phrase("With GPUs in them: install the GPU operator, and check gpu_resource ({resource}).", resource=resource)
        yield Finding("machines", "note", phrase("{nodes} of {count} nodes take workspaces; none has a GPU to sell.", **some), remedy)


def storage_class(classes: Sequence[Document], wanted: str | None) -> Iterator[Finding]:
    """The storage class of data disks: there, and able to grow."""
    if wanted is not None:
        found = [one for one in classes if one["metadata"]["name"] == wanted]
    else:
        found = [one for one in classes if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    if not found:
        missing = (
            phrase("There is no storage class {name}.", name=wanted) if wanted else phrase("The cluster has no default storage class.")
        )
        yield Finding("storage", "problem", missing, phrase("Name one in kubernetes.storage_class: see `kubectl get storageclass`."))
        return
    name = found[0]["metadata"]["name"]
    if found[0].get("allowVolumeExpansion"):
        yield Finding("storage", "ok", phrase("Data disks are made by {name}, and can grow.", name=name))
    else:
        sentence = phrase("Data disks are made by {name}, which cannot grow them.", name=name)
        yield Finding("storage", "note", sentence, phrase("Set allowVolumeExpansion, if it is able to."))


def _claims(api: ClusterApi, settings: Settings) -> Iterator[Finding]:
    rules = settings.kubernetes
    for name in dict.fromkeys((rules.netdisk_claim, rules.catalogue_claim)):
        claim = api.get(f"/api/v1/namespaces/{rules.namespace}/persistentvolumeclaims/{name}")
        phase = ((claim or {}).get("status") or {}).get("phase")
        modes = ((claim or {}).get("spec") or {}).get("accessModes") or []
        if claim is None:
            sentence = phrase("There is no claim {name}, on which netdisks and the catalogue lie.", name=name)
            yield Finding("files", "problem", sentence, phrase(RIGHTS))
        elif phase != "Bound":
            remedy = phrase("See `{command}`.", command=f"kubectl describe pvc -n {rules.namespace} {name}")
            yield Finding("files", "problem", phrase("The claim {name} is {phase}.", name=name, phase=phase), remedy)
        elif not {"ReadWriteMany", "ReadOnlyMany"} & set(modes):
            sentence = phrase("The claim {name} can be used on one node only.", name=name)
            yield Finding("files", "note", sentence, phrase("With more nodes: use a ReadWriteMany class."))
        else:
            yield Finding("files", "ok", phrase("The claim {name} is bound, for many nodes.", name=name))


def _priorities(api: ClusterApi, settings: Settings) -> Iterator[Finding]:
    rules = settings.kubernetes
    wanted = [name for name in (rules.priority_class_monthly, rules.priority_class_payg) if name]
    if not wanted:
        remedy = phrase("Set priority_class_monthly and priority_class_payg.")
        yield Finding("priorities", "note", phrase("Monthly compute has no priority."), remedy)
        return
    found = {one["metadata"]["name"]: one["value"] for one in api.items("/apis/scheduling.k8s.io/v1/priorityclasses")}
    missing = [name for name in wanted if name not in found]
    if missing:
        sentence = phrase("There is no priority class {names}: such workspaces cannot start.", names=", ".join(missing))
        yield Finding("priorities", "problem", sentence, phrase(RIGHTS))
    elif len(wanted) == 2 and found[wanted[0]] <= found[wanted[1]]:
        sentence = phrase("Monthly compute has no higher priority than pay-as-you-go.")
        yield Finding("priorities", "problem", sentence, phrase("Give its class a higher value."))
    else:
        yield Finding("priorities", "ok", phrase("Monthly compute goes before pay-as-you-go."))


def _policies(api: ClusterApi, settings: Settings) -> list[dict[str, Any]]:
    return api.items(f"/apis/networking.k8s.io/v1/namespaces/{settings.kubernetes.namespace}/networkpolicies")


def network(policies: Sequence[Document], installation: str, guarded: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a policy holds workspaces, and whether what must be out of their reach (address → what it is) is so."""
    mine = [p["spec"] for p in policies if (p["spec"]["podSelector"].get("matchLabels") or {}).get(INSTALLATION) == installation]
    egress = [spec for spec in mine if "Egress" in spec.get("policyTypes", [])]
    if not egress:
        remedy = phrase("Install helm-values/ark with network.enabled, and a network plugin that enforces policies.")
        yield Finding("network", "problem", phrase("No network policy holds workspaces: they reach each other and the cluster."), remedy)
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
            remedy = phrase("Add {address} to network.blocked in the values of helm-values/ark.", address=address)
            yield Finding("network", "problem", phrase("Workspaces can reach {what} at {address}.", what=what, address=address), remedy)
    sentence = phrase("A network policy holds workspaces; whether it is enforced is up to the cluster's network plugin.")
    yield Finding("network", "ok", sentence)


def _reaches(block: Document, address: str) -> bool:
    place = ipaddress.ip_address(address)

    def holds(cidr: str) -> bool:
        network = ipaddress.ip_network(cidr, strict=False)
        return network.version == place.version and place in network

    return holds(block["cidr"]) and not any(holds(cidr) for cidr in block.get("except") or [])


def _guarded(server: str, machines: Sequence[Document]) -> dict[str, str]:
    """Addresses that workspaces must not reach: nodes', the API's, the clouds' metadata service."""
    found = {"169.254.169.254": phrase("the cloud's metadata service")}
    for machine in machines:
        for address in (machine.get("status") or {}).get("addresses") or []:
            if address.get("type") in ("InternalIP", "ExternalIP"):
                found[address["address"]] = phrase("the node {name}", name=machine["metadata"]["name"])
    host = urlsplit(server).hostname or ""
    try:
        found[str(ipaddress.ip_address(host))] = phrase("the Kubernetes API")
    except ValueError:
        pass  # a name: its addresses may differ from here to there
    return found
