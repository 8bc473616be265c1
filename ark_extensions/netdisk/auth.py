"""Who calls: a program with a personal token (WebDAV's Basic, Bearer, token) or a browser session.

With Basic the user name must be the token's own user. Rights are re-checked at each request. Whose a token is: ``web/tokens.py``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from ark_extensions.domain.errors import Forbidden
from ark_extensions.hub import TokenOwner
from ark_extensions.web.tokens import TOKEN_MAX, Unauthenticated, is_account, require_person

PREFIX = "/services/netdisk"
SERVICE = "netdisk"
NETDISK_SCOPES = frozenset({"access:services", f"access:services!service={SERVICE}", "custom:ark:netdisk"})
_BEARER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Caller:
    """``account``: may act for the whole account (make tokens), not only on files."""

    user: str
    admin: bool
    account: bool
    token: str
    by_cookie: bool


def credentials(authorization: str) -> tuple[str | None, str]:
    """(user name if one was given, token) of an Authorization header; the token is "" when the header holds none."""
    match = _BEARER.fullmatch(authorization)
    if match:
        return None, match.group(1)[: TOKEN_MAX + 1]
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            name, colon, token = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, ""
        return (name, token) if colon else (None, "")
    return None, ""


def caller_of(owner: TokenOwner, token: str, *, name: str | None, by_cookie: bool) -> Caller:
    """Raises Unauthenticated or Forbidden for who has nothing to do here."""
    require_person(owner)
    if name is not None and name != owner.name:
        raise Unauthenticated("The user name and the token do not belong together.")
    account = is_account(owner)
    wanted = NETDISK_SCOPES | {f"custom:ark:netdisk!user={owner.name}"}
    if not account and wanted.isdisjoint(owner.scopes):
        raise Forbidden("This token has no access to the netdisk. Make one on the netdisk's page.", code="token_without_access")
    return Caller(owner.name, owner.admin, account, token, by_cookie)
