"""Disks in a cluster: a claim for each workspace's data disk, and its pod, whose system disk goes with it.

Promises: only what carries this installation's label and the very workspace's id is touched, and by its uid, so that
nothing made since under the same name is hit; deleting what is gone is no error. Netdisks and catalogue are files of a claim
that the services mount (``local_dir`` under the state directory); a workspace mounts them by sub-path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ark_extensions.cluster_api import ClusterApi, is_ready, quantity
from ark_extensions.domain.cluster import INSTALLATION, WORKSPACE, claim_name
from ark_extensions.domain.errors import Conflict, NotFound
from ark_extensions.settings import Kubernetes
from ark_extensions.volumes.local_dir import WORKSPACE_ID

log = logging.getLogger("ark")

#: since when a disk has had no workspace (ISO time): an annotation on its claim
ORPHAN_SINCE = "ark/orphan-since"
GIB = 1 << 30


@dataclass(frozen=True)
class DataDisk:
    """A data disk that is there. ``orphan_since``: when it was first found without a workspace."""

    workspace_id: str
    size_gib: int
    orphan_since: datetime | None


@dataclass(frozen=True)
class LostPod:
    """A workspace on a machine that does not answer any more."""

    workspace_id: str
    node: str


class ClusterDisks:
    def __init__(self, api: ClusterApi, rules: Kubernetes) -> None:
        self._api, self._rules = api, rules
        self._claims = f"/api/v1/namespaces/{rules.namespace}/persistentvolumeclaims"
        self._pods = f"/api/v1/namespaces/{rules.namespace}/pods"

    def data_disks(self) -> list[DataDisk]:
        """Every data disk of this installation, also those whose workspace is unknown; not those that are being deleted."""
        return [_disk(claim) for claim in self._listed(self._claims) if "deletionTimestamp" not in claim["metadata"]]

    def system_disk_usage(self, workspace_id: str) -> int | None:
        """None: what a pod wrote is known to its node alone."""
        _checked(workspace_id)
        return None

    def delete_data_disk(self, workspace_id: str) -> None:
        """Delete the claim, and with it the disk, by its storage class's reclaim policy. Raises Conflict if it is not ours."""
        claim = self._claim(workspace_id)
        if claim is not None:
            self._api.delete(f"{self._claims}/{claim['metadata']['name']}", uid=claim["metadata"]["uid"])

    def grow_data_disk(self, workspace_id: str, size_gib: int) -> bool:
        """Ask for a bigger disk; the storage class must allow it. False when it is that big already, or not there."""
        claim = self._claim(workspace_id)
        if claim is None or _size_gib(claim) >= size_gib:
            return False
        change = {"spec": {"resources": {"requests": {"storage": f"{size_gib}Gi"}}}}
        self._api.patch(f"{self._claims}/{claim['metadata']['name']}", change)
        return True

    def mark_orphan(self, workspace_id: str, since: datetime | None) -> None:
        """Note on the claim since when nobody knows its workspace; None takes the note away."""
        claim = self._claim(workspace_id)
        if claim is not None:
            note = since.astimezone(UTC).isoformat() if since else None
            self._api.patch(f"{self._claims}/{claim['metadata']['name']}", {"metadata": {"annotations": {ORPHAN_SINCE: note}}})

    def run_dirs(self) -> list[str]:
        """Ids of the workspaces that have a pod now."""
        return sorted({pod["metadata"]["labels"][WORKSPACE] for pod in self._listed(self._pods)})

    def remove_run_dir(self, workspace_id: str) -> None:
        """End the workspace's pod, if there is one."""
        self._end(workspace_id, None)

    def remove_lost(self, workspace_id: str) -> None:
        """Forget the pod of a machine that will not answer: nobody is there who could end it."""
        self._end(workspace_id, 0)

    def lost_pods(self) -> list[LostPod]:
        """Workspaces whose machine is gone from the cluster or not ready."""
        pods = [pod for pod in self._listed(self._pods) if (pod.get("spec") or {}).get("nodeName")]
        if not pods:
            return []
        well = {machine["metadata"]["name"] for machine in self._api.items("/api/v1/nodes") if is_ready(machine)}
        found = [LostPod(pod["metadata"]["labels"][WORKSPACE], pod["spec"]["nodeName"]) for pod in pods]
        return [pod for pod in found if pod.node not in well]

    def _end(self, workspace_id: str, grace_seconds: int | None) -> None:
        _checked(workspace_id)
        for pod in self._api.items(self._pods, labelSelector=f"{self._ours},{WORKSPACE}={workspace_id}"):
            self._api.delete(f"{self._pods}/{pod['metadata']['name']}", uid=pod["metadata"]["uid"], grace_seconds=grace_seconds)

    def _claim(self, workspace_id: str) -> Mapping[str, Any] | None:
        _checked(workspace_id)
        claim = self._api.get(f"{self._claims}/{claim_name(workspace_id)}")
        if claim is None:
            return None
        labels = claim["metadata"].get("labels") or {}
        if labels.get(INSTALLATION) != self._rules.installation or labels.get(WORKSPACE) != workspace_id:
            name = claim_name(workspace_id)
            raise Conflict("The claim {name} does not carry this installation's labels: it is left alone.", code="not_ours", name=name)
        return claim

    def _listed(self, path: str) -> list[dict[str, Any]]:
        found = self._api.items(path, labelSelector=f"{self._ours},{WORKSPACE}")
        return [one for one in found if WORKSPACE_ID.fullmatch(one["metadata"]["labels"][WORKSPACE])]

    @property
    def _ours(self) -> str:
        return f"{INSTALLATION}={self._rules.installation}"


def _size_gib(claim: Mapping[str, Any]) -> int:
    return int(quantity(claim["spec"]["resources"]["requests"]["storage"]) // GIB)


def _disk(claim: Mapping[str, Any]) -> DataDisk:
    note = (claim["metadata"].get("annotations") or {}).get(ORPHAN_SINCE)
    try:
        since = datetime.fromisoformat(note).astimezone(UTC) if note else None
    except ValueError:
        since = None
    return DataDisk(claim["metadata"]["labels"][WORKSPACE], _size_gib(claim), since)


def _checked(workspace_id: str) -> None:
    if not WORKSPACE_ID.fullmatch(workspace_id):
        raise NotFound("There is no such workspace.")
