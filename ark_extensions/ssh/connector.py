"""How the gateway reaches a workspace of the local runtime: a socket in the run's directory, outside the sandbox.

One of the four places that know their runtime. The directory is opened and the socket named relative to it: a path in
a socket's address has room for 100 characters only, and nothing that a workspace can write lies on the way.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from ark_extensions.domain.ssh_access import AUTHORIZED_KEYS, RUN_FILES, RUN_SOCKET
from ark_extensions.volumes.local_dir import LocalDirVolumes


class LocalConnector:
    def __init__(self, volumes: LocalDirVolumes) -> None:
        self._volumes = volumes
        self._written: dict[str, tuple[str, str]] = {}
        self._writing = threading.Lock()

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
        """Make the workspace take these keys and no others, from its next sign-in on. Blocking; cheap when nothing changed."""
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
