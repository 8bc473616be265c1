"""GPUs of this machine as NVML sees them, behind one small protocol. A machine without an NVIDIA driver simply has no GPUs."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)
GIB = 1 << 30
#: what vendors put around the model in a product name
NOISE = re.compile(r"^(NVIDIA|Tesla|Quadro|GeForce)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """One GPU. ``device``: the number of its device file (``/dev/nvidiaN``) as text; ``memory_gib`` rounded up to what
    the card is sold as."""

    device: str
    model: str
    memory_gib: int


class GpuReader(Protocol):
    def read(self) -> list[Gpu]:
        """The GPUs there are now, by device number; empty without a driver, never an error."""


class NvmlGpus:
    """GPUs as NVIDIA's management library sees them."""

    def read(self) -> list[Gpu]:
        try:
            import pynvml
        except ImportError:
            return []
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            log.debug("no GPUs: %s", error)
            return []
        try:
            found = []
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                name = pynvml.nvmlDeviceGetName(handle)
                found.append(
                    Gpu(
                        # not the index: in a container that was given the fourth card, index 0 is /dev/nvidia3
                        device=str(pynvml.nvmlDeviceGetMinorNumber(handle)),
                        model=model_name(name.decode() if isinstance(name, bytes) else name),
                        memory_gib=memory_gib(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                    )
                )
            return sorted(found, key=lambda gpu: int(gpu.device))
        except pynvml.NVMLError as error:
            log.warning("the GPUs cannot be read: %s", error)
            return []
        finally:
            pynvml.nvmlShutdown()


def model_name(product: str) -> str:
    """A product name as people say it: ``NVIDIA A100-SXM4-80GB`` → ``A100``, ``NVIDIA GeForce RTX 4090`` → ``RTX 4090``.

    The memory size goes (offers show it beside the model), and so does the form of the card.
    """
    name, previous = " ".join(product.split()), ""
    while name != previous:
        previous, name = name, NOISE.sub("", name)
    name = re.sub(r"[ -](SXM\d*|PCIe|PCI-E|HBM\d\w*|NVL|\d+\s?GB)(?=[ -]|$)", "", name, flags=re.IGNORECASE)
    return name.strip(" -") or "GPU"


def memory_gib(total_bytes: int) -> int:
    """GiB of a card from the bytes its driver reports, which lack what the driver keeps for itself (≤ 1 GiB or 2 %)."""
    return round(total_bytes / GIB) if total_bytes % GIB == 0 else int(total_bytes // GIB) + 1
