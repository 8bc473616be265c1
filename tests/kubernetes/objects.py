"""What a fresh cluster is given: the name space of workspaces, storage, priorities, pretended GPUs. Pure."""

from __future__ import annotations

from typing import Any

from tests.kubernetes.place import NAMESPACE, STORAGE_CLASS, Place

GPU = "nvidia.com/gpu"
GPU_MODEL = "NVIDIA-A100-SXM4-80GB"
GPU_COUNT = 4
#: claims that many pods write to, or read from: their directories are ``shared/<name>`` on the host
SHARED = {"ark-netdisk": "netdisk", "ark-catalogue": "catalogue"}


def fresh(place: Place) -> list[dict[str, Any]]:
    return [_namespace(), _storage_class(), *(thing for claim, name in SHARED.items() for thing in _shared(place, claim, name))]


def node_labels() -> dict[str, str]:
    """As the GPU operator labels nodes."""
    return {f"{GPU}.product": GPU_MODEL, f"{GPU}.count": str(GPU_COUNT), f"{GPU}.present": "true"}


def node_status() -> dict[str, Any]:
    """Extended resources are only countable when capacity and allocatable both have them."""
    count = {GPU: str(GPU_COUNT)}
    return {"status": {"capacity": count, "allocatable": count}}


def _namespace() -> dict[str, Any]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "disks.ark.test",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "volumeBindingMode": "Immediate",
    }


def _shared(place: Place, claim: str, name: str) -> list[dict[str, Any]]:
    size, modes = {"storage": "1Ti"}, ["ReadWriteMany"]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": claim},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": NAMESPACE, "name": claim},
            "hostPath": {"path": str(place.shared / name)},
        },
    }
    spec = {"accessModes": modes, "storageClassName": "", "volumeName": claim, "resources": {"requests": size}}
    return [
        volume,
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": NAMESPACE}, "spec": spec},
    ]
