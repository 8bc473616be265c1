"""WebDAV's request headers, read strictly: a header that means nothing certain is refused, never guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ark_extensions.domain.errors import Forbidden, Malformed
from ark_extensions.domain.files import decode_url_path
from ark_extensions.netdisk.auth import PREFIX

DAV = f"{PREFIX}/dav"
LOCK_SECONDS_MAX = 3600
HEADER_MAX = 8192


class ElsewhereError(Forbidden):
    """A destination on another server (HTTP 502 by the RFC; it is the client's mistake)."""

    code = "elsewhere"


@dataclass(frozen=True)
class Condition:
    """``[etag]`` or ``<token>`` of an If header, maybe negated."""

    negated: bool
    kind: str
    value: str


@dataclass(frozen=True)
class ConditionList:
    """All of it must hold at ``resource`` (None: the request's own)."""

    resource: str | None
    conditions: tuple[Condition, ...]


def path_of(url_path: str) -> str:
    """The tree's path of an address under the WebDAV prefix."""
    if url_path == DAV:
        return ""
    if not url_path.startswith(DAV + "/"):
        raise Forbidden("This address is not of the netdisk.", code="elsewhere")
    return decode_url_path(url_path[len(DAV) + 1 :])


def path_of_url(url: str, hosts: frozenset[str]) -> str:
    """The tree's path of a Destination or a tagged resource: an absolute path, or a URL of this very host."""
    if len(url) > HEADER_MAX or any(c in url for c in "\\\r\n\t #?"):
        raise Malformed("The address in the request cannot be read.")
    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError as error:
        raise Malformed("The address in the request cannot be read.") from error
    if parts.scheme:
        if parts.scheme not in ("http", "https") or host.lower() not in hosts:
            raise ElsewhereError("The destination is on another server.")
    elif host or not url.startswith("/"):
        raise Malformed("The address in the request cannot be read.")
    return path_of(parts.path)


def parse_depth(text: str | None, allowed: tuple[str, ...], default: str) -> str:
    if text is None:
        return default
    if text.strip().lower() not in allowed:
        raise Malformed("The Depth header cannot be this here.")
    return text.strip().lower()


def parse_overwrite(text: str | None) -> bool:
    if text is None or text.strip().upper() == "T":
        return True
    if text.strip().upper() == "F":
        return False
    raise Malformed("The Overwrite header is T or F.")


def parse_timeout(text: str | None) -> int:
    """Seconds that a lock lives: the first that the client names, at most an hour."""
    for part in (text or "").split(","):
        match = re.fullmatch(r"second-(\d{1,12})", part.strip(), re.IGNORECASE)
        if match:
            return max(1, min(int(match.group(1)), LOCK_SECONDS_MAX))
    return LOCK_SECONDS_MAX


_IF_TOKEN = re.compile(r"\s*(?:(?P<tag><[^<>]*>)|(?P<open>\()|(?P<close>\))|(?P<not>Not\b)|(?P<etag>\[(?:W/)?\"[^\"]*\"\]))", re.IGNORECASE)


def parse_if(text: str | None, hosts: frozenset[str]) -> tuple[ConditionList, ...]:
    """The lists of an If header; raises Malformed for anything else than the RFC's grammar."""
    if text is None:
        return ()
    if len(text) > HEADER_MAX:
        raise Malformed("The If header is too long.")
    lists: list[ConditionList] = []
    resource: str | None = None
    inside: list[Condition] | None = None
    negated = tagged = untagged = False
    at = 0
    while text[at:].strip():
        match = _IF_TOKEN.match(text, at)
        if match is None:
            raise Malformed("The If header cannot be read.")
        at = match.end()
        kind, value = match.lastgroup, match.group(match.lastgroup or 0)
        if inside is None and kind == "tag" and (tagged or not lists):
            resource, tagged = path_of_url(value[1:-1], hosts), True
        elif inside is None and kind == "open":
            inside, untagged = [], untagged or not tagged
        elif inside is not None and kind == "not" and not negated:
            negated = True
        elif inside is not None and kind in ("tag", "etag"):
            inside.append(Condition(negated, "token" if kind == "tag" else "etag", value[1:-1]))
            negated = False
        elif inside and kind == "close" and not negated:
            lists.append(ConditionList(resource, tuple(inside)))
            inside = None
        else:
            raise Malformed("The If header cannot be read.")
    if inside is not None or not lists:
        raise Malformed("The If header cannot be read.")
    return tuple(lists)


def submitted_tokens(lists: tuple[ConditionList, ...]) -> frozenset[str]:
    return frozenset(c.value for one in lists for c in one.conditions if c.kind == "token")


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, byte after the last) of a single range; None: the whole file. Raises ValueError when it cannot be met."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (text or "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end or begin >= size:
        raise ValueError(text)
    return begin, end


def etag_matches(header: str, etag: str | None) -> bool:
    """Whether an If-Match or If-None-Match list names this etag (None: nothing is there)."""
    if header.strip() == "*":
        return etag is not None
    return etag is not None and etag in [part.strip().removeprefix("W/") for part in header.split(",")]
