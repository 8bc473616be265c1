"""The runtime `local`: workspaces are sandboxes on this machine."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from ark_extensions.environments import PROJECT, environments
from ark_extensions.settings import Settings
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_spawner.cgroups import ControlGroups
from ark_spawner.environment import Mirrors
from ark_spawner.local import ArkLocalSpawner
from hub_config.base import CONSOLE


@cache
def control_groups(state_dir: Path) -> ControlGroups:
    """The control groups of the installation in this state directory: made once, because making them may move this process."""
    return ControlGroups(hashlib.sha256(str(state_dir).encode()).hexdigest()[:12])


def configure(c: Any, settings: Settings) -> None:
    built = environments(settings.cache_dir)
    volumes = LocalDirVolumes(settings.state_dir)
    c.JupyterHub.spawner_class = ArkLocalSpawner
    c.ArkLocalSpawner.open_volumes = lambda: volumes
    c.ArkLocalSpawner.control_groups = lambda: control_groups(settings.state_dir)
    c.ArkLocalSpawner.images = {"workspace": str(built.workspace), "pytorch": str(built.pytorch)}
    c.ArkLocalSpawner.mirrors = Mirrors(**settings.mirrors.model_dump())
    c.ArkLocalSpawner.sandbox = settings.sandbox
    c.ArkLocalSpawner.ssh = settings.ssh_enabled
    c.ArkLocalSpawner.patience_seconds = settings.start_timeout_seconds
    c.ArkLocalSpawner.console_api_url = f"http://127.0.0.1:{settings.ports.console}{CONSOLE}api/v1"
    c.ArkLocalSpawner.platform_dir = str(PROJECT / "ark_extensions/workspace")
    if built.code_server_entry.exists():
        c.ArkLocalSpawner.code_server_dir = str(built.code_server / "node_modules/code-server")
        c.ArkLocalSpawner.node_dir = str(built.node_bin.parent)
