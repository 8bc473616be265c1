"""JupyterHub's own client for services, without the Hub's database layer.

``jupyterhub.services.auth`` imports ``jupyterhub.scopes`` for one function, and with it the Hub's tables, the ORM and Alembic: 15 MiB
of each process that shows a page. Our services compare scopes themselves, so that function is never called: here it refuses, and the
module that it comes from stays unloaded. Whoever imports ``jupyterhub.scopes`` later gets the real one.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

_SCOPES = "jupyterhub.scopes"


def _refuse(*_: Any) -> Any:
    raise RuntimeError("Scopes are compared in web.tokens and by each service, not by JupyterHub's client.")


def _client() -> Any:
    """The module ``jupyterhub.services.auth``."""
    import jupyterhub

    borrowed = _SCOPES not in sys.modules
    if borrowed:
        stand_in = ModuleType(_SCOPES)
        stand_in._intersect_expanded_scopes = _refuse  # type: ignore[attr-defined]
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
