"""The handlers that the JupyterLab extension calls: the workspace's status, its stop time, stop, "I am here".

Authenticated and guarded against cross-site requests as Jupyter's own API is. None of them counts as activity.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

MAX_MINUTES = 90 * 24 * 60
LANGUAGE = re.compile(r"[A-Za-z0-9,;=.*_\- ]{1,100}")
SHOWN = ("name", "display_name", "state", "started_at", "auto_stop_at", "idle_stop_minutes", "cost", "why")


class ArkHandler(APIHandler):
    auth_resource = "server"
    _track_activity = False

    async def forward(self, method: str, path: str = "", body: Any = None) -> None:
        """Answer with what the platform answers to this call."""
        language = self.request.headers.get("Accept-Language", "")
        language = language if LANGUAGE.fullmatch(language) else ""
        status, answer = await self.settings["ark_platform"].call(method, path, body, language)
        self.answer(status, answer)

    def answer(self, status: int, answer: Any) -> None:
        self.set_status(status)
        if isinstance(answer, dict) and status < 300:
            reporter = self.settings["ark_reporter"]
            answer = {key: answer.get(key) for key in SHOWN}
            answer |= {"now": datetime.now(UTC).isoformat(), "worked_at": reporter.worked_at.isoformat()}
        if status != 204:
            self.finish(json.dumps(answer))

    def body(self, allowed: str) -> dict[str, Any]:
        """The JSON body with at most the allowed key; anything else is 400."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise web.HTTPError(400, "The body is not JSON") from error
        if not isinstance(body, dict) or set(body) - {allowed}:
            raise web.HTTPError(400, f"The body is a JSON object with the key {allowed} at most")
        return body


class StatusHandler(ArkHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        await self.forward("GET")


class AutoStopHandler(ArkHandler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        """``{"after_minutes": N}``: stop in N minutes; ``{"after_minutes": null}``: do not stop by itself."""
        body = self.body("after_minutes")
        if "after_minutes" not in body:
            raise web.HTTPError(400, "after_minutes is missing")
        minutes = body["after_minutes"]
        if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= MAX_MINUTES):
            raise web.HTTPError(400, f"after_minutes is null or a whole number from 1 to {MAX_MINUTES}")
        await self.forward("PATCH", "", {"auto_stop": None if minutes is None else {"after_minutes": minutes}})


class StopHandler(ArkHandler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        await self.forward("POST", "/stop", {})


class HereHandler(ArkHandler):
    @web.authenticated
    @authorized
    async def post(self) -> None:
        """The user says that they are at work: what idle stop counts from."""
        await self.settings["ark_reporter"].worked()
        await self.forward("GET")


def handlers(base_url: str) -> list[tuple[str, type[web.RequestHandler]]]:
    routes = [("status", StatusHandler), ("auto-stop", AutoStopHandler), ("stop", StopHandler), ("here", HereHandler)]
    return [(url_path_join(base_url, "ark", path), handler) for path, handler in routes]
