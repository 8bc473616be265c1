"""The runtime `kubernetes`: workspaces are pods. Where Hub, proxy and services listen is not said here: it is the chart's, or base's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ark_extensions.domain.cluster import door_token
from ark_extensions.domain.workspaces import LaunchSpec
from ark_extensions.settings import Kubernetes, Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import ssh_sessions
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_spawner.environment import Mirrors
from ark_spawner.kube import ArkKubeSpawner
from ark_spawner.pod import Cluster
from hub_config.base import CONSOLE

#: fields of the settings that are not a pod's business
NOT_FOR_PODS = frozenset(
    {"namespace", "kubeconfig", "request_timeout_seconds", "image_environment", "image_pull_seconds", "gpu_memory_label"}
    | {"reserve_vcpu", "reserve_memory_mib"}
)


def cluster_of(settings: Kubernetes, *, data_disk_default_gib: int, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Cluster:
    """What a pod must know of the cluster. ``labels``, ``annotations``: what the Hub's chart puts on its pods."""
    told = {name: getattr(settings, name) for name in type(settings).model_fields if name not in NOT_FOR_PODS}
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return Cluster(data_disk_default_gib=data_disk_default_gib, labels=labels, annotations=annotations, **{**told, **lists})


def ssh_environment(secret: str, storage: Storage, spec: LaunchSpec) -> dict[str, str]:
    """What the SSH door of one launch is given; ``secret`` is the gateway's own."""
    host_key = ssh_sessions.host_key(storage, workspace_id=spec.workspace_id, secret=secret, now=datetime.now(UTC))
    return {
        "ARK_SSH_HOST_KEY": host_key.private,
        "ARK_SSH_DOOR": door_token(secret, workspace_id=spec.workspace_id, launch_id=spec.launch_id),
    }


def configure(c: Any, settings: Settings) -> None:
    cluster = settings.kubernetes
    if cluster.kubeconfig is not None:
        ArkKubeSpawner.use_kubeconfig(cluster.kubeconfig)
    volumes = LocalDirVolumes(settings.state_dir)
    c.JupyterHub.spawner_class = ArkKubeSpawner
    chart = {name: dict(c.KubeSpawner.get(name) or {}) for name in ("common_labels", "extra_labels", "extra_annotations")}
    c.ArkKubeSpawner.cluster = cluster_of(
        cluster,
        data_disk_default_gib=settings.data_disk_default_gib,
        labels={**chart["common_labels"], **chart["extra_labels"]},
        annotations=chart["extra_annotations"],
    )
    c.ArkKubeSpawner.namespace = cluster.namespace
    c.ArkKubeSpawner.k8s_api_request_timeout = cluster.request_timeout_seconds
    c.ArkKubeSpawner.open_volumes = lambda: volumes
    c.ArkKubeSpawner.mirrors = Mirrors(**settings.mirrors.model_dump())
    c.ArkKubeSpawner.image_environment = cluster.image_environment
    c.ArkKubeSpawner.console_api_url = f"http://{settings.services_host}:{settings.ports.console}{CONSOLE}api/v1"
    if settings.ssh_enabled:
        c.ArkKubeSpawner.ssh_environment = partial(ssh_environment, settings.secret("ssh_token"))
    c.ArkKubeSpawner.patience_seconds = settings.start_timeout_seconds
    c.ArkKubeSpawner.pull_seconds = cluster.image_pull_seconds
    c.ArkKubeSpawner.start_timeout = settings.start_timeout_seconds * 2 + cluster.image_pull_seconds + 60
