"""Who calls: a program with a personal token (WebDAV's Basic, Bearer, token) or a browser session.

Promises: a token is believed for at most ``CACHE_SECONDS`` after the Hub's answer; it is kept and compared by its SHA-256;
with Basic the user name must be the token's own user. Rights are re-checked at each request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ark_extensions.domain.errors import ArkError, Forbidden
from ark_extensions.hub import TokenOwner

PREFIX = "/services/netdisk"
SERVICE = "netdisk"
ACCOUNT_SCOPE = "custom:ark:account"
NETDISK_SCOPES = frozenset({"access:services", f"access:services!service={SERVICE}", "custom:ark:netdisk"})
CACHE_SECONDS = 30.0
CACHE_SIZE = 10_000
TOKEN_MAX = 512
_BEARER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


class Unauthenticated(ArkError):
    """No token, or one that the Hub does not know (HTTP 401)."""

    code = "unauthenticated"


@dataclass(frozen=True)
class Caller:
    """``account``: may act for the whole account (make tokens), not only on files."""

    user: str
    admin: bool
    account: bool
    token: str
    by_cookie: bool


class Hub(Protocol):
    async def user_of_token(self, token: str) -> TokenOwner | None: ...


def credentials(authorization: str) -> tuple[str | None, str]:
    """(user name if one was given, token) of an Authorization header; the token is "" when the header holds none."""
    match = _BEARER.fullmatch(authorization)
    if match:
        return None, match.group(1)[: TOKEN_MAX + 1]
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            name, colon, token = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, ""
        return (name, token) if colon else (None, "")
    return None, ""


def caller_of(owner: TokenOwner, token: str, *, name: str | None, by_cookie: bool) -> Caller:
    """Raises Unauthenticated or Forbidden for who has nothing to do here."""
    if owner.kind != "user":
        raise Forbidden("This token belongs to a service. Use a token of a user.", code="token_of_service")
    if name is not None and name != owner.name:
        raise Unauthenticated("The user name and the token do not belong together.")
    account = not owner.scopes.isdisjoint({ACCOUNT_SCOPE, f"{ACCOUNT_SCOPE}!user={owner.name}"})
    wanted = NETDISK_SCOPES | {f"custom:ark:netdisk!user={owner.name}"}
    if not account and wanted.isdisjoint(owner.scopes):
        raise Forbidden("This token has no access to the netdisk. Make one on the netdisk's page.", code="token_without_access")
    return Caller(owner.name, owner.admin, account, token, by_cookie)


class Tokens:
    """Token → owner, from the Hub, remembered for a while. ``clock`` is monotonic seconds."""

    def __init__(self, hub: Hub, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._known: dict[bytes, tuple[float, TokenOwner | None]] = {}
        self._asking: dict[bytes, asyncio.Future[TokenOwner | None]] = {}

    async def owner_of(self, token: str) -> TokenOwner | None:
        if not token or len(token) > TOKEN_MAX or not token.isascii() or not token.isprintable():
            return None
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    def known(self, token: str) -> TokenOwner | None:
        """The owner as the Hub told it a moment ago; None when it has to be asked (or knows nobody)."""
        known = self._known.get(hashlib.sha256(token.encode()).digest()) if len(token) <= TOKEN_MAX else None
        return known[1] if known is not None and self._clock() < known[0] else None

    def forget(self) -> None:
        self._known.clear()

    async def _ask(self, key: bytes, token: str) -> TokenOwner | None:
        until = self._clock() + CACHE_SECONDS
        owner = await self._hub.user_of_token(token)
        if len(self._known) >= CACHE_SIZE:
            self._known.clear()
        self._known[key] = (until, owner)
        return owner
