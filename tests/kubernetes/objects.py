"""What a fresh cluster is given: the name space of workspaces, storage, priorities, pretended GPUs. Pure."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tests.kubernetes.place import NAMESPACE, STORAGE_CLASS, Place

GPU = "nvidia.com/gpu"
GPU_MODEL = "NVIDIA-A100-SXM4-80GB"
GPU_COUNT = 4
#: the claim of what workspaces share: netdisk and catalogue, in directories of the platform's own layout
FILES = "ark-files"


def fresh(place: Place) -> list[dict[str, Any]]:
    return [namespace(), storage_class(), *files(NAMESPACE, place.shared)]


def node_labels() -> dict[str, str]:
    """As the GPU operator labels nodes."""
    return {f"{GPU}.product": GPU_MODEL, f"{GPU}.count": str(GPU_COUNT), f"{GPU}.present": "true"}


def node_status() -> dict[str, Any]:
    """Extended resources are only countable when capacity and allocatable both have them."""
    count = {GPU: str(GPU_COUNT)}
    return {"status": {"capacity": count, "allocatable": count}}


def other_node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A node that is only on record: the scheduler may choose it, nobody starts anything there."""
    managed = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    marks = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}, "annotations": managed}
    return {"apiVersion": "v1", "kind": "Node", "metadata": marks}


def other_node_status(now: datetime, **amounts: str) -> dict[str, Any]:
    """Its sign of life at ``now``, and what it has."""
    has = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "200Gi", "pods": "110", **amounts}
    beat = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "OnRecord", "message": "", "lastHeartbeatTime": beat}
    return {"status": {"capacity": has, "allocatable": has, "conditions": [ready]}}


def namespace(name: str = NAMESPACE) -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "disks.ark.test",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "volumeBindingMode": "Immediate",
    }


def files(namespace: str, directory: Path) -> list[dict[str, Any]]:
    """A directory of this machine as the claim `FILES` of a name space, for many pods at once: it stands for NFS."""
    size, modes, name = {"storage": "1Ti"}, ["ReadWriteMany"], f"{FILES}-{namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": FILES},
            "hostPath": {"path": str(directory)},
        },
    }
    spec = {"accessModes": modes, "storageClassName": "", "volumeName": name, "resources": {"requests": size}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": FILES, "namespace": namespace}, "spec": spec}
    return [volume, claim]
