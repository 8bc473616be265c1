"""The platform's REST API as a workspace may use it: its own record, with its own server's token."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

UNAVAILABLE = {"error": {"code": "unavailable", "message": "The platform does not answer now. Try again in a minute.", "field": None}}


@dataclass(frozen=True)
class Platform:
    """Where this workspace's record is. ``url`` empty: there is no platform (the server was started by hand)."""

    url: str
    token: str

    @classmethod
    def from_environment(cls) -> Platform:
        base, name = os.environ.get("ARK_API_URL", ""), os.environ.get("ARK_WORKSPACE", "")
        url = f"{base.rstrip('/')}/workspaces/{quote(name, safe='')}" if base and name else ""
        return cls(url, os.environ.get("JUPYTERHUB_API_TOKEN", ""))

    async def call(self, method: str, path: str = "", body: Any = None, language: str = "") -> tuple[int, Any]:
        """(HTTP status, JSON): the platform's answer, or 503 with an error of the same form when there is none."""
        if not self.url:
            return 503, UNAVAILABLE
        headers = {"Authorization": f"token {self.token}", "Accept": "application/json"}
        if language:
            headers["Accept-Language"] = language
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = HTTPRequest(
            self.url + path,
            method=method,
            headers=headers,
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            connect_timeout=5,
            request_timeout=15,
            follow_redirects=False,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
            if answer.code == 599 or answer.code >= 500 or 300 <= answer.code < 400:
                return 503, UNAVAILABLE
            return answer.code, json.loads(answer.body) if answer.body else None
        except (OSError, ValueError):
            return 503, UNAVAILABLE
