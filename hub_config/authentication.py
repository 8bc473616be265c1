"""Signing in: with the platform's own passwords, or through an identity provider.

Promises: a check takes as long for a name that does not exist; guesses are slowed down for each name and address; nobody
is in the Hub without being known to the platform, with the opening credit.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

from jupyterhub.auth import Authenticator
from tornado.web import HTTPError
from traitlets import Callable

from ark_extensions.settings import Settings
from ark_extensions.usecases import users
from hub_config.base import storage_of

#: two passwords are checked at a time: argon2 takes memory and a processor by design
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ark-sign-in")


@dataclass
class _Tries:
    failures: int = 0
    free_at: float = 0.0


class Throttle:
    """Slows down guesses: from ``patience`` failures on, each one doubles the wait. ``now`` in seconds of one clock."""

    def __init__(self, *, patience: int = 5, longest_seconds: float = 300.0, remembered: int = 10_000) -> None:
        self._patience = patience
        self._longest_seconds = longest_seconds
        self._remembered = remembered
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def wait_seconds(self, user: str, address: str, now: float) -> float:
        """How long this name must wait at this address; 0: it may try."""
        tries = self._tries.get((user, address))
        return max(tries.free_at - now, 0.0) if tries else 0.0

    def failed(self, user: str, address: str, now: float) -> None:
        tries = self._tries.pop((user, address), _Tries())
        tries.failures += 1
        if tries.failures >= self._patience:
            tries.free_at = now + min(2.0 ** (tries.failures - self._patience + 1), self._longest_seconds)
        self._tries[user, address] = tries
        while len(self._tries) > self._remembered:
            self._tries.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        self._tries.pop((user, address), None)


class ArkPasswordAuthenticator(Authenticator):  # type: ignore[misc]  # jupyterhub has no types
    """Signs in with the passwords that `ark user` sets."""

    open_storage = Callable(help="Called without arguments; returns the installation's Storage").tag(config=True)
    throttle = Throttle()
    #: for a name wherever it is tried from: who is on this machine can claim to come from any address
    name_throttle = Throttle(patience=100, longest_seconds=10.0)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        name = self.normalize_username(data.get("username", "").strip()[:200])
        password = data.get("password", "")
        address = handler.request.remote_ip or ""
        wait = max(self.throttle.wait_seconds(name, address, monotonic()), self.name_throttle.wait_seconds(name, "", monotonic()))
        if wait:
            raise HTTPError(429, f"Too many tries. Try again in {int(wait) + 1} seconds.")
        self.name_throttle.failed(name, "", monotonic())
        self.throttle.failed(name, address, monotonic())  # counted before the check: tries at the same time count too
        if not await _in_thread(partial(users.check_password, self.open_storage(), user=name, password=password)):
            return None
        self.throttle.succeeded(name, address)
        self.name_throttle.succeeded(name, "")
        known = await _in_thread(partial(users.get_user, self.open_storage(), name=name))
        return {"name": name, "admin": known.admin} if known else None


def configure(c: Any, settings: Settings) -> None:
    c.Authenticator.admin_users = set(settings.administrators)
    c.Authenticator.enable_auth_state = False
    c.Authenticator.post_auth_hook = partial(make_known, settings)
    if settings.oauth is not None:
        c.JupyterHub.authenticator_class = settings.oauth.provider
        for trait, value in settings.oauth.options.items():
            c.OAuthenticator[trait] = value
        return
    c.JupyterHub.authenticator_class = ArkPasswordAuthenticator
    c.ArkPasswordAuthenticator.allow_all = True  # who has a password may come in
    c.ArkPasswordAuthenticator.open_storage = lambda: storage_of(settings.resolved_database_url)


async def make_known(settings: Settings, authenticator: Any, handler: Any, authentication: dict[str, Any]) -> dict[str, Any]:
    """Every sign-in makes the user known to the platform; the first one brings the opening credit."""
    name, admin = authentication["name"], bool(authentication.get("admin"))
    call = partial(
        users.ensure_user,
        storage_of(settings.resolved_database_url),
        name=name,
        admin=admin or name in settings.administrators,
        opening_credit_micros=settings.opening_credit_micros,
        now=datetime.now(UTC),
    )
    await _in_thread(call)
    return authentication


async def _in_thread(call: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_threads, call)
