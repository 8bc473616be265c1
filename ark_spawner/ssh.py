"""SSH into a local workspace: the socket that only the platform can reach, and the files that sshd inside reads.

The socket's name lies in the run's directory, which no sandbox sees; the workspace inherits the listening descriptor
itself. So no other workspace can connect, and nothing inside can put anything else in the socket's place.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ark_extensions.domain.ssh_access import AUTHORIZED_KEYS, HOST_KEY, RUN_FILES, RUN_SOCKET
from ark_spawner import filesystem as fs

SSHD = Path("/usr/sbin/sshd")
DOOR = "ssh/door.py"
BACKLOG = 256


@dataclass(frozen=True)
class SshFiles:
    """What sshd of one workspace needs. ``host_key``: OpenSSH's PEM; ``authorized_keys``: the owner's keys at the start."""

    host_key: str
    authorized_keys: str


def can_serve() -> bool:
    """Whether this machine has an sshd for workspaces to run."""
    return SSHD.exists()


def prepare(directory: Path, files: SshFiles, *, uid: int) -> Path:
    """Write the files into a run's directory; the directory that the workspace sees. The keys change later, in place."""
    place = directory / RUN_FILES
    place.mkdir(mode=0o755, exist_ok=True)
    place.chmod(0o755)
    _write(place / AUTHORIZED_KEYS, files.authorized_keys, 0o644)
    _write(place / HOST_KEY, files.host_key, 0o600)
    if os.geteuid() == 0:
        os.chown(place / HOST_KEY, uid, uid)
    return place


def _write(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def listening_socket(directory: Path) -> int:
    """A descriptor that listens at the run's socket; the caller passes it on and closes it.

    Its name is given relative to the opened directory, for an address has room for 100 characters only."""
    number = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (directory / RUN_SOCKET).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(f"/proc/self/fd/{number}/{RUN_SOCKET}")
            os.chmod(directory / RUN_SOCKET, 0o600)
            listener.listen(BACKLOG)
            return listener.detach()
    finally:
        os.close(number)


def program(python: PurePosixPath, platform: PurePosixPath, descriptor: int, server: list[str]) -> list[str]:
    """The workspace's program with the door before it: the door leaves its keeper behind and becomes the server."""
    door = str(platform / DOOR)
    return [str(python), "-I", "-S", door, "--socket", str(descriptor), "--files", str(fs.SSH), "--", *server]
