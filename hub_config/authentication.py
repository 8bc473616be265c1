"""Signing in: with the platform's own passwords, or through an identity provider.

Promises: a check takes as long for a name that does not exist; guesses are slowed down for each name and address; nobody
is in the Hub without being known to the platform, with the opening credit. Who signs out, or is deleted by an administrator,
is signed off everywhere: SSH connections end too. Who gets a new password is signed out of every browser (`hub_config/sessions.py`).
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
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from jupyterhub.handlers.login import LogoutHandler
from tornado.web import HTTPError
from traitlets import Callable

from ark_extensions.domain.errors import NotFound
from ark_extensions.settings import OAuth, Settings
from ark_extensions.usecases import users
from ark_extensions.usecases.identities import shut_out
from ark_extensions.usecases.ssh_keys import sign_off
from hub_config import origins
from hub_config.base import CONSOLE, storage_of
from hub_config.sessions import Sessions, end_what_is_due

#: the file of the secrets directory with what the identity provider knows this Hub by
CLIENT_SECRET = "oauth_client_secret"
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


class SignsOff(Authenticator):  # type: ignore[misc]  # jupyterhub has no types
    """What ends with a sign-out, and with a user: to be mixed into whatever signs in."""

    open_storage = Callable(help="Called without arguments; returns the installation's Storage").tag(config=True)

    def get_handlers(self, app: Any) -> list[Any]:
        handlers = [pair for pair in super().get_handlers(app) if pair[0] != "/logout"]
        base = getattr(self, "logout_handler", LogoutHandler)
        if app is not None:
            end_what_is_due(app.db, self.open_storage)
        own = [("/logout", type("SignsOutHere", (SignsOut, base), {})), ("/api/users/([^/]+)/sessions", Sessions)]
        return [*handlers, *own, *origins.handlers()]

    async def delete_user(self, user: Any) -> None:
        """An administrator deletes the user: nothing that they hold opens anything any more, and their workspaces stop (the Hub
        deletes nobody whose servers run)."""
        active = [spawner for spawner in user.spawners.values() if spawner.active]
        if any(spawner.pending for spawner in active):
            raise HTTPError(409, "A workspace of this user is starting or stopping. Try again in a minute.")
        super().delete_user(user)
        await in_thread(partial(shut_out, self.open_storage(), user=user.name, actor="the Hub", now=datetime.now(UTC)))
        for spawner in active:
            await user.stop(spawner.name)


class SignsOut:
    """The Hub's sign-out, which ends this user's SSH connections as well. A link on another site signs nobody out."""

    async def get(self) -> None:
        handler: Any = self
        if origins.from_another_site(handler.request.headers):
            handler.redirect(CONSOLE)
            return
        await super().get()  # type: ignore[misc]

    async def handle_logout(self) -> None:
        handler: Any = self
        await super().handle_logout()  # type: ignore[misc]
        if handler.current_user is None:
            return
        name = handler.current_user.name
        try:
            await in_thread(partial(sign_off, handler.authenticator.open_storage(), user=name, actor=name, now=datetime.now(UTC)))
        except NotFound:
            pass  # somebody of the Hub's own, whom the platform never saw


class ArkPasswordAuthenticator(SignsOff):
    """Signs in with the passwords that `ark user` sets."""

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
        if not await in_thread(partial(users.check_password, self.open_storage(), user=name, password=password)):
            return None
        self.throttle.succeeded(name, address)
        self.name_throttle.succeeded(name, "")
        known = await in_thread(partial(users.get_user, self.open_storage(), name=name))
        return {"name": name, "admin": known.admin} if known else None


def configure(c: Any, settings: Settings) -> None:
    named = settings.oauth is None or "administrators" in settings.model_fields_set
    administrators = set(settings.administrators) if named else set()  # the default name may be anybody's at a provider
    c.Authenticator.admin_users = administrators
    c.Authenticator.enable_auth_state = False
    c.Authenticator.post_auth_hook = partial(make_known, settings, administrators)
    c.SignsOff.open_storage = lambda: storage_of(settings.resolved_database_url)
    if settings.oauth is not None:
        provided(c, settings, settings.oauth)
        return
    c.JupyterHub.authenticator_class = ArkPasswordAuthenticator
    c.ArkPasswordAuthenticator.allow_all = True  # who has a password may come in


def provided(c: Any, settings: Settings, oauth: OAuth) -> None:
    """Sign-in through an identity provider."""
    from hub_config.identity_provider import class_of  # half a second that others do not wait for

    chosen = class_of(oauth.provider)
    c.JupyterHub.authenticator_class = type("ArkProvidedAuthenticator", (SignsOff, chosen), {})
    given: dict[str, Any] = {"in_thread": in_thread, "issuer": oauth.issuer or ""}
    if oauth.issuer:
        given |= {"scope": ["openid", "profile", "email"], "username_claim": "preferred_username", "basic_auth": True}
        given["login_service"] = urlsplit(oauth.issuer).netloc
    if (settings.state_dir / "secrets" / CLIENT_SECRET).exists():
        given["client_secret"] = settings.secret(CLIENT_SECRET)
    if settings.public_url:
        given["oauth_callback_url"] = f"{settings.public_url.rstrip('/')}/hub/oauth_callback"
    if oauth.options.keys() & {"admin_groups", "allowed_groups"}:
        given["manage_groups"] = True
    for trait, value in {**given, **oauth.options}.items():
        c.ArkProvidedAuthenticator[trait] = value


async def make_known(
    settings: Settings, administrators: set[str], authenticator: Any, handler: Any, authentication: dict[str, Any]
) -> dict[str, Any]:
    """Every sign-in makes the user known to the platform; the first one brings the opening credit."""
    name, admin = authentication["name"], bool(authentication.get("admin"))
    if settings.oauth is not None:
        await authenticator.settle(authentication)
    call = partial(
        users.ensure_user,
        storage_of(settings.resolved_database_url),
        name=name,
        admin=admin or name in administrators,
        opening_credit_micros=settings.opening_credit_micros,
        now=datetime.now(UTC),
    )
    await in_thread(call)
    if settings.oauth is not None:
        await authenticator.keep(authentication)
    return authentication


async def in_thread(call: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_threads, call)
