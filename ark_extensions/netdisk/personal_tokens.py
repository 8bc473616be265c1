"""Personal tokens for programs: Hub tokens whose only right is the netdisk, named, listed, revocable, expiring.

They are made with the user's own session, so that the service itself can make tokens for nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from ark_extensions.domain.errors import Forbidden, NotFound, Unavailable
from ark_extensions.netdisk.auth import SERVICE

NOTE = "netdisk: "
SCOPES = [f"access:services!service={SERVICE}"]
DAYS_MAX = 366
SECONDS = 15.0


@dataclass(frozen=True)
class PersonalToken:
    id: str
    name: str
    created_at: str
    expires_at: str | None
    used_at: str | None


class PersonalTokens:
    def __init__(self, api_url: str) -> None:
        self._api_url = api_url

    async def list(self, user: str, token: str) -> list[PersonalToken]:
        found = await self._ask("GET", f"/users/{quote(user, safe='')}/tokens", token)
        return [_personal(model) for model in found.get("api_tokens", ()) if str(model.get("note", "")).startswith(NOTE)]

    async def make(self, user: str, token: str, *, name: str, days: int) -> tuple[PersonalToken, str]:
        """→ (the token, its secret: shown once and kept nowhere)."""
        body = {"note": NOTE + name, "expires_in": days * 86_400, "scopes": SCOPES}
        model = await self._ask("POST", f"/users/{quote(user, safe='')}/tokens", token, body)
        return _personal(model), str(model["token"])

    async def revoke(self, user: str, token: str, id: str) -> None:
        if all(mine.id != id for mine in await self.list(user, token)):
            raise NotFound("This token is not there any more.")
        await self._ask("DELETE", f"/users/{quote(user, safe='')}/tokens/{quote(id, safe='')}", token)

    async def _ask(self, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = HTTPRequest(
            self._api_url + path, method=method, body=None if body is None else json.dumps(body), allow_nonstandard_methods=True,
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            request_timeout=SECONDS, follow_redirects=False,
        )  # fmt: skip
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            raise Unavailable("The Hub does not answer now. Try again in a minute.", code="hub_unreachable") from error
        if answer.code in (401, 403):
            raise Forbidden("This session may not make or revoke tokens. Sign in again on the netdisk's page.", code="token_without_tokens")
        if answer.code == 404:
            raise NotFound("This token is not there any more.")
        if answer.code >= 400:
            raise Unavailable("The Hub does not answer now. Try again in a minute.", code="hub_unreachable")
        document = json.loads(answer.body or b"{}")
        return document if isinstance(document, dict) else {}


def _personal(model: dict[str, Any]) -> PersonalToken:
    note = str(model.get("note", "")).removeprefix(NOTE)
    return PersonalToken(str(model.get("id")), note, str(model.get("created")), model.get("expires_at"), model.get("last_activity"))
