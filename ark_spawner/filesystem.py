"""The paths inside a workspace, named once: the same in every runtime, and the ones the user guide promises."""

from __future__ import annotations

from pathlib import PurePosixPath

from ark_extensions.domain.catalog import DIRECTORIES
from ark_extensions.domain.workspaces import Mount

USER = "user"
UID = 1000
GID = 1000

#: the data disk: lives until the workspace is released
HOME = PurePosixPath("/home/user")
#: the user's shared files, and the same directory where people look for it first
NETDISK = PurePosixPath("/ark-contexts/data")
HOME_NETDISK = HOME / "data"
#: read-only directories of the catalogue's items, one for each kind
IMPORTED = {kind: HOME / name for kind, name in DIRECTORIES.items()}
#: names in the home directory where the platform mounts something
HOME_MOUNT_POINTS = (HOME_NETDISK.name, *(path.name for path in IMPORTED.values()))

#: writable places of the system disk: gone at stop
TMP = PurePosixPath("/tmp")
VAR_TMP = PurePosixPath("/var/tmp")
RUNTIME = PurePosixPath(f"/run/user/{UID}")

#: what the platform brings into a workspace, read-only
PLATFORM = PurePosixPath("/opt/ark/workspace")
NODE_MODULES = PurePosixPath("/opt/ark/node_modules")
CODE_SERVER = NODE_MODULES / "code-server"
NODE = PurePosixPath("/opt/ark/node")
#: host key and authorized keys of the workspace's sshd
SSH = PurePosixPath("/run/ark/ssh")


def item_path(mount: Mount) -> PurePosixPath:
    """Where a dataset or model appears."""
    return IMPORTED[mount.kind] / mount.name
