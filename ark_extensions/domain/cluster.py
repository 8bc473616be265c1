"""What the platform's objects in a Kubernetes cluster are called, and how they are told from everybody else's: pure.

The spawner makes pods, secrets and claims; the reconciler and the volumes adapter find them again. All of them take the
names and labels from here, so that nothing is deleted that is not ours and nothing of ours is missed.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from ark_extensions.domain.workspaces import Mount

#: labels of every object that the platform makes for a workspace
INSTALLATION = "ark/installation"
WORKSPACE = "ark/workspace"
OWNER = "ark/owner"
LAUNCH = "ark/launch"
#: annotations: what a label cannot hold
OWNER_NAME = "ark/owner-name"
WORKSPACE_NAME = "ark/workspace-name"

#: where the door of a workspace's pod listens for the SSH gateway
SSH_PORT = 2222

#: says of each object that the platform cares for it
MANAGED = {"app.kubernetes.io/managed-by": "ark"}

_PLAIN_ID = re.compile(r"[a-z0-9]{1,40}")


def user_slug(owner: str) -> str:
    """A directory name and label for any Hub user name: readable, safe everywhere, and different for different names.

    The readable part is only decoration; the hash of the exact name is what keeps users apart, also where the file
    system folds case or normalises Unicode.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")[:24].strip("-")
    digest = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return f"{readable or 'user'}-{digest}"


def _object_name(kind: str, workspace_id: str) -> str:
    """At most 63 characters, a DNS label, and never the same for two workspaces."""
    plain = workspace_id if _PLAIN_ID.fullmatch(workspace_id) else "h-" + hashlib.sha256(workspace_id.encode()).hexdigest()[:40]
    return f"ark-{kind}-{plain}"


def pod_name(workspace_id: str) -> str:
    """The pod of a workspace: one name, so that a workspace cannot run twice. Its secret has the same name."""
    return _object_name("ws", workspace_id)


def claim_name(workspace_id: str) -> str:
    """The claim of a workspace's data disk."""
    return _object_name("home", workspace_id)


def door_token(secret: str, *, workspace_id: str, launch_id: str) -> str:
    """What the SSH gateway says at the door of one launch's pod: of the gateway's own secret, which never leaves the platform."""
    return hmac.new(secret.encode(), f"ssh door\n{workspace_id}\n{launch_id}".encode(), hashlib.sha256).hexdigest()


def ours(installation: str) -> dict[str, str]:
    """The label that everything of this installation has."""
    return {INSTALLATION: installation}


def labels(installation: str, *, workspace_id: str, owner: str) -> dict[str, str]:
    """The labels of an object that belongs to a workspace."""
    return {**MANAGED, **ours(installation), WORKSPACE: workspace_id, OWNER: user_slug(owner)}


def netdisk_sub_path(template: str, owner: str) -> str:
    """Where in the netdisks' claim the owner's ``data`` directory is."""
    return template.format(user=user_slug(owner))


def item_sub_path(template: str, mount: Mount) -> str:
    """Where in the catalogue's claim a version of a dataset or model is."""
    return template.format(kind=mount.kind, name=mount.name, version=mount.version)
