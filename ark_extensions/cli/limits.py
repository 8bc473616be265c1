"""Whether control groups can hold a workspace to what it bought: asked without making or moving anything."""

from __future__ import annotations

import os
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids")


def missing_controllers(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> tuple[str, ...]:
    """The controllers that this account cannot use here."""
    lines = [line.split(":", 2) for line in _text(own).splitlines() if line.count(":") >= 2]
    if (root / "cgroup.controllers").exists():
        path = next((path for _, names, path in lines if names == ""), "/")
        group = root if os.geteuid() == 0 else root / path.lstrip("/")
        usable = os.access(group / "cgroup.subtree_control", os.W_OK) and (group != root or os.geteuid() == 0)
        there = _text(group / "cgroup.controllers").split() if usable else []
        return tuple(name for name in CONTROLLERS if name not in there)
    writable = {
        name
        for _, names, path in lines
        for name in names.split(",")
        if name in CONTROLLERS and os.access(root / name / path.lstrip("/"), os.W_OK)
    }
    return tuple(name for name in CONTROLLERS if name not in writable)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
