"""Did the workspace work? A pure decision over two looks at it, so that it can be tested in microseconds.

Work is a busy kernel, output or typing in a terminal, a saved document, processor time or GPU use. An open browser
tab is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: share of one processor over the interval from which the workspace's processes are at work
CPU_SHARE = 0.05
#: per cent of a GPU from which it is in use
GPU_PERCENT = 5


class Work(StrEnum):
    KERNEL = "kernel"
    TERMINAL = "terminal"
    DOCUMENT = "document"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Look:
    """One look. Moments are seconds since the epoch, None for never; ``cpu_seconds`` only grows while processes live."""

    at: float
    cpu_seconds: float = 0.0
    busy_kernels: int = 0
    kernel_at: float | None = None
    terminal_at: float | None = None
    saved_at: float | None = None
    gpu_percent: int | None = None


def work_between(before: Look, after: Look) -> Work | None:
    """The first kind of work that was done between the two looks, or None."""
    if after.busy_kernels > 0 or _since(before, after.kernel_at):
        return Work.KERNEL
    if _since(before, after.terminal_at):
        return Work.TERMINAL
    if _since(before, after.saved_at):
        return Work.DOCUMENT
    if after.gpu_percent is not None and after.gpu_percent >= GPU_PERCENT:
        return Work.GPU
    seconds = after.at - before.at
    if seconds > 0 and (after.cpu_seconds - before.cpu_seconds) / seconds > CPU_SHARE:
        return Work.CPU
    return None


def _since(before: Look, moment: float | None) -> bool:
    return moment is not None and moment > before.at
