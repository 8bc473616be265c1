"""Every reader of GPUs tells distinct device numbers, a model people know and the memory, and never fails."""

from __future__ import annotations

import shutil

import pytest

from ark_extensions.nodes.gpus import Gpu, GpuReader, NvmlGpus
from tests.stand_in_gpus import StandInGpus


@pytest.fixture(params=["stand-in", "nvml"])
def reader(request: pytest.FixtureRequest) -> GpuReader:
    if request.param == "stand-in":
        return StandInGpus([Gpu("1", "H200", 141), Gpu("0", "H200", 141)])
    if not NvmlGpus().read():
        has = "the driver's tools are there, but it shows no GPU" if shutil.which("nvidia-smi") else "no NVIDIA driver"
        pytest.skip(f"{has} on this machine")
    return NvmlGpus()


def test_gpus_are_numbered_named_and_sized(reader: GpuReader) -> None:
    gpus = reader.read()
    assert gpus
    numbers = [int(gpu.device) for gpu in gpus]
    assert numbers == sorted(set(numbers))
    for gpu in gpus:
        assert gpu.model and "NVIDIA" not in gpu.model
        assert 1 <= gpu.memory_gib <= 1024
    assert reader.read() == gpus


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    assert StandInGpus().read() == []
    assert isinstance(NvmlGpus().read(), list)
