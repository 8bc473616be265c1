"""What a link on another site does at the Hub: nothing that costs money or ends anything.

The Hub starts a server, and signs a user out, when an address is merely opened. A browser sends the user's cookie with a link that it
follows from anywhere. Here a start asks first, unless the Hub's own page or a workspace asked; a sign-out is refused to other sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.utils import url_escape_path, url_path_join

from hub_config.base import CONSOLE


def from_here(headers: Mapping[str, str]) -> bool:
    """Whether the browser says that a page of this origin asked: it says nothing where it has no secure connection."""
    return headers.get("Sec-Fetch-Site") == "same-origin"


def from_another_site(headers: Mapping[str, str]) -> bool:
    return headers.get("Sec-Fetch-Site") == "cross-site"


class StartsWhatIsAskedHere(SpawnHandler):  # type: ignore[misc]  # jupyterhub has no types
    """``/hub/spawn/USER/NAME``, opened: from elsewhere it leads to the page of the stopped workspace, which has the button."""

    def get(self, user_name: str | None = None, server_name: str = "") -> Any:
        tokens = self.request.query_arguments.pop("_xsrf", [])  # what stays in the query would be the server's options
        if from_here(self.request.headers) or (self.current_user and self.xsrf_token in tokens):
            return super().get(user_name, server_name)
        names = [url_escape_path(name) for name in (user_name, server_name) if name]
        self.redirect(url_path_join(self.hub.base_url, "user", *names) if names else CONSOLE)
        return None


def handlers() -> list[tuple[str, type[SpawnHandler]]]:
    return [(path, StartsWhatIsAskedHere) for path in ("/spawn", "/spawn/([^/]+)", "/spawn/([^/]+)/([^/]+)")]
