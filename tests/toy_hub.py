"""A spawner and a proxy for a real Hub in tests: servers are a listening socket inside the Hub, and nothing is proxied.

The workspace id in ``user_options`` says how a start goes: ``refuse…`` is refused by the gate with a sentence, ``crash…``
raises, ``slow…`` takes three seconds; anything else is ready at once.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner, SpawnException
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler


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

    async def start(self) -> str:
        wanted = str((self.user_options or {}).get("workspace", ""))
        tokens = Path(os.environ["STAGE_TOKENS"])
        (tokens / f"{self.user.name}--{self.name}").write_text(self.api_token)
        if wanted.startswith("refuse"):
            raise SpawnException("This server is not one of your workspaces.", reason="refused")
        if wanted.startswith("crash"):
            raise RuntimeError("secret path /etc/passwd")
        if wanted.startswith("slow"):
            await asyncio.sleep(3)
        self.listening = HTTPServer(Application([(".*", Ready)]))
        self.listening.listen(0, "127.0.0.1")
        port = next(iter(self.listening._sockets.values())).getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def stop(self, now: bool = False) -> None:
        if self.listening is not None:
            self.listening.stop()
            self.listening = None

    async def poll(self) -> int | None:
        return None if self.listening is not None else 0
