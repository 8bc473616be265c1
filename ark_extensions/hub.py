"""The JupyterHub REST client: the one place that speaks the Hub's API, for the console and the loops.

Promises: every call ends within its timeout; every failure is a domain error with a sentence (never an HTTP error or raw
text of the Hub); starting what starts, stopping what is stopped and removing what is gone are no errors. What a spawner
refuses (``SpawnException``) arrives as its own plain sentence. A service acts with its own token; the console acts with
the user's own: ``hub.acting_as(token)``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from ark_extensions.domain.errors import ArkError, Conflict, Forbidden, NotFound, Unavailable

log = logging.getLogger("ark.hub")

HubState = Literal["absent", "stopped", "pending_spawn", "pending_stop", "ready"]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
#: a start waits for the Hub's slow_spawn_timeout and the spawner's gate; a stop may interrupt a start
ACT_SECONDS = 45.0
#: calls on the way to the Hub at the same time
AT_ONCE = 100
#: the Hub answers 500 for a stop in the instant in which it polls the server: it is asked again
STOP_TRIES = 4
STOP_PAUSE_SECONDS = 0.5
MESSAGE_MAX = 500


class Refused(Conflict):
    """The spawner said no; the message is its own sentence."""

    code = "start_refused"


class Unanswered(Unavailable):
    """The call was sent and no answer came: whether the Hub acted is not known (the reconciler finds out)."""

    code = "hub_silent"


@dataclass(frozen=True)
class TokenOwner:
    """Who a token belongs to. ``kind`` is ``user`` or ``service``."""

    name: str
    kind: str
    admin: bool
    scopes: frozenset[str]


class Hub:
    """``api_url`` ends in ``/hub/api``. ``token`` is the service's own, or the user's (`acting_as`)."""

    def __init__(self, api_url: str, *, token: str = "", client: AsyncHTTPClient | None = None) -> None:
        self.api_url = api_url.rstrip("/")
        self._token = token
        self._client = client

    def acting_as(self, token: str) -> Hub:
        """The same Hub with somebody else's rights; connections are shared."""
        return Hub(self.api_url, token=token, client=self._http())

    async def start_server(self, user: str, name: str, workspace_id: str) -> None:
        """Ask for a start. Returns when the Hub has accepted it (it may go on starting). Raises Refused with the gate's sentence."""
        body = {"user_options": {"workspace": workspace_id}}
        answer = await self._ask("POST", self._server(user, name), body=body, seconds=ACT_SECONDS)
        if answer.code in (201, 202, 204):
            return
        message = _message(answer)
        if answer.code == 400 and message.endswith("is already running"):
            return
        raise _problem(answer, message)

    async def stop_server(self, user: str, name: str) -> None:
        """Ask for a stop; a server that is not there, stopped or stopping is no error."""
        await self._delete(user, name, body=None)

    async def remove_server(self, user: str, name: str) -> None:
        """Stop the server, if it runs, and forget it."""
        await self._delete(user, name, body={"remove": True})

    async def server_state(self, user: str, name: str) -> HubState:
        """What the Hub knows of a named server; ``absent`` when it has never heard of it."""
        answer = await self._ask("GET", self._server(user, name))
        if answer.code == 404:
            return "absent"
        if answer.code != 200:
            raise _problem(answer, _message(answer))
        model = _json(answer)
        if model.get("pending") in ("spawn", "stop"):
            return "pending_spawn" if model["pending"] == "spawn" else "pending_stop"
        return "stopped" if model.get("stopped", not model.get("ready")) else "ready"

    async def user_of_token(self, token: str) -> TokenOwner | None:
        """Whose token it is and what it may do; None when the Hub does not know it (revoked, expired, invented)."""
        try:
            answer = await self._ask("GET", "/user", token=token)
        except ValueError:  # what cannot be sent in a header is nobody's token
            return None
        if answer.code in (401, 403):
            return None
        if answer.code != 200:
            raise _problem(answer, _message(answer))
        model = _json(answer)
        return TokenOwner(
            name=str(model.get("name", "")),
            kind=str(model.get("kind", "user")),
            admin=bool(model.get("admin", False)),
            scopes=frozenset(model.get("scopes", ())),
        )

    async def _delete(self, user: str, name: str, *, body: dict[str, Any] | None) -> None:
        for attempt in range(1, STOP_TRIES + 1):
            answer = await self._ask("DELETE", self._server(user, name), body=body, seconds=ACT_SECONDS)
            if answer.code in (202, 204, 404):
                return
            if answer.code != 500 or attempt == STOP_TRIES:
                raise _problem(answer, _message(answer))
            await asyncio.sleep(STOP_PAUSE_SECONDS)

    @staticmethod
    def _server(user: str, name: str) -> str:
        return f"/users/{quote(user, safe='')}/servers/{quote(name, safe='')}"

    def _http(self) -> AsyncHTTPClient:
        if self._client is None:
            self._client = AsyncHTTPClient(force_instance=True, max_clients=AT_ONCE)
        return self._client

    async def _ask(
        self, method: str, path: str, *, token: str | None = None, body: dict[str, Any] | None = None, seconds: float = ANSWER_SECONDS
    ) -> HTTPResponse:
        request = HTTPRequest(
            self.api_url + path,
            method=method,
            headers={"Authorization": f"token {self._token if token is None else token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            follow_redirects=False,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=seconds,
        )
        try:
            return await self._http().fetch(request, raise_error=False)
        except HTTPClientError as error:  # 599: the connection or the answer timed out
            log.warning("%s %s: %s", method, path, error)
            if "while connecting" in str(error) or "request queue" in str(error):
                raise Unavailable("The Hub does not answer now. Try again in a minute.", code="hub_unreachable") from error
            raise Unanswered("The Hub takes too long to answer. Look again in a minute.") from error
        except OSError as error:
            log.warning("%s %s: %s", method, path, error)
            if isinstance(error, ConnectionRefusedError):
                raise Unavailable("The Hub does not answer now. Try again in a minute.", code="hub_unreachable") from error
            raise Unanswered("The Hub takes too long to answer. Look again in a minute.") from error


def _json(answer: HTTPResponse) -> dict[str, Any]:
    try:
        model = json.loads(answer.body)
    except ValueError:
        model = None
    return model if isinstance(model, dict) else {}


def _message(answer: HTTPResponse) -> str:
    """The sentence in the Hub's answer: one line, of bounded length."""
    text = _json(answer).get("message", "")
    return " ".join(str(text).split())[:MESSAGE_MAX]


#: what the Hub itself says, in its words for programmers; anything else is a spawner's sentence
_HUBS_OWN = ("scopes", "credentials", "Forbidden", "Not Found", "resources not found", "Internal Server Error", "Service Unavailable")


def _problem(answer: HTTPResponse, message: str) -> ArkError:
    """The domain error for an answer that is not a success."""
    own = not message or any(words in message for words in _HUBS_OWN)
    if answer.code in (401, 403) and own:
        return Forbidden("This token may not start and stop workspaces. Use one that has the right to.", code="token_without_servers")
    if answer.code == 404 and own:
        return NotFound("The Hub does not know this user or workspace. Sign in again.", code="hub_not_found")
    if answer.code == 429:
        return Unavailable("Too many workspaces are starting at this moment. Try again in a minute.", code="hub_busy")
    if answer.code == 400 and " is pending " in message:
        return Conflict("The workspace is busy with the step before. Try again in a moment.", code="hub_pending")
    if 400 <= answer.code < 500 and message:
        return Refused(message)
    log.warning("the Hub answered %s: %s", answer.code, message)
    if answer.code == 503 and not own:
        return Unavailable(message, code="start_failed")
    if answer.code in (502, 503, 504):
        return Unavailable("The Hub does not answer now. Try again in a minute.", code="hub_unreachable")
    return Unavailable("The workspace did not start or stop as it should. Look at its events, then try again.", code="hub_failed")
