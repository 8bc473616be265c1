"""JupyterLab and VS Code opened one right after the other, or by a browser that restores its tabs: both sign in.

JupyterHub notes a sign-in that is under way in one cookie: the second tab overwrites the first one's, and both are refused,
"403: oauth state does not match". Here each sign-in has a cookie of its own, named after it.
"""

from __future__ import annotations

from typing import Any


def let_tabs_sign_in_at_once(oauth: Any) -> None:
    """``oauth``: the server's ``HubOAuth``."""
    given = oauth.set_state_cookie

    def name_of(state_id: str = "", /) -> str:
        return f"{oauth.state_cookie_name}-{state_id[:8]}"

    def set_state_cookie(handler: Any, next_url: str | None = None, **options: Any) -> Any:
        return given(_Tab(handler, name_of), next_url, **options)

    oauth.get_state_cookie_name = name_of
    oauth.set_state_cookie = set_state_cookie


class _Tab:
    """The request's handler, but for the name under which the cookie is kept."""

    def __init__(self, handler: Any, name_of: Any) -> None:
        self._handler, self._name_of = handler, name_of

    def get_cookie(self, name: str, default: str | None = None) -> str | None:
        return None  # another tab's does not concern this one

    def set_secure_cookie(self, name: str, state: str, **options: Any) -> None:
        self._handler.set_secure_cookie(self._name_of(state), state, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)
