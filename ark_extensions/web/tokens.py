"""Whose a token is, for every service that takes the Hub's tokens.

Promises: the Hub's answer about a token is believed for at most ``CACHE_SECONDS``, so a revoked or expired one is refused by then; one
look-up at a time for one token; the token itself is never a key or a log line (its SHA-256 is).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from ark_extensions.domain.errors import ArkError, Forbidden
from ark_extensions.hub import TokenOwner

#: the scope of a token that acts as its user's whole account
ACCOUNT_SCOPE = "custom:ark:account"
CACHE_SECONDS = 20.0
CACHE_SIZE = 20_000
TOKEN_MAX = 512


class Unauthenticated(ArkError):
    """Nobody is signed in, or the token is not known (HTTP 401)."""

    code = "unauthenticated"


class KnowsTokens(Protocol):
    async def user_of_token(self, token: str) -> TokenOwner | None: ...


def require_person(owner: TokenOwner) -> None:
    """Raises Forbidden for a service's token."""
    if owner.kind != "user":
        raise Forbidden("This token belongs to a service. Use a token of a user.", code="token_of_service")


def is_account(owner: TokenOwner) -> bool:
    """Whether the token acts as its owner's whole account."""
    return not owner.scopes.isdisjoint({ACCOUNT_SCOPE, f"{ACCOUNT_SCOPE}!user={owner.name}"})


def key_of(token: str, session_id: str = "") -> bytes:
    """What a token is known by here."""
    return hashlib.sha256(f"{session_id}\n{token}".encode("utf-8", "replace")).digest()


class TokenLookup:
    """Token → owner, from the Hub, remembered for ``CACHE_SECONDS``. ``clock`` is monotonic seconds."""

    def __init__(self, hub: KnowsTokens, *, clock: Callable[[], float] = time.monotonic, seconds: float = CACHE_SECONDS) -> None:
        self._hub = hub
        self._clock = clock
        self._seconds = seconds
        self._known: dict[bytes, tuple[float, TokenOwner | None]] = {}
        self._asking: dict[bytes, asyncio.Future[TokenOwner | None]] = {}

    async def owner_of(self, token: str, *, session_id: str = "") -> TokenOwner | None:
        """Who owns the token now; raises Unavailable when the Hub cannot be asked and nothing fresh is known."""
        if not token or len(token) > TOKEN_MAX or not token.isascii() or not token.isprintable():
            return None
        key = key_of(token, session_id)
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    def known(self, key: bytes) -> TokenOwner | None:
        """The owner of the token with this `key_of`, as the Hub told it a moment ago; None when it has to be asked (or knows nobody)."""
        known = self._known.get(key)
        return known[1] if known is not None and self._clock() < known[0] else None

    def forget(self) -> None:
        """Ask the Hub anew for every token."""
        self._known.clear()

    async def _ask(self, key: bytes, token: str) -> TokenOwner | None:
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
