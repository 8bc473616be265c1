"""``user_options`` → workspace id. Anyone may POST any options for their own servers, and the Hub stores them before
anybody looks: so exactly one shape is accepted here and everything else is refused in a plain sentence."""

from __future__ import annotations

import re

from ark_extensions.domain.errors import Malformed

WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def workspace_id(user_options: object) -> str:
    """The id in ``{"workspace": "<id>"}``; raises Malformed for any other shape, without repeating what it was."""
    if not isinstance(user_options, dict) or set(user_options) != {"workspace"}:
        raise Malformed("A workspace is started from the console, with its id and nothing else. Start it there.", code="unknown_options")
    value = user_options["workspace"]
    if not isinstance(value, str) or not WORKSPACE_ID.fullmatch(value):
        raise Malformed("This is not the id of a workspace. Start the workspace from the console.", code="unknown_options")
    return value


def stored_workspace_id(user_options: object) -> str | None:
    """The id in options that the Hub has stored; None where they are of any other shape."""
    try:
        return workspace_id(user_options)
    except Malformed:
        return None
