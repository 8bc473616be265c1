"""Lives of a Hub that are cut short: ``python -m tests.kube_lives PLACE`` forks one life for each line that it reads.

A life is what a Hub process does with one workspace, in a process of its own, with the real spawner, the Hub's own `User`
and database file, and the stand-in's API in another process: first what `jupyterhub` does when it comes up (it looks
at the servers in its database), then a start and a stop. ``kill_at`` N: the life ends by SIGKILL at its Nth step, a step
being just before or just after a request to the cluster or a use case. It is not a whole Hub with its web server: that
takes seconds to come up, and everything between two of these steps is the same.

Each line in is a number (0: to the end); each line out is JSON: how it ended, its last step, the number of steps.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyterhub import orm, roles
from kubespawner import KubeSpawner
from kubespawner.clients import load_config
from traitlets.config import Config

from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import launches
from ark_extensions.usecases.workspaces import get_workspace
from ark_spawner.kube import ArkKubeSpawner
from ark_spawner.kube_api import ClusterApi
from ark_spawner.lifecycle import WorkspaceLifecycle
from ark_spawner.pod import Cluster
from tests.contract.spawner_stage import Stage, eventually, now

OWNER, NAME = "alice", "w1"


class Steps:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, note: Path, kill_at: int) -> None:
        self.note, self.kill_at, self.number, self.counting = note, kill_at, 0, False

    def at(self, label: str) -> None:
        if not self.counting:
            return
        self.number += 1
        self.note.write_text(json.dumps({"step": label, "number": self.number}))
        if self.number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, method: Callable[..., Awaitable[Any]], label_of: Callable[..., str]) -> Callable[..., Awaitable[Any]]:
        async def stepped(*args: Any, **kwargs: Any) -> Any:
            label = label_of(*args, **kwargs)
            self.at(f"before {label}")
            try:
                return await method(*args, **kwargs)
            finally:
                self.at(f"after {label}")

        return stepped


class Life(Stage):
    """The Hub's side of one life: `Stage`'s, on database files that outlive it."""

    spawner_class = ArkKubeSpawner

    def __init__(self, place: Path) -> None:
        self.place = place
        self.storage = Storage(f"sqlite:///{place / 'ark.sqlite'}")
        self.config = Config()
        self.traits = self.config.ArkKubeSpawner
        told = {"open_storage": lambda: self.storage, "apply_user_options": lambda spawner, options: None, "cluster": Cluster()}
        self.traits.update({**told, "namespace": "stage", "patience_seconds": 10, "start_timeout": 30, "http_timeout": 5})
        self._users = {}
        self.db = orm.new_session_factory(f"sqlite:///{place / 'hub.sqlite'}")()
        if self.db.query(orm.OAuthClient).count() == 0:
            for role in roles.get_default_roles():
                roles.create_role(self.db, role)
            self.db.add(orm.OAuthClient(identifier="jupyterhub"))
            self.db.commit()

    async def come_up(self) -> None:
        """As `jupyterhub` does with the servers in its database."""
        user = self.user(OWNER)
        row = user.orm_spawners.get(NAME)
        if row is None or row.server is None:
            return
        spawner = user.spawners[NAME]
        spawner._check_pending = True
        status = await spawner.poll()
        if status is None:
            url = await spawner.get_url()
            assert url.startswith("http://127.")
            spawner._check_pending = False
            await spawner.poll()  # its next one: it is ready now
            await eventually(lambda: spawner._was_ready)
        if status is not None or self.state() == State.STOPPING:
            await self.stop(NAME, user=OWNER)
        spawner._check_pending = False

    def state(self) -> State:
        return get_workspace(self.storage, owner=OWNER, name=NAME, now=now()).state

    async def live(self, steps: Steps) -> None:
        await self.come_up()
        if self.state() == State.RUNNING:
            await self.stop(NAME, user=OWNER)
        if self.state() not in (State.STOPPED, State.FAILED, State.CREATING):
            return  # for the reconciler
        steps.counting = True
        await self.start(NAME, user=OWNER)
        launches.request_stop(self.storage, owner=OWNER, name=NAME, actor=OWNER, reason=launches.StopReason.USER, now=now())
        await self.stop(NAME, user=OWNER)


async def life(place: Path, kill_at: int) -> None:
    steps = Steps(place / "step.json", kill_at)
    ClusterApi._send = steps.around(ClusterApi._send, lambda _, verb, path, **more: f"{verb} {path}")
    WorkspaceLifecycle.use_case = steps.around(WorkspaceLifecycle.use_case, lambda _, call: getattr(call, "func", call).__name__)
    one = Life(place)
    await one.live(steps)
    await KubeSpawner._stop_all_reflectors()


def main() -> None:
    place = Path(sys.argv[1])
    ArkKubeSpawner.use_kubeconfig(place / "kubeconfig")
    load_config()
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        (place / "step.json").write_text("{}")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(life(place, int(line)))
                code = 0
            except BaseException as error:
                (place / "error.txt").write_text(repr(error))
                raise
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status), **json.loads((place / "step.json").read_text())}), flush=True)


if __name__ == "__main__":
    main()
