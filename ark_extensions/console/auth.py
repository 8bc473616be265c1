"""Who calls: a browser session (the Hub's OAuth cookie) or a Hub token, and what the caller may do.

Promises: a token is looked up at the Hub and believed for at most ``CACHE_SECONDS``, so a revoked or expired one is refused
by then; one look-up at a time for one token; the token itself is never a key or a log line (its SHA-256 is). A caller is a
user's whole account (scope ``custom:ark:account``) or one workspace of theirs; a service is neither.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.services.auth import HubOAuth

from ark_extensions.domain.errors import ArkError, Forbidden
from ark_extensions.hub import Hub, TokenOwner
from ark_extensions.settings import Settings
from ark_extensions.web.oauth import TabsOAuth

PREFIX = "/services/console/"
SERVICE = "console"
ACCOUNT_SCOPE = "custom:ark:account"
ACCESS_SCOPES = frozenset({"access:services", f"access:services!service={SERVICE}"})
#: how long the Hub's answer about a token is believed
CACHE_SECONDS = 20.0
CACHE_SIZE = 20_000
TOKEN_MAX = 512
_HEADER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


class Unauthenticated(ArkError):
    """Nobody is signed in, or the token is not known (HTTP 401)."""

    code = "unauthenticated"


@dataclass(frozen=True)
class Principal:
    """The caller. ``account``: acts as the user's whole account; else ``workspace`` names the one workspace whose own
    token this is. ``by_cookie``: a browser session, whose requests need the XSRF token."""

    user: str
    admin: bool
    account: bool
    workspace: str | None
    token: str = field(repr=False)
    scopes: frozenset[str] = field(repr=False)
    by_cookie: bool

    def may_act_on_servers(self, act: str, name: str | None = None) -> bool:
        """Whether the token itself may do ``act`` (``start`` or ``delete``) on the user's servers at the Hub."""
        wanted = {f"{act}:servers", f"{act}:servers!user={self.user}"}
        if name is not None:
            wanted.add(f"{act}:servers!server={self.user}/{name}")
        return not wanted.isdisjoint(self.scopes)


#: who calls an open address: nobody that is known, with no rights
NOBODY = Principal(user="", admin=False, account=False, workspace=None, token="", scopes=frozenset(), by_cookie=False)


def principal_of(owner: TokenOwner, token: str, *, by_cookie: bool) -> Principal:
    """What a token's owner and scopes amount to; raises Forbidden for callers that have nothing to do here."""
    if owner.kind != "user":
        raise Forbidden("This token belongs to a service. Use a token of a user.", code="token_of_service")
    if ACCESS_SCOPES.isdisjoint(owner.scopes):
        raise Forbidden("This token has no access to the console. Make one that has.", code="token_without_access")
    account = not owner.scopes.isdisjoint({ACCOUNT_SCOPE, f"{ACCOUNT_SCOPE}!user={owner.name}"})
    workspace = None if account else _own_workspace(owner)
    if not account and workspace is None:
        raise Forbidden("This token acts neither for an account nor for a workspace. Make one that does.", code="token_without_account")
    return Principal(owner.name, owner.admin and account, account, workspace, token, owner.scopes, by_cookie)


def _own_workspace(owner: TokenOwner) -> str | None:
    """The server name of a workspace's own token: exactly one ``access:servers!server=USER/NAME``."""
    begin = f"access:servers!server={owner.name}/"
    names = {scope.removeprefix(begin) for scope in owner.scopes if scope.startswith(begin)}
    return next(iter(names)) if len(names) == 1 and names != {""} else None


def header_token(authorization: str) -> str | None:
    """The token of an ``Authorization: token …`` or ``bearer …`` header; "" for a header that holds none of these."""
    if not authorization:
        return None
    match = _HEADER.fullmatch(authorization)
    return match.group(1) if match and len(match.group(1)) <= TOKEN_MAX else ""


class TokenLookup:
    """Token → owner, from the Hub, remembered for ``CACHE_SECONDS``. ``clock`` is monotonic seconds."""

    def __init__(self, hub: Hub, *, clock: Callable[[], float] = time.monotonic, seconds: float = CACHE_SECONDS) -> None:
        self._hub = hub
        self._clock = clock
        self._seconds = seconds
        self._known: dict[str, tuple[float, TokenOwner | None]] = {}
        self._asking: dict[str, asyncio.Future[TokenOwner | None]] = {}

    async def owner_of(self, token: str, *, session_id: str = "") -> TokenOwner | None:
        """Who owns the token now; raises Unavailable when the Hub cannot be asked and nothing fresh is known."""
        key = hashlib.sha256(f"{session_id}\n{token}".encode("utf-8", "replace")).hexdigest()
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    def forget(self) -> None:
        """Ask the Hub anew for every token."""
        self._known.clear()

    async def _ask(self, key: str, token: str) -> TokenOwner | None:
        asked_at = self._clock()
        owner = await self._hub.user_of_token(token)
        if len(self._known) >= CACHE_SIZE:
            self._forget_old()
        self._known[key] = (asked_at + self._seconds, owner)
        return owner

    def _forget_old(self) -> None:
        now = self._clock()
        self._known = {key: known for key, known in self._known.items() if now < known[0]}
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()


def hub_oauth(settings: Settings) -> HubOAuth:
    """JupyterHub's own OAuth client, from settings instead of the environment of a Hub-managed service."""
    values: dict[str, Any] = {
        "api_url": settings.hub_api_url,
        "api_token": settings.secret("console_token"),
        "base_url": PREFIX,
        "hub_prefix": "/hub/",
        "hub_host": "",
        "oauth_client_id": f"service-{SERVICE}",
        "oauth_redirect_uri": f"{PREFIX}oauth_callback",
        "access_scopes": {f"access:services!service={SERVICE}"},
        "cache_max_age": int(CACHE_SECONDS),
        "cookie_options": {"samesite": "Lax"},
    }
    return TabsOAuth(**values)
