"""JupyterHub's own client for services, without the Hub's database layer and its HTTP client.

``jupyterhub.services.auth`` imports ``jupyterhub.scopes`` for one function, and with it the Hub's tables, the ORM and Alembic: 15 MiB
of each process that shows a page. The client calls it where a signed-in browser comes back from a second sign-in; a service asks for
one scope then, its own, for which ``granted`` gives the same answer. It imports aiohttp, 7 MiB more, for one request at each sign-in,
which Tornado's client makes as well (`fetch`). Whoever imports one of them later gets the real one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0


def granted(required: Iterable[str], held: Iterable[str], db: object = None) -> set[str]:
    """Those of the required scopes that are held: as they are written, or for everything (without the filter after ``!``)."""
    held = set(held)
    return {scope for scope in required if scope in held or scope.partition("!")[0] in held}


@dataclass(frozen=True)
class Reply:
    """What the client reads of an answer of the Hub."""

    status: int
    body: bytes

    async def text(self) -> str:
        return self.body.decode("utf-8", "replace")


async def fetch(url: str, *, method: str, headers: dict[str, str], data: bytes | None = None, ssl: Any = None, **_: Any) -> Reply:
    """Ask the Hub. Raises what the connection does; every status is an answer."""
    request = HTTPRequest(
        url, method=method, headers=headers, body=data, ssl_options=ssl, follow_redirects=False, connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
    )  # fmt: skip
    answer = await AsyncHTTPClient().fetch(request, raise_error=False)
    return Reply(answer.code, answer.body)


class _Later(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


async def _fetch_later(url: str, **options: Any) -> Any:
    """``jupyterhub.httpclient.fetch``, for what the Hub's other modules use it for."""
    return await importlib.import_module("jupyterhub.httpclient").fetch(url, **options)


@contextmanager
def _standing_in(**attributes: dict[str, Any]) -> Iterator[None]:
    """Stand-ins (module → what it has) for modules that are not loaded yet, while the block runs."""
    names = [name for name in attributes if name not in sys.modules]
    for name in names:
        sys.modules[name] = _Later(name)
        vars(sys.modules[name]).update(attributes[name])
    try:
        yield
    finally:
        for name in names:
            stand_in = sys.modules.pop(name)
            above, _, last = name.rpartition(".")
            if above and getattr(sys.modules[above], last, None) is stand_in:
                delattr(sys.modules[above], last)


def _client() -> Any:
    """The module ``jupyterhub.services.auth``."""
    import jupyterhub  # noqa: F401  (the package that the stand-ins are parts of)

    others = {
        "jupyterhub.scopes": {"_intersect_expanded_scopes": granted},
        "jupyterhub.httpclient": {"fetch": _fetch_later},
        "aiohttp": {},
    }
    with _standing_in(**others):
        from jupyterhub.services import auth
    auth.fetch = fetch
    return auth


if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
else:
    _auth = _client()
    HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated = _auth.HubOAuth, _auth.HubOAuthCallbackHandler, _auth.HubOAuthenticated

__all__ = ["HubOAuth", "HubOAuthCallbackHandler", "HubOAuthenticated"]
