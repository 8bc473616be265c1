"""The Hub's sign-in for a page of a service, made so that several tabs may come at once.

JupyterHub notes a sign-in that is under way in one cookie: when a browser opens two tabs (as it does when it restores a session),
the second overwrites the first one's and both are refused, "403: oauth state does not match". Here each sign-in has a cookie of
its own, named after it. A workspace's server does the same for itself, in ``workspace/lib/ark_workspace/tabs.py``.
"""

from __future__ import annotations

from typing import Any

from ark_extensions.settings import Settings
from ark_extensions.web.hub_client import HubOAuth
from ark_extensions.web.tokens import CACHE_SECONDS


class TabsOAuth(HubOAuth):  # type: ignore[misc]
    def set_state_cookie(self, handler: Any, next_url: str | None = None, **options: Any) -> str:
        return str(super().set_state_cookie(_Tab(handler, self), next_url, **options))

    def get_state_cookie_name(self, state_id: str = "", /) -> str:
        return f"{self.state_cookie_name}-{state_id[:8]}"


class _Tab:
    """The request's handler, but for the name under which the cookie is kept."""

    def __init__(self, handler: Any, oauth: HubOAuth) -> None:
        self._handler, self._oauth = handler, oauth

    def get_cookie(self, name: str, default: str | None = None) -> str | None:
        return None  # another tab's does not concern this one

    def set_secure_cookie(self, name: str, state: str, **options: Any) -> None:
        self._handler.set_secure_cookie(self._oauth.get_state_cookie_name(state), state, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


def service_oauth(settings: Settings, service: str) -> HubOAuth:
    """JupyterHub's own OAuth client of one of our services, from settings instead of the environment of a Hub-managed service."""
    base = f"/services/{service}/"
    values: dict[str, Any] = {
        "api_url": settings.hub_api_url,
        "api_token": settings.secret(f"{service}_token"),
        "base_url": base,
        "hub_prefix": "/hub/",
        "hub_host": "",
        "oauth_client_id": f"service-{service}",
        "oauth_redirect_uri": f"{base}oauth_callback",
        "access_scopes": {f"access:services!service={service}"},
        "cache_max_age": int(CACHE_SECONDS),
        "cookie_options": {"samesite": "Lax"},
    }
    return TabsOAuth(**values)
