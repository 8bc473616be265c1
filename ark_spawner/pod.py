"""A workspace as objects of a Kubernetes cluster: pure, so that a person can read them in golden files.

Promises of the pod: requests are limits; it runs as uid 1000 without any capability, and knows nothing of the cluster (no
service account token, no service links); datasets and models are read-only; each claim is one volume, however many mounts
it has; what identifies it is in labels; tokens are in its secret, never in its environment's clear text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ark_extensions.domain import cluster as names
from ark_extensions.domain.offers import Plan
from ark_extensions.domain.workspaces import LaunchSpec
from ark_spawner import filesystem as fs

Manifest = dict[str, Any]

#: the container's name and its port's, as KubeSpawner knows them
CONTAINER = "notebook"
PORT_NAME = "notebook-port"
PORT = 8888
#: seconds between the request to end and the end by force
GRACE_SECONDS = 6
#: a node that does not answer keeps its pods this long (Kubernetes' own default is 300)
NODE_PATIENCE_SECONDS = 5
#: of the environment: what nobody who may only read pods should read
SECRET_NAMES = frozenset({"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "ARK_SSH_HOST_KEY", "ARK_SSH_DOOR"})
RUNTIME_MIB = 64
#: where kubelet shows the directories that it makes as mount points: a sub-path that is missing is made
MOUNT_POINTS = PurePosixPath("/run/ark/mount-points")


@dataclass(frozen=True)
class Cluster:
    """What a pod must know of the cluster; the settings `kubernetes` with the same names document it."""

    installation: str = "ark"
    storage_class: str | None = None
    data_disk_default_gib: int = 10
    data_disk_access_mode: str = "ReadWriteOnce"
    netdisk_claim: str = "ark-files"
    netdisk_sub_path: str = "netdisk/{user}/data"
    catalogue_claim: str = "ark-files"
    catalogue_sub_path: str = "catalog/{kind}/{name}/{version}"
    images: Mapping[str, str] = field(default_factory=dict)
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: Sequence[str] = ()
    gpu_resource: str = "nvidia.com/gpu"
    gpu_resources: Mapping[str, str] = field(default_factory=dict)
    gpu_label: str = "nvidia.com/gpu.product"
    gpu_models: Mapping[str, str] = field(default_factory=dict)
    gpu_runtime_class: str | None = None
    runtime_class: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    system_disk_gib: int = 150
    priority_class_payg: str | None = None
    priority_class_monthly: str | None = None
    pod_overrides: Mapping[str, Any] = field(default_factory=dict)
    #: labels and annotations that the Hub's chart puts on its pods
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Cluster:
        return self  # traitlets copies what is configured for each spawner, and nobody changes this


def pod(spec: LaunchSpec, cluster: Cluster, *, program: Sequence[str], environment: Mapping[str, str]) -> Manifest:
    """The pod of one launch. ``environment``: everything its first process is given; secrets of it become references."""
    container = {
        "name": CONTAINER,
        "image": cluster.images.get(spec.image_reference, spec.image_reference),
        "imagePullPolicy": cluster.image_pull_policy,
        "command": list(program),
        "env": _environment(spec, environment),
        "ports": [
            {"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"},
            {"name": "ssh", "containerPort": names.SSH_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(spec, cluster),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": _mounts(spec, cluster),
        "workingDir": str(fs.HOME),
    }
    body: Manifest = {
        "hostname": spec.workspace_name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,  # the sandbox's first process reaps what the workspace's programs leave behind
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": fs.UID,
            "runAsGroup": fs.GID,
            "fsGroup": fs.GID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": _volumes(spec, cluster),
        **_placement(spec, cluster),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(spec, cluster, names.pod_name(spec.workspace_id), component="singleuser-server", launch=True),
        "spec": merged(body, cluster.pod_overrides),
    }


def claim(spec: LaunchSpec, cluster: Cluster) -> Manifest:
    """The claim of the data disk. It outlives its pods: only the reconciler deletes it, after the recycle period."""
    body: Manifest = {
        "accessModes": [cluster.data_disk_access_mode],
        "resources": {"requests": {"storage": f"{disk_gib(spec, cluster)}Gi"}},
    }
    if cluster.storage_class is not None:
        body["storageClassName"] = cluster.storage_class
    metadata = _metadata(spec, cluster, names.claim_name(spec.workspace_id), component="singleuser-storage", launch=False)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": body}


def secret(spec: LaunchSpec, cluster: Cluster, *, environment: Mapping[str, str], pod_uid: str) -> Manifest:
    """What the pod's environment refers to. Owned by the pod: Kubernetes deletes it with that."""
    name = names.pod_name(spec.workspace_id)
    metadata = _metadata(spec, cluster, name, component="singleuser-server", launch=True)
    metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod_uid}]
    data = {key: base64.b64encode(environment[key].encode()).decode() for key in sorted(SECRET_NAMES & environment.keys())}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def disk_gib(spec: LaunchSpec, cluster: Cluster) -> int:
    """Size of the data disk: what was bought, or the small default."""
    return spec.data_disk_gib or cluster.data_disk_default_gib


def merged(base: Manifest, changes: Mapping[str, Any]) -> Manifest:
    """``base`` with ``changes`` over it: maps are merged, everything else is replaced, lists are added to."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            result[key] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, Sequence) and not isinstance(value, str):
            result[key] = [*old, *value]
        else:
            result[key] = value
    return result


def _metadata(spec: LaunchSpec, cluster: Cluster, name: str, *, component: str, launch: bool) -> Manifest:
    labels = {
        **(cluster.labels if launch else {}),
        "component": component,
        "app.kubernetes.io/component": component,
        **names.labels(cluster.installation, workspace_id=spec.workspace_id, owner=spec.owner),
        **({names.LAUNCH: spec.launch_id} if launch else {}),
    }
    annotations = {
        **(cluster.annotations if launch else {}),
        names.OWNER_NAME: spec.owner,
        names.WORKSPACE_NAME: spec.workspace_name,
    }
    return {"name": name, "labels": labels, "annotations": annotations}


def _environment(spec: LaunchSpec, environment: Mapping[str, str]) -> list[Manifest]:
    """In order of names. Kubernetes would fill in ``$(NAME)``, which nobody means."""
    lines: list[Manifest] = []
    for name, value in sorted(environment.items()):
        if name in SECRET_NAMES:
            reference = {"name": names.pod_name(spec.workspace_id), "key": name}
            lines.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
        else:
            lines.append({"name": name, "value": value.replace("$(", "$$(")})
    return lines


def _resources(spec: LaunchSpec, cluster: Cluster) -> Manifest:
    quantities = spec.quantities
    amounts: dict[str, str] = {
        "cpu": str(quantities.vcpu),
        "memory": f"{quantities.memory_mib}Mi",
        "ephemeral-storage": f"{quantities.system_disk_gib or cluster.system_disk_gib}Gi",
    }
    if quantities.gpu_count:
        resource = cluster.gpu_resources.get(quantities.gpu_model or "", cluster.gpu_resource)
        amounts[resource] = str(quantities.gpu_count)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _placement(spec: LaunchSpec, cluster: Cluster) -> Manifest:
    """Where it may run, and who goes first. The node is the one whose stock the order took."""
    quantities, body = spec.quantities, Manifest()
    away = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_PATIENCE_SECONDS}
        for what in ("not-ready", "unreachable")
    ]
    tolerations = [*map(dict, cluster.tolerations), *away]
    selector, runtime_class, expressions = dict(cluster.node_selector), cluster.runtime_class, list[Manifest]()
    if quantities.gpu_count:
        runtime_class = cluster.gpu_runtime_class
        # a node that is chosen already has the model; its label may say it in other words than the offer
        expressions = [] if spec.node else [{"key": cluster.gpu_label, "operator": "In", "values": _gpu_labels(spec, cluster)}]
    body["affinity"] = _affinity(expressions, spec.node)
    body |= {"tolerations": tolerations, "nodeSelector": selector, "runtimeClassName": runtime_class}
    body["priorityClassName"] = cluster.priority_class_monthly if spec.plan is Plan.MONTHLY else cluster.priority_class_payg
    body["imagePullSecrets"] = [{"name": name} for name in cluster.image_pull_secrets]
    return {key: value for key, value in body.items() if value}


def _gpu_labels(spec: LaunchSpec, cluster: Cluster) -> list[str]:
    model = spec.quantities.gpu_model or ""
    return sorted(value for value, told in cluster.gpu_models.items() if told == model) or [model]


def _affinity(expressions: list[Manifest], node: str) -> Manifest:
    term: Manifest = {}
    if expressions:
        term["matchExpressions"] = expressions
    if node:
        term["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    if not term:
        return {}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def _volumes(spec: LaunchSpec, cluster: Cluster) -> list[Manifest]:
    """Two volumes of one claim would hang on some versions of Kubernetes: each claim is named once."""
    volumes: list[Manifest] = [
        {"name": "home", "persistentVolumeClaim": {"claimName": names.claim_name(spec.workspace_id)}},
        {"name": "netdisk", "persistentVolumeClaim": {"claimName": cluster.netdisk_claim}},
    ]
    if spec.mounts and _catalogue_volume(cluster) == "catalogue":
        volumes.append({"name": "catalogue", "persistentVolumeClaim": {"claimName": cluster.catalogue_claim, "readOnly": True}})
    volumes += [
        {"name": "imported", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "runtime", "emptyDir": {"medium": "Memory", "sizeLimit": f"{RUNTIME_MIB}Mi"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{spec.quantities.memory_mib}Mi"}},
    ]
    return volumes


def _catalogue_volume(cluster: Cluster) -> str:
    return "netdisk" if cluster.catalogue_claim == cluster.netdisk_claim else "catalogue"


def _mounts(spec: LaunchSpec, cluster: Cluster) -> list[Manifest]:
    """The guide's paths. The imported directories are read-only themselves, so kubelet must make the mount points in
    them: it makes a sub-path that is missing, which is what the mounts below `MOUNT_POINTS` are for."""
    netdisk = names.netdisk_sub_path(cluster.netdisk_sub_path, spec.owner)
    mounts: list[Manifest] = [
        {"name": "home", "mountPath": str(fs.HOME)},
        {"name": "netdisk", "mountPath": str(fs.NETDISK), "subPath": netdisk},
        {"name": "netdisk", "mountPath": str(fs.HOME_NETDISK), "subPath": netdisk},
        {"name": "runtime", "mountPath": str(fs.RUNTIME)},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    for kind, directory in fs.IMPORTED.items():
        mounts.append({"name": "imported", "mountPath": str(directory), "subPath": kind, "readOnly": True})
    for item in spec.mounts:
        point = f"{item.kind}/{item.name}"
        mounts.append({"name": "imported", "mountPath": str(MOUNT_POINTS / point), "subPath": point, "readOnly": True})
        source = names.item_sub_path(cluster.catalogue_sub_path, item)
        mounts.append({"name": _catalogue_volume(cluster), "mountPath": str(fs.item_path(item)), "subPath": source, "readOnly": True})
    return mounts
