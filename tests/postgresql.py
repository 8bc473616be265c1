"""A PostgreSQL of the tests' own, from Debian's packages: no service is assumed, nothing outlives the session.

The server refuses to run as root: then it runs as the user that the package made. It listens on a unix socket only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """The newest installed PostgreSQL's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


def missing() -> str | None:
    """Why no PostgreSQL can be started here; None when one can."""
    return None if binaries() else "PostgreSQL is not installed (apt-get install postgresql)"


class Server:
    """One running server; ``database()`` gives the URL of a fresh, empty database."""

    def __init__(self, directory: Path, programs: Path, user: str) -> None:
        self._directory, self._programs, self._user = directory, programs, user

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        prefix = ["runuser", "-u", self._user, "--"] if os.geteuid() == 0 else []
        program = [str(self._programs / command[0]), *command[1:]]
        return subprocess.run([*prefix, *program], check=check, capture_output=True, timeout=60, cwd=self._directory)

    @property
    def data(self) -> Path:
        return self._directory / "disk" / "data"

    def said(self) -> str:
        """What the server wrote into its log."""
        return (self._directory / "log").read_text()

    def runs(self) -> bool:
        return self.run("pg_ctl", "-D", str(self.data), "status", check=False).returncode == 0

    def start(self, *, durable: bool = True) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self._directory} -c max_connections=60"
        options += "" if durable else " -c fsync=off"
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self._directory / "log"), "-o", options, "start")

    def database(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of ``template``."""
        name = f"ark_{uuid.uuid4().hex[:12]}"
        self.run("createdb", "-h", str(self._directory), "-U", self._user, "-T", template, name)
        return f"postgresql+psycopg://{self._user}@/{name}?host={self._directory}"

    def name_of(self, url: str) -> str:
        """The database's name in a URL that ``database`` gave."""
        return url.partition("@/")[2].partition("?")[0]


@contextmanager
def server(*, durable: bool = False, room_mib: int = 0) -> Iterator[Server]:
    """Start a server for the block and remove everything of it afterwards. ``durable``: commits reach the disk, as in earnest.
    ``room_mib``: its data has a disk of its own, so small; only root may make one (PermissionError)."""
    programs = binaries()
    if programs is None:
        raise RuntimeError(missing())
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    directory = Path(tempfile.mkdtemp(prefix="ark-pg-", dir="/tmp"))
    running = Server(directory, programs, user)
    disk = running.data.parent
    disk.mkdir()
    mounted = False
    try:
        if room_mib:
            small_disk(disk, room_mib)
            mounted = True
        if os.geteuid() == 0:
            for owned in (directory, disk):
                shutil.chown(owned, user)
        small = ["--wal-segsize=1"] if room_mib else []
        running.run("initdb", "-D", str(running.data), "-U", user, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", *small)
        running.start(durable=durable)
        yield running
    finally:
        running.run("pg_ctl", "-D", str(running.data), "-m", "immediate", "stop", check=False)
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)
        shutil.rmtree(directory, ignore_errors=True)


def small_disk(place: Path, mib: int) -> None:
    """A disk of its own at ``place``, to be filled up. Raises PermissionError for who is not root."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], capture_output=True, text=True, timeout=30)
    if made.returncode != 0:
        raise PermissionError(f"a small disk can only be mounted by root: {made.stderr.strip()}")
