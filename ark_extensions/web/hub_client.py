"""JupyterHub's own client for services, without the Hub's database layer.

``jupyterhub.services.auth`` imports ``jupyterhub.scopes`` for one function, and with it the Hub's tables, the ORM and Alembic: 15 MiB
of each process that shows a page. The client calls it where a signed-in browser comes back from a second sign-in; a service asks for
one scope then, its own, for which ``granted`` gives the same answer. Whoever imports ``jupyterhub.scopes`` later gets the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

_SCOPES = "jupyterhub.scopes"


def granted(required: Iterable[str], held: Iterable[str], db: object = None) -> set[str]:
    """Those of the required scopes that are held: as they are written, or for everything (without the filter after ``!``)."""
    held = set(held)
    return {scope for scope in required if scope in held or scope.partition("!")[0] in held}


def _client() -> Any:
    """The module ``jupyterhub.services.auth``."""
    import jupyterhub

    borrowed = _SCOPES not in sys.modules
    if borrowed:
        stand_in = ModuleType(_SCOPES)
        stand_in._intersect_expanded_scopes = granted  # type: ignore[attr-defined]
        sys.modules[_SCOPES] = stand_in
    try:
        from jupyterhub.services import auth
    finally:
        if borrowed:
            del sys.modules[_SCOPES]
            if getattr(jupyterhub, "scopes", None) is not None:
                del jupyterhub.scopes
    return auth


if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
else:
    _auth = _client()
    HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated = _auth.HubOAuth, _auth.HubOAuthCallbackHandler, _auth.HubOAuthenticated

__all__ = ["HubOAuth", "HubOAuthCallbackHandler", "HubOAuthenticated"]
