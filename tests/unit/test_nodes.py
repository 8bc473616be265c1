"""The stock of a machine is what the platform may really use of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ark_extensions.nodes import discover_nodes, gpu_memory_gib, usable_memory_mib, usable_vcpu
from ark_extensions.nodes.gpus import Gpu, memory_gib, model_name
from ark_extensions.settings import Settings
from tests.stand_in_gpus import StandInGpus

GIB_KB = 1024 * 1024


def machine(root: Path, *, memory_gib: int, cgroup: str = "0::/\n", **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal:       {memory_gib * GIB_KB} kB\nMemFree: 1 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("DOT", ".")).write_text(text)
    return root


def test_a_plain_machine_gives_all_it_has(tmp_path: Path) -> None:
    root = machine(tmp_path, memory_gib=16)
    assert usable_memory_mib(root) == 16 * 1024
    assert usable_vcpu(root) == len(os.sched_getaffinity(0))


def test_the_tightest_cgroup_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        memory_gib=64,
        cgroup="0::/system/ark\n",
        system__memoryDOTmax=str(4 << 30),
        system__ark__memoryDOTmax="max",
        system__ark__cpuDOTmax="150000 100000",
        system__cpuDOTmax="max 100000",
    )
    assert usable_memory_mib(root) == 4096
    assert usable_vcpu(root) == 1


def test_cgroup_v1_is_read_too(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        memory_gib=64,
        cgroup="5:memory:/job\n3:cpu,cpuacct:/job\n",
        memory__job__memoryDOTlimit_in_bytes=str(8 << 30),
        memory__memoryDOTlimit_in_bytes="9223372036854771712",
        cpu__job__cpuDOTcfs_quota_us="-1",
        cpu__job__cpuDOTcfs_period_us="100000",
    )
    assert usable_memory_mib(root) == 8192
    assert usable_vcpu(root) == len(os.sched_getaffinity(0))


def test_the_host_path_of_a_container_is_no_obstacle(tmp_path: Path) -> None:
    root = machine(tmp_path, memory_gib=64, cgroup="0::/../../docker/abc\n", memoryDOTmax=str(2 << 30))
    assert usable_memory_mib(root) == 2048


def test_a_node_keeps_memory_back_and_lists_gpus(tmp_path: Path) -> None:
    root = machine(tmp_path / "m", memory_gib=16)
    settings = Settings(state_dir=tmp_path, reserve_memory_mib=2048)
    gpus = StandInGpus([Gpu("3", "H200", 141), Gpu("1", "H200", 140)])
    (node,) = discover_nodes(settings, gpus=gpus, root=root)
    assert (node.name, node.memory_mib, node.gpus) == ("local", 14 * 1024, (("1", "H200"), ("3", "H200")))
    assert gpu_memory_gib(gpus) == {"H200": 140}
    (small,) = discover_nodes(Settings(state_dir=tmp_path, reserve_memory_mib=32 * 1024), gpus=StandInGpus(), root=root)
    assert small.memory_mib == 0


@pytest.mark.parametrize(
    ("product", "model"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada Generation"),
        ("NVIDIA H100 NVL", "H100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA", "NVIDIA"),
        ("", "GPU"),
    ],
)
def test_models_are_named_as_people_say_them(product: str, model: str) -> None:
    assert model_name(product) == model


def test_memory_is_rounded_to_what_is_sold() -> None:
    assert memory_gib(80 << 30) == 80
    assert memory_gib(25_757_220_864) == 24
    assert memory_gib(150_754_820_096) == 141
