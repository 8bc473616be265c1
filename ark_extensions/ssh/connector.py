"""How the gateway reaches a workspace: one of the few places that know their runtime.

Local: a socket in the run's directory, outside the sandbox. The directory is opened and the socket named relative to it: a path
in a socket's address has room for 100 characters only, and nothing that a workspace can write lies on the way. In a cluster: a
port of the pod, where the gateway proves with a token of this very launch that it is the gateway, and brings the keys that are good now.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from ark_extensions.cluster_api import ClusterApi
from ark_extensions.domain.cluster import INSTALLATION, LAUNCH, SSH_PORT, WORKSPACE, door_token
from ark_extensions.domain.ssh_access import AUTHORIZED_KEYS, RUN_FILES, RUN_SOCKET
from ark_extensions.loop import in_thread
from ark_extensions.settings import Kubernetes, Settings
from ark_extensions.usecases.ssh_sessions import Target
from ark_extensions.volumes.local_dir import LocalDirVolumes

P = TypeVar("P", bound=asyncio.Protocol)


class Connector(Protocol):
    """How a runtime's workspaces are reached."""

    async def dial(self, target: Target, protocol: Callable[[], P]) -> P:
        """Connect to the workspace's sshd; raises OSError when it takes no SSH now."""

    def authorize(self, workspace_id: str, launch_id: str, keys: str) -> None:
        """Make the workspace take these keys and no others, from its next sign-in on. Blocking; cheap when nothing changed."""

    def forget_all_but(self, workspace_ids: set[str]) -> None:
        """Whatever is remembered of other workspaces is not needed any more."""


def open_connector(settings: Settings) -> Connector:
    """The connector of this installation's runtime."""
    if settings.runtime == "kubernetes":
        return ClusterConnector(ClusterApi.of(settings), settings.kubernetes, settings.secret("ssh_token"))
    return LocalConnector(LocalDirVolumes(settings.state_dir))


class LocalConnector:
    def __init__(self, volumes: LocalDirVolumes) -> None:
        self._volumes = volumes
        self._written: dict[str, tuple[str, str]] = {}
        self._writing = threading.Lock()

    async def dial(self, target: Target, protocol: Callable[[], P]) -> P:
        with self.address(target.workspace_id) as path:
            if path is None:
                raise FileNotFoundError
            return (await asyncio.get_running_loop().create_unix_connection(protocol, path))[1]

    @contextlib.contextmanager
    def address(self, workspace_id: str) -> Iterator[str | None]:
        """The path to connect to, while the block lasts; None when the workspace has no SSH."""
        directory = self._volumes.find_run_dir(workspace_id)
        try:
            number = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC) if directory else None
        except FileNotFoundError:
            number = None
        try:
            exists = number is not None and os.path.lexists(f"/proc/self/fd/{number}/{RUN_SOCKET}")
            yield f"/proc/self/fd/{number}/{RUN_SOCKET}" if exists else None
        finally:
            if number is not None:
                os.close(number)

    def authorize(self, workspace_id: str, launch_id: str, keys: str) -> None:
        if self._written.get(workspace_id) == (launch_id, keys):
            return
        with self._writing:
            self._write(workspace_id, launch_id, keys)

    def _write(self, workspace_id: str, launch_id: str, keys: str) -> None:
        directory = self._volumes.find_run_dir(workspace_id)
        if directory is None or not (directory / RUN_FILES).is_dir():
            return
        place = directory / RUN_FILES / AUTHORIZED_KEYS
        fresh = directory / f"{AUTHORIZED_KEYS}.new"
        fresh.write_text(keys)
        fresh.chmod(0o644)
        fresh.replace(place)
        self._written[workspace_id] = (launch_id, keys)

    def forget_all_but(self, workspace_ids: set[str]) -> None:
        with self._writing:
            for gone in self._written.keys() - workspace_ids:
                del self._written[gone]


class ClusterConnector:
    """``secret``: the gateway's own, of which each launch's token is made."""

    def __init__(self, api: ClusterApi, rules: Kubernetes, secret: str) -> None:
        self._api, self._rules, self._secret = api, rules, secret
        self._addresses: dict[str, tuple[str, str]] = {}

    async def dial(self, target: Target, protocol: Callable[[], P]) -> P:
        host = await in_thread(self._address, target)
        keys = target.authorized_keys.encode()
        token = door_token(self._secret, workspace_id=target.workspace_id, launch_id=target.launch_id)
        try:
            transport, made = await asyncio.get_running_loop().create_connection(protocol, host, SSH_PORT)
        except OSError:
            self._addresses.pop(target.workspace_id, None)
            raise
        transport.write(f"ARK-SSH {token} {len(keys)}\n".encode() + keys)
        return made

    def _address(self, target: Target) -> str:
        """The pod's address; raises OSError when this launch has none."""
        launch_id, host = self._addresses.get(target.workspace_id, ("", ""))
        if launch_id == target.launch_id:
            return host
        marks = {INSTALLATION: self._rules.installation, WORKSPACE: target.workspace_id, LAUNCH: target.launch_id}
        chosen = ",".join(f"{key}={value}" for key, value in marks.items())
        pods = self._api.items(f"/api/v1/namespaces/{self._rules.namespace}/pods", labelSelector=chosen)
        found = next((ip for pod in pods if (ip := (pod.get("status") or {}).get("podIP"))), None)
        if found is None:
            raise ConnectionRefusedError("the pod has no address")
        self._addresses[target.workspace_id] = (target.launch_id, found)
        return str(found)

    def authorize(self, workspace_id: str, launch_id: str, keys: str) -> None:
        """Nothing: every connection brings them."""

    def forget_all_but(self, workspace_ids: set[str]) -> None:
        for gone in self._addresses.keys() - workspace_ids:
            self._addresses.pop(gone, None)
