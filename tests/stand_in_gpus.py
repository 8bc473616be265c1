"""GPUs that a test says are there, for readers of `ark_extensions.nodes`."""

from __future__ import annotations

from collections.abc import Sequence

from ark_extensions.nodes.gpus import Gpu


class StandInGpus:
    def __init__(self, gpus: Sequence[Gpu] = ()) -> None:
        self._gpus = list(gpus)

    def read(self) -> list[Gpu]:
        return sorted(self._gpus, key=lambda gpu: int(gpu.device))
