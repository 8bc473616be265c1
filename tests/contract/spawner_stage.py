"""The Hub's own start and stop (its ``User``, its database in memory) around one of our spawners, without a Hub process.

An image here is a directory whose server is twenty lines of the system's Python: it starts in a tenth of a second, runs
commands for the test, and can fail at any stage.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub import orm, roles
from jupyterhub.objects import Hub
from jupyterhub.user import User
from kubespawner import KubeSpawner
from kubespawner.clients import load_config
from tornado.httpclient import AsyncHTTPClient
from traitlets.config import Config

from ark_extensions.domain import cluster as cluster_names
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import events, market, orders, users, workspaces
from ark_extensions.usecases.views import EventView, WorkspaceOrder, WorkspaceView
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_spawner.cgroups import ControlGroups
from ark_spawner.kube import ArkKubeSpawner
from ark_spawner.local import ArkLocalSpawner
from ark_spawner.pod import Cluster
from tests.cluster_stand_in import StandIn
from tests.cluster_stand_in_node import SandboxNode

SERVER = """\
#!/usr/bin/python3 -I
import http.server, os, socketserver, subprocess, sys, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        done = subprocess.run(["/bin/bash", "-c", query["run"][0]], capture_output=True) if "run" in query else None
        body = done.stdout + done.stderr if done else b"{}"
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): daemon_threads = True
Server((os.environ.get("POD_IP", "127.0.0.1"), urllib.parse.urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port), Handler).serve_forever()
"""
IMAGES = {
    "good": SERVER,
    "dies": "#!/bin/sh\necho 'the reason, for experts' >&2\nexit 3\n",
    "silent": "#!/bin/sh\nexec sleep 600\n",
    "graceful": SERVER.replace(
        "import http",
        "import signal; signal.signal(15, lambda *_: (open(os.environ['HOME'] + '/goodbye', 'w').write('said'), os._exit(0))); import http",
        1,
    ),
    "stubborn": SERVER.replace("import http", "import signal; signal.signal(15, signal.SIG_IGN); import http", 1),
}
CATALOG: dict[str, Any] = {
    "offers": [
        {"id": "small", "name": "Small", "plan": "payg", "vcpu": 1, "memory_mib": 256, "system_disk_gib": 1, "price": "1", "per": "hour"}
    ],
    "images": [{"id": name, "name": name, "reference": name} for name in (*IMAGES, "missing")],
    "disks": [],
}


def now() -> datetime:
    return datetime.now(UTC)


@cache
def _empty_database() -> bytes:
    """Migrations take seconds: they are run once."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "ark.sqlite")
        migrate(f"sqlite:///{file}")
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        connection.close()
        return file.read_bytes()


class Stage:
    """One installation in one runtime; what tests ask of the runtime itself is at the end of each."""

    spawner_class: ClassVar[type]

    def __init__(self, place: Path) -> None:
        self.place = place
        url = f"sqlite:///{place / 'ark.sqlite'}"
        (place / "ark.sqlite").write_bytes(_empty_database())
        self.storage = Storage(url)
        self.volumes = LocalDirVolumes(place)
        market.set_nodes(self.storage, nodes=[Node("local", 8, 8192)])
        market.seed_catalog(self.storage, catalog=CATALOG, now=now())
        for name in ("alice", "bob"):
            users.ensure_user(self.storage, name=name, admin=False, opening_credit_micros=100 * MICROS, now=now())
        self.images = {name: self._image(name, text) for name, text in IMAGES.items()}
        self.config = Config()
        self.traits = self.config[self.spawner_class.__name__]
        self.traits.update(
            {
                "open_storage": lambda: self.storage,
                "open_volumes": lambda: self.volumes,
                "apply_user_options": lambda spawner, options: None,
                "patience_seconds": 10,
                "start_timeout": 30,
                "http_timeout": 5,
            }
        )
        self.start_hub()

    async def open(self) -> None:
        """What has to be there before the first start."""

    def _image(self, name: str, server: str) -> Path:
        program = self.place / "images" / name / "bin" / "jupyterhub-singleuser"
        program.parent.mkdir(parents=True)
        program.write_text(server)
        program.chmod(0o755)
        return program.parents[1]

    def start_hub(self) -> None:
        """A Hub with an empty memory of processes; its database is kept by `restart_hub`."""
        self.db = orm.new_session_factory("sqlite:///:memory:")()
        for role in roles.get_default_roles():
            roles.create_role(self.db, role)
        self.db.add(orm.OAuthClient(identifier="jupyterhub"))
        self.db.commit()
        self._users: dict[str, User] = {}

    def restart_hub(self) -> None:
        """What a killed Hub leaves: its database, and nothing of its memory."""
        self._users = {}
        self.db.rollback()
        self.db.expire_all()

    def user(self, name: str = "alice") -> User:
        if name not in self._users:
            row = orm.User.find(self.db, name)
            if row is None:
                row = orm.User(name=name)
                self.db.add(row)
                self.db.commit()
                roles.assign_default_roles(self.db, row)
            settings = {
                "hub": Hub(ip="127.0.0.1", port=1, base_url="/hub/"),
                "spawner_class": self.spawner_class,
                "config": self.config,
                "base_url": "/",
                "allow_named_servers": True,
            }
            self._users[name] = User(row, settings, db=self.db)
        return self._users[name]

    def order(self, image: str = "good", *, user: str = "alice", name: str = "w1", **more: Any) -> WorkspaceView:
        order = WorkspaceOrder(request_id=f"{user}-{name}", offer="small", image=image, name=name, **more)
        return orders.place_order(self.storage, user=user, order=order, now=now())

    def begin(self, name: str, options: object, *, user: str = "alice") -> asyncio.Task[Any]:
        """Start a server as the Hub's handler does; the task raises what the user is told."""
        hub_user = self.user(user)
        spawner = hub_user.get_or_create_spawner(name, name, replace_failed=True)
        task = asyncio.ensure_future(hub_user.spawn(name, name, options))
        spawner._spawn_pending, spawner._spawn_future = True, task

        def done(_: object) -> None:
            spawner._spawn_pending = False
            if task.cancelled() or task.exception() is None:
                spawner._spawn_future = None

        task.add_done_callback(done)
        return task

    async def start(self, name: str = "w1", *, user: str = "alice") -> None:
        """Start a workspace and wait until the platform has it running."""
        view = self.workspace(name, user=user)
        await self.begin(name, {"workspace": view.id}, user=user)
        await eventually(lambda: self.workspace(name, user=user).state == State.RUNNING)

    async def stop(self, name: str = "w1", *, user: str = "alice") -> None:
        """Stop it as the Hub's handler does."""
        hub_user = self.user(user)
        spawner = hub_user.spawners[name]

        async def stop() -> None:
            await hub_user.stop(name)

        spawner._stop_future = asyncio.ensure_future(stop())
        await spawner._stop_future

    async def run(self, command: str, name: str = "w1", *, user: str = "alice") -> str:
        """What a command prints inside a running workspace."""
        spawner = self.user(user).spawners[name]
        url = f"{spawner.server.url}run?{urllib.parse.urlencode({'run': command})}"
        answer = await AsyncHTTPClient().fetch(url, request_timeout=30)
        return answer.body.decode(errors="replace")

    def workspace(self, name: str = "w1", *, user: str = "alice") -> WorkspaceView:
        return workspaces.get_workspace(self.storage, owner=user, name=name, now=now())

    def events(self, name: str = "w1", *, user: str = "alice") -> list[EventView]:
        """Newest first."""
        return list(events.list_events(self.storage, owner=user, name=name).items)

    async def close(self) -> None:
        for user in self._users.values():
            for name in list(user.spawners):
                if name and user.spawners[name]._launch_id is not None:
                    await user.stop(name)
        self.storage.close()

    # what each runtime does in its own way

    def runs(self) -> list[str]:
        """What there is of runs, whether they work or not."""
        raise NotImplementedError

    def disks(self) -> list[str]:
        """The workspaces that have a data disk."""
        raise NotImplementedError

    def home(self, workspace_id: str) -> Path:
        """Where the data disk's files are on this machine."""
        raise NotImplementedError

    def kill_server(self, name: str = "w1", *, user: str = "alice") -> None:
        """Its server dies."""
        raise NotImplementedError

    def which_run(self, name: str = "w1", *, user: str = "alice") -> object:
        """Something that is the same as long as it is the same run."""
        raise NotImplementedError


class LocalStage(Stage):
    """On local directories. ``sandbox``: which of the local runtime's two forms."""

    spawner_class = ArkLocalSpawner

    def __init__(self, place: Path, *, sandbox: bool) -> None:
        super().__init__(place)
        self.groups = ControlGroups("stage")
        images = {name: str(directory) for name, directory in self.images.items()}
        self.traits.update({"control_groups": lambda: self.groups, "images": images, "sandbox": sandbox})

    def runs(self) -> list[str]:
        runs = self.place / "runs"
        return [path.name for path in runs.iterdir()] if runs.exists() else []

    def disks(self) -> list[str]:
        disks = self.place / "disks"
        return [path.name for path in disks.iterdir()] if disks.exists() else []

    def home(self, workspace_id: str) -> Path:
        return self.place / "disks" / workspace_id

    def kill_server(self, name: str = "w1", *, user: str = "alice") -> None:
        popen = self.user(user).spawners[name]._run.popen
        os.kill(popen.pid, signal.SIGKILL)
        popen.wait()

    def which_run(self, name: str = "w1", *, user: str = "alice") -> object:
        return self.user(user).spawners[name]._run.mark


class KubeStage(Stage):
    """In pods: the API is the tests' stand-in, and its node runs them in sandboxes."""

    spawner_class = ArkKubeSpawner

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.api = StandIn()
        self.node = SandboxNode(self.api, place, {name: path / "bin/jupyterhub-singleuser" for name, path in self.images.items()})
        self.api.node = self.node
        self.traits.update({"cluster": Cluster(data_disk_default_gib=1), "namespace": "stage", "k8s_api_request_timeout": 2})

    async def open(self) -> None:
        await self.api.start()
        ArkKubeSpawner.use_kubeconfig(self.api.write_kubeconfig(self.place / "kubeconfig"))
        load_config.cache_clear()
        await KubeSpawner._stop_all_reflectors()

    def restart_hub(self) -> None:
        super().restart_hub()
        for watch in KubeSpawner.reflectors.values():
            watch.watch_task.cancel()
        KubeSpawner.reflectors.clear()

    async def close(self) -> None:
        self.api.heal()
        await super().close()
        await KubeSpawner._stop_all_reflectors()
        await self.api.close()

    def runs(self) -> list[str]:
        return [*self.api.objects["pods"], *self.api.objects["secrets"]]

    def disks(self) -> list[str]:
        return [claim["metadata"]["labels"][cluster_names.WORKSPACE] for claim in self.api.objects["persistentvolumeclaims"].values()]

    def home(self, workspace_id: str) -> Path:
        return self.node.claim(cluster_names.claim_name(workspace_id))

    def kill_server(self, name: str = "w1", *, user: str = "alice") -> None:
        [pid] = self.node.processes()
        os.killpg(pid, signal.SIGKILL)

    def which_run(self, name: str = "w1", *, user: str = "alice") -> object:
        return [pod["metadata"]["uid"] for pod in self.api.pods()]


async def eventually(what: Callable[[], Any] | Callable[[], Awaitable[Any]], *, seconds: float = 60.0) -> None:
    """Wait until ``what`` is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (answer := what()) or (asyncio.iscoroutine(answer) and not await answer):
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.02)
