"""The netdisk service without a Hub, for tests and benches: `python tests/netdisk_server.py DIR PORT`.

Tokens: ``token-NAME`` is NAME's, with the netdisk's scope only; ``account-NAME`` has the account's scopes too;
``foreign-NAME`` has neither. A second use is as a module: `Server`.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.ports import free_port

PROJECT = Path(__file__).resolve().parents[1]


class StandInHub:
    """Knows tokens by their name."""

    async def user_of_token(self, token: str):  # type: ignore[no-untyped-def]
        from ark_extensions.hub import TokenOwner

        kind, _, name = token.partition("-")
        scopes = {
            "token": {"access:services!service=netdisk"},
            "account": {"access:services!service=netdisk", "custom:ark:account"},
            "foreign": {f"access:servers!server={name}/ws"},
        }.get(kind)
        return None if scopes is None or not name else TokenOwner(name, "user", False, frozenset(scopes))


def make_database(url: str) -> None:
    """In a process of its own, as `ark up` does it: the service itself never loads what makes tables."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from ark_extensions.storage import migrate

            migrate(url)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "the database could not be made"


def main(state_dir: str, port: int) -> None:
    from ark_extensions.netdisk.app import listen, make_app
    from ark_extensions.settings import Settings
    from ark_extensions.storage import Storage
    from ark_extensions.volumes.local_dir import LocalDirVolumes

    os.environ["ARK_STATE_DIR"] = state_dir
    settings = Settings(state_dir=Path(state_dir))
    if not (Path(state_dir) / "ark.sqlite").exists():
        make_database(settings.resolved_database_url)

    async def run() -> None:
        storage = Storage(settings.resolved_database_url)
        app = make_app(settings, storage, LocalDirVolumes(Path(state_dir)), StandInHub())
        listen(app, port)
        app.settings["housekeeping"].begin()
        ending = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
        await ending.wait()
        await app.settings["housekeeping"].end()

    asyncio.run(run())


class Server:
    """One service in a process of its own, started, killed and started again on the same state."""

    def __init__(self, state_dir: Path, **environment: str) -> None:
        self.state_dir = state_dir
        self.port = free_port()
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        #: who asks, unless a test says otherwise
        self.user = "alice"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/netdisk"

    def data(self, user: str | None = None) -> Path:
        from ark_extensions.volumes.local_dir import LocalDirVolumes

        return LocalDirVolumes(self.state_dir).netdisk(user or self.user)

    def start(self) -> Server:
        command = [sys.executable, __file__, str(self.state_dir), str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), **self._environment}
        with open(self.state_dir / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("OPTIONS", "/services/netdisk/dav/", headers={"Authorization": "token none"})
                connection.getresponse().read()
                connection.close()
                return self
            except OSError:
                time.sleep(0.02)
        raise RuntimeError((self.state_dir / "server.log").read_text()[-3000:])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


if __name__ == "__main__":
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != PROJECT / "tests"]  # its modules are named as they like
    main(sys.argv[1], int(sys.argv[2]))
