"""A spawner and a proxy for a real Hub in tests: servers are a listening socket inside the Hub, and nothing is proxied.

The spawner passes the platform's gate and reports to it, as a real one does. Names beginning with ``free`` do neither.
A name says how a start goes: ``…-refused`` is refused with a sentence, ``…-crash`` raises, ``…-slow`` takes three seconds;
any other is ready at once.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner, SpawnException
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from ark_extensions.domain.errors import ArkError
from ark_extensions.storage import Storage
from ark_extensions.usecases.launches import authorize_launch, record_ready, record_stop

STORAGE = Storage(os.environ["STAGE_DATABASE"])


class NoProxy(Proxy):
    """Remembers routes, forwards nothing."""

    should_start = False
    routes: dict[str, dict[str, Any]] = {}

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        self.routes.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        return dict(self.routes)


class Ready(RequestHandler):
    def get(self) -> None:
        self.set_header("X-JupyterHub-Version", "6.1.1")
        self.finish("{}")


class ToySpawner(Spawner):
    """See the module."""

    listening: HTTPServer | None = None
    launch: tuple[str, str] | None = None
    was_ready = False

    async def start(self) -> str:
        tokens = Path(os.environ["STAGE_TOKENS"])
        self.pass_the_gate()
        if self.name.endswith("-refused"):
            raise SpawnException("This server is not one of your workspaces.", reason="refused")
        if self.name.endswith("-crash"):
            raise RuntimeError("secret path /etc/passwd")
        if self.name.endswith("-slow"):
            await asyncio.sleep(3)
        self.listening = HTTPServer(Application([(".*", Ready)]))
        self.listening.listen(0, "127.0.0.1")
        port = next(iter(self.listening._sockets.values())).getsockname()[1]
        (tokens / f"{self.user.name}--{self.name}").write_text(self.api_token)
        if self.launch is not None:
            asyncio.get_running_loop().call_later(0.2, self.tell_ready)
        return f"http://127.0.0.1:{port}"

    def pass_the_gate(self) -> None:
        if self.name.startswith("free"):
            return
        wanted = str((self.user_options or {}).get("workspace", ""))
        try:
            spec = authorize_launch(STORAGE, owner=self.user.name, server_name=self.name, workspace_id=wanted, now=datetime.now(UTC))
        except ArkError as error:
            raise SpawnException(str(error), reason=error.code) from error
        self.launch = (spec.workspace_id, spec.launch_id)
        self.was_ready = False

    def tell_ready(self) -> None:
        if self.launch is not None and self.listening is not None:
            self.was_ready = True
            record_ready(STORAGE, workspace_id=self.launch[0], launch_id=self.launch[1], now=datetime.now(UTC))

    async def stop(self, now: bool = False) -> None:
        if self.listening is not None:
            self.listening.stop()
            self.listening = None
        if self.launch is not None:
            workspace_id, launch_id = self.launch
            self.launch = None
            record_stop(
                STORAGE, workspace_id=workspace_id, launch_id=launch_id, now=datetime.now(UTC), exit_code=0, was_ready=self.was_ready
            )

    async def poll(self) -> int | None:
        return None if self.listening is not None else 0
