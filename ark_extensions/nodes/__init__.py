"""What there is for workspaces: processors, memory and GPUs of this machine, or of a cluster's nodes, as the stock that
offers are sold from.

Promises: it counts what this process may really use (affinity, cgroup limits), keeps back what the platform needs,
and gives every GPU the number of its device file: device id ``N`` is ``/dev/nvidiaN``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ark_extensions.cluster_api import ClusterApi
from ark_extensions.domain.offers import Node
from ark_extensions.nodes import kubernetes
from ark_extensions.nodes.gpus import GpuReader, NvmlGpus
from ark_extensions.settings import Kubernetes, Settings

#: one installation of the local runtime is one node; claims name it, so it does not change with the host name
LOCAL_NODE = "local"
#: cgroup v1 writes "no limit" as a number near 2^63
NO_LIMIT = 1 << 60
MIB = 1 << 20


class Machines(Protocol):
    """The machines of a runtime in which they come and go."""

    def read(self) -> list[Node]:
        """Those that sell now, with what strangers use taken off. Raises ArkError when nobody can be asked."""


class ClusterMachines:
    def __init__(self, api: ClusterApi, rules: Kubernetes) -> None:
        self._api, self._rules = api, rules

    def read(self) -> list[Node]:
        return kubernetes.read_nodes(self._api, self._rules)


def open_machines(settings: Settings) -> Machines | None:
    """The machines that stock has to follow; None where it is one machine, looked at when the platform starts."""
    if settings.runtime == "kubernetes":
        return ClusterMachines(ClusterApi.of(settings), settings.kubernetes)
    return None


def discover_nodes(settings: Settings, *, gpus: GpuReader | None = None, root: Path = Path("/")) -> list[Node]:
    """The nodes of this installation. On one machine the memory kept back by ``reserve_memory_mib`` is taken off."""
    machines = open_machines(settings)
    if machines is not None:
        return machines.read()
    memory_mib = max(usable_memory_mib(root) - settings.reserve_memory_mib, 0)
    found = (gpus or NvmlGpus()).read()
    return [Node(LOCAL_NODE, usable_vcpu(root), memory_mib, tuple((gpu.device, gpu.model) for gpu in found))]


def gpu_memory_of(settings: Settings) -> Mapping[str, int]:
    """Memory in GiB of one GPU of each model that this installation has."""
    if settings.runtime == "kubernetes":
        return kubernetes.read_gpu_memory_gib(ClusterApi.of(settings), settings.kubernetes)
    return gpu_memory_gib()


def gpu_memory_gib(gpus: GpuReader | None = None) -> Mapping[str, int]:
    """Memory in GiB of one GPU of each model found (the smallest, where cards of one name differ)."""
    smallest: dict[str, int] = {}
    for gpu in (gpus or NvmlGpus()).read():
        smallest[gpu.model] = min(gpu.memory_gib, smallest.get(gpu.model, gpu.memory_gib))
    return smallest


def usable_vcpu(root: Path = Path("/")) -> int:
    """Processors that this process may use: its affinity, and the tightest CPU quota of its cgroups; at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    for group in _groups(root, "cpu"):
        quota = _cpu_quota(group)
        if quota is not None:
            cores = min(cores, quota)
    return max(math.floor(cores), 1)


def usable_memory_mib(root: Path = Path("/")) -> int:
    """Memory in MiB that this process may use: the machine's, or the tightest limit of its cgroups."""
    total = 0
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _text(group / name)
            if text.isdecimal() and int(text) < NO_LIMIT:
                total = min(total, int(text))
    return total // MIB


def _groups(root: Path, controller: str) -> list[Path]:
    """The cgroup directories above this process for one controller, v2 and v1, from its own up to the top."""
    found: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "":
            base = root / "sys/fs/cgroup"
        elif controller in names.split(","):
            base = root / "sys/fs/cgroup" / controller
        else:
            continue
        here = base / path.lstrip("/")
        # in a container the path may be the host's, which is not mounted here: then only the top is seen
        found += [p for p in (here, *here.parents) if p == base or base in p.parents]
    return found


def _cpu_quota(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        return int(quota) / int(period)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
