"""A real Hub process whose workspaces are pods of the stand-in: for what only a whole Hub can show, and for benches.

``spawner`` is ``ark`` (the product's) or ``stock`` (KubeSpawner as it comes). There is no proxy and no sign-in: a service
token asks for everything.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.environments import PROJECT
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import market, orders, users
from ark_extensions.usecases.views import WorkspaceOrder
from tests.cluster_stand_in import CRASHES
from tests.platform import wait_until
from tests.ports import free_port

TOKEN = "bench-token-that-opens-everything"
CATALOG: dict[str, Any] = {
    "offers": [
        {"id": "s", "name": "S", "plan": "payg", "vcpu": 1, "memory_mib": 256, "system_disk_gib": 1, "price": "0.01", "per": "hour"}
    ],
    "images": [{"id": name, "name": name, "reference": name} for name in ("python", CRASHES)],
    "disks": [],
}
COMMON = """
import ctypes, gc, os, signal, sys
from pathlib import Path
from functools import cache
sys.path.insert(0, {project!r})
from ark_spawner.kube import ArkKubeSpawner
from tests.toy_hub import NoProxy
ArkKubeSpawner.use_kubeconfig(Path({kubeconfig!r}))
signal.signal(signal.SIGRTMIN, lambda *_: (gc.collect(), ctypes.CDLL(None).malloc_trim(0)))
c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:1"
c.JupyterHub.hub_port = {port}
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.cleanup_servers = False
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": {answer_seconds}}}
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "access:servers"]}}]
c.JupyterHub.db_url = "sqlite:///{place}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{place}/cookie_secret"
c.JupyterHub.log_level = "WARN"
c.Spawner.consecutive_failure_limit = {failure_limit}
c.Spawner.http_timeout = 30
c.Spawner.start_timeout = 60
c.Spawner.poll_interval = {poll_seconds}
"""
ARK = """
from ark_extensions.storage import Storage
from ark_spawner.pod import Cluster
@cache
def storage():
    return Storage({database!r})
c.JupyterHub.spawner_class = ArkKubeSpawner
c.Spawner.open_storage = storage
c.Spawner.apply_user_options = lambda spawner, options: None
c.ArkKubeSpawner.cluster = Cluster()
c.ArkKubeSpawner.namespace = "stage"
c.ArkKubeSpawner.patience_seconds = 30
"""
STOCK = """
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = "stage"
c.KubeSpawner.image = "python"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.pvc_name_template = "claim-{user_server}"
c.KubeSpawner.storage_capacity = "1Gi"
c.KubeSpawner.volumes = {"home": {"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}}
c.KubeSpawner.volume_mounts = {"home": {"name": "home", "mountPath": "/home/user"}}
shape = {"cpu_limit": 1, "cpu_guarantee": 1, "mem_limit": "256M", "mem_guarantee": "256M"}
c.KubeSpawner.profile_list = [{"display_name": "S", "slug": "s", "kubespawner_override": shape}]
"""


def now() -> datetime:
    return datetime.now(UTC)


class ClusterProcess:
    """The stand-in in a process of its own."""

    def __init__(self, place: Path, *, address: str, seconds: float = 0.0) -> None:
        self.kubeconfig = place / "kubeconfig"
        line = [sys.executable, "-m", "tests.cluster_stand_in", str(self.kubeconfig), "--address", address, "--seconds", str(seconds)]
        self._process = subprocess.Popen(line, cwd=PROJECT)
        wait_until(self.kubeconfig.exists, seconds=30)
        self.url = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class KubeHub:
    """One Hub. ``start`` and `kill` as often as a test likes: its database stays."""

    def __init__(
        self,
        place: Path,
        cluster: ClusterProcess,
        *,
        spawner: str = "ark",
        failure_limit: int = 5,
        poll_seconds: int = 5,
        answer_seconds: float = 1.0,
    ) -> None:
        """``answer_seconds``: how long the Hub lets a request for a start wait for its end before it answers 202."""
        self.place, self.cluster, self.spawner = place, cluster, spawner
        place.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/hub/api"
        self.database = f"sqlite:///{place}/ark.sqlite"
        told = {"project": str(PROJECT), "kubeconfig": str(cluster.kubeconfig), "port": self.port, "token": TOKEN, "place": place}
        text = COMMON.format(**told, failure_limit=failure_limit, poll_seconds=poll_seconds, answer_seconds=answer_seconds)
        (place / "config.py").write_text(text + (ARK.format(database=self.database) if spawner == "ark" else STOCK))
        with closing(sqlite3.connect(place / "hub.sqlite")) as connection:
            connection.execute("PRAGMA journal_mode=WAL").close()  # as hub_config.base does
        migrate(self.database)
        self.storage = Storage(self.database)
        self.process: subprocess.Popen[bytes] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        environment = {**os.environ, "STAGE_DATABASE": self.database, "PYTHONPATH": str(PROJECT), "JUPYTERHUB_CRYPT_KEY": "0" * 64}
        log = open(self.place / "hub.log", "ab")
        line = [sys.executable, "-m", "jupyterhub", "-f", str(self.place / "config.py")]
        self.process = subprocess.Popen(line, cwd=self.place, env=environment, stdout=log, stderr=log)
        log.close()
        for _ in range(600):
            if await self.is_up():
                return
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(f"the Hub did not start:\n{(self.place / 'hub.log').read_text()[-4000:]}")

    async def is_up(self) -> bool:
        try:
            async with self.session.get(f"{self.api}/", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self._session is not None:
            await self._session.close()
        self.storage.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}, connector=aiohttp.TCPConnector(limit=0))
        return self._session

    def rss_mib(self) -> float:
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def collect_garbage(self) -> None:
        """Its own, and what its allocator keeps goes back to the system: what is left is in use."""
        assert self.process is not None
        self.process.send_signal(signal.SIGRTMIN)

    # what is on sale and bought, where the spawner is ours

    def open_shop(self, *, vcpu: int = 100_000) -> None:
        market.set_nodes(self.storage, nodes=[Node("node-1", vcpu, vcpu * 1024)])
        market.seed_catalog(self.storage, catalog=CATALOG, now=now())

    async def user(self, name: str, *, credit: int = 1000) -> None:
        """Known to the Hub, and to the platform with so much money."""
        async with self.session.post(f"{self.api}/users/{name}") as answer:
            assert answer.status in (201, 409), await answer.text()
        users.ensure_user(self.storage, name=name, admin=False, opening_credit_micros=credit * MICROS, now=now())

    def choice(self, user: str, name: str) -> dict[str, str]:
        """What a start is asked with: the workspace that was ordered, or the shape as stock KubeSpawner calls it."""
        return {"workspace": self.order(user, name)} if self.spawner == "ark" else {"profile": "s"}

    def order(self, user: str, name: str, *, image: str = "python") -> str:
        order = WorkspaceOrder(request_id=f"{user}-{name}", offer="s", image=image, name=name)
        return orders.place_order(self.storage, user=user, order=order, now=now()).id

    # servers

    async def ask(self, user: str, name: str, options: dict[str, Any]) -> int:
        async with self.session.post(f"{self.api}/users/{user}/servers/{name}", json=options) as answer:
            await answer.read()
            return answer.status

    async def stop(self, user: str, name: str) -> int:
        async with self.session.delete(f"{self.api}/users/{user}/servers/{name}") as answer:
            return answer.status

    async def server(self, user: str, name: str) -> dict[str, Any] | None:
        async with self.session.get(f"{self.api}/users/{user}") as answer:
            found: dict[str, Any] | None = (await answer.json())["servers"].get(name)
            return found

    async def until(self, user: str, name: str, state: str, *, seconds: float = 60.0) -> None:
        """``ready`` or ``stopped``."""
        deadline, pause = asyncio.get_running_loop().time() + seconds, 0.02
        while asyncio.get_running_loop().time() < deadline:
            found = await self.server(user, name)
            if (state == "ready" and found and found["ready"]) or (
                state == "stopped" and (not found or not (found["pending"] or found["ready"]))
            ):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)  # who asks all the time is who keeps it waiting
        raise AssertionError(f"{user}/{name} is not {state}: {found}\n{(self.place / 'hub.log').read_text()[-3000:]}")

    async def cluster_state(self) -> dict[str, Any]:
        """What the stand-in has: ``pods`` (name → time.monotonic() of its making) and what it was asked."""
        async with self.session.get(f"{self.cluster.url}/state") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def faults(self, *faults: dict[str, Any]) -> None:
        async with self.session.post(f"{self.cluster.url}/faults", json=list(faults)) as answer:
            assert answer.status == 200
