"""Where workspaces' files are: data disks, netdisks, catalogue items and system disks, behind one protocol.

Files are directories in both runtimes (``local_dir``; in a cluster under a claim that the services mount). Disks are directories
here, claims and pods there (``kubernetes``): what is done with both alike is ``Disks``. Both pass
``tests/contract/test_volumes_contract.py``. Paths are what a spawner binds into a workspace; nobody else builds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ark_extensions.domain.workspaces import Mount
from ark_extensions.settings import Settings
from ark_extensions.volumes.local_dir import LocalDirVolumes

if TYPE_CHECKING:
    from ark_extensions.volumes.kubernetes import ClusterDisks


class Disks(Protocol):
    """What workspaces leave behind, in any runtime. Idempotent; ids of the wrong form are NotFound."""

    def delete_data_disk(self, workspace_id: str) -> None:
        """Delete the data disk and all in it, and nothing else."""

    def system_disk_usage(self, workspace_id: str) -> int | None:
        """Bytes that people's programs keep on the system disk, which a stop deletes; None when nobody knows."""

    def remove_run_dir(self, workspace_id: str) -> None:
        """Delete the system disk; in a cluster it goes with the pod."""

    def run_dirs(self) -> list[str]:
        """Ids of the workspaces that have a system disk here now, those left behind by a crash included."""


def open_disks(settings: Settings) -> LocalDirVolumes | ClusterDisks:
    """The disks of this installation's runtime."""
    if settings.runtime == "kubernetes":
        # not in the processes that only serve files
        from ark_extensions.cluster_api import ClusterApi
        from ark_extensions.volumes.kubernetes import ClusterDisks

        return ClusterDisks(ClusterApi.of(settings), settings.kubernetes)
    return LocalDirVolumes(settings.state_dir)


class Volumes(Disks, Protocol):
    """The files of one installation. Every method is idempotent; all raise ``domain.errors.ArkError`` for refusals."""

    def data_disk(self, workspace_id: str) -> Path:
        """The workspace's data disk (its /home/user), made if it is not there."""

    def netdisk(self, owner: str) -> Path:
        """The ``data`` directory of the owner's netdisk, made if it is not there."""

    def item(self, mount: Mount) -> Path:
        """The directory of a dataset or model version; raises NotFound when it is gone."""

    def run_dir(self, workspace_id: str) -> Path:
        """The system disk of a running workspace, made if it is not there."""

    def find_run_dir(self, workspace_id: str) -> Path | None:
        """The system disk if there is one; it is not made."""
