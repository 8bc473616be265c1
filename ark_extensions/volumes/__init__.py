"""Where workspaces' files are: data disks, netdisks, catalogue items and system disks, behind one protocol.

Two implementations: ``local_dir`` (directories of this machine) and, later, ``kubernetes`` (PVCs). Both pass
``tests/contract/test_volumes.py``. Paths are what a spawner binds into a workspace; nobody else builds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ark_extensions.domain.workspaces import Mount


class Volumes(Protocol):
    """The files of one installation. Every method is idempotent; all raise ``domain.errors.ArkError`` for refusals."""

    def data_disk(self, workspace_id: str) -> Path:
        """The workspace's data disk (its /home/user), made if it is not there."""

    def data_disk_usage(self, workspace_id: str) -> int:
        """Bytes that the data disk takes now; 0 if there is none. For messages, not for limits."""

    def delete_data_disk(self, workspace_id: str) -> None:
        """Delete the data disk and all in it; never follows a link out of it."""

    def netdisk(self, owner: str) -> Path:
        """The ``data`` directory of the owner's netdisk, made if it is not there."""

    def item(self, mount: Mount) -> Path:
        """The directory of a dataset or model version; raises NotFound when it is gone."""

    def run_dir(self, workspace_id: str) -> Path:
        """The system disk of a running workspace, made if it is not there."""

    def find_run_dir(self, workspace_id: str) -> Path | None:
        """The system disk if there is one; it is not made."""

    def remove_run_dir(self, workspace_id: str) -> None:
        """Delete the system disk."""

    def run_dirs(self) -> list[str]:
        """Ids of the workspaces that have a system disk here now, those left behind by a crash included."""
