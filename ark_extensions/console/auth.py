"""Who calls: a browser session (the Hub's OAuth cookie) or a Hub token, and what the caller may do.

A caller is a user's whole account (scope ``custom:ark:account``) or one workspace of theirs; a service is neither. Whose a token is:
``web/tokens.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ark_extensions.domain.errors import Forbidden
from ark_extensions.hub import TokenOwner
from ark_extensions.web.tokens import TOKEN_MAX, is_account, require_person

PREFIX = "/services/console/"
SERVICE = "console"
ACCESS_SCOPES = frozenset({"access:services", f"access:services!service={SERVICE}"})
_HEADER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Principal:
    """The caller. ``account``: acts as the user's whole account; else ``workspace`` names the one workspace whose own
    token this is. ``by_cookie``: a browser session, whose requests need the XSRF token."""

    user: str
    admin: bool
    account: bool
    workspace: str | None
    token: str = field(repr=False)
    scopes: frozenset[str] = field(repr=False)
    by_cookie: bool

    def may_act_on_servers(self, act: str, name: str | None = None) -> bool:
        """Whether the token itself may do ``act`` (``start`` or ``delete``) on the user's servers at the Hub."""
        wanted = {f"{act}:servers", f"{act}:servers!user={self.user}"}
        if name is not None:
            wanted.add(f"{act}:servers!server={self.user}/{name}")
        return not wanted.isdisjoint(self.scopes)


#: who calls an open address: nobody that is known, with no rights
NOBODY = Principal(user="", admin=False, account=False, workspace=None, token="", scopes=frozenset(), by_cookie=False)


def principal_of(owner: TokenOwner, token: str, *, by_cookie: bool) -> Principal:
    """What a token's owner and scopes amount to; raises Forbidden for callers that have nothing to do here."""
    require_person(owner)
    if ACCESS_SCOPES.isdisjoint(owner.scopes):
        raise Forbidden("This token has no access to the console. Make one that has.", code="token_without_access")
    account = is_account(owner)
    workspace = None if account else _own_workspace(owner)
    if not account and workspace is None:
        raise Forbidden("This token acts neither for an account nor for a workspace. Make one that does.", code="token_without_account")
    return Principal(owner.name, owner.admin and account, account, workspace, token, owner.scopes, by_cookie)


def _own_workspace(owner: TokenOwner) -> str | None:
    """The server name of a workspace's own token: exactly one ``access:servers!server=USER/NAME``."""
    begin = f"access:servers!server={owner.name}/"
    names = {scope.removeprefix(begin) for scope in owner.scopes if scope.startswith(begin)}
    return next(iter(names)) if len(names) == 1 and names != {""} else None


def header_token(authorization: str) -> str | None:
    """The token of an ``Authorization: token …`` or ``bearer …`` header; "" for a header that holds none of these."""
    if not authorization:
        return None
    match = _HEADER.fullmatch(authorization)
    return match.group(1) if match and len(match.group(1)) <= TOKEN_MAX else ""
