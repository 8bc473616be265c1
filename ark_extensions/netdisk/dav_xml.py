"""WebDAV's XML: bodies read without entities or external anything, answers written in pieces.

A property is named ``{namespace}name``, as ElementTree does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ark_extensions.domain.errors import Malformed
from ark_extensions.domain.files import encode_url_path, shown
from ark_extensions.netdisk.conditions import DAV
from ark_extensions.netdisk.tree import Entry
from ark_extensions.usecases.netdisk_dav import Lock

BODY_MAX = 256 * 1024
PROPERTIES_ASKED_MAX = 200
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
LIVE = (
    "{DAV:}resourcetype", "{DAV:}displayname", "{DAV:}getcontentlength", "{DAV:}getlastmodified", "{DAV:}creationdate", "{DAV:}getetag",
    "{DAV:}getcontenttype", "{DAV:}supportedlock", "{DAV:}lockdiscovery",
)  # fmt: skip
#: asked for by name only
QUOTA = ("{DAV:}quota-used-bytes", "{DAV:}quota-available-bytes")
SUPPORTED_LOCK = (
    "<D:supportedlock><D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    "<D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry></D:supportedlock>"
)


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise Malformed("The request's XML may not have a document type.")


def parse(body: bytes) -> ElementTree.Element | None:
    """The root of a body; None for an empty one. Raises Malformed."""
    if not body.strip():
        return None
    if len(body) > BODY_MAX:
        raise Malformed("The request's XML is too long.")
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(target=_NoDoctype()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise Malformed("The request's XML cannot be read.") from error


def parse_propfind(body: bytes) -> tuple[str, list[str]]:
    """(``allprop`` | ``propname`` | ``prop``, names)."""
    root = parse(body)
    if root is None:
        return "allprop", []
    if root.tag != "{DAV:}propfind":
        raise Malformed("The request's XML is not a PROPFIND.")
    for child in root:
        if child.tag == "{DAV:}prop":
            return "prop", [item.tag for item in child][:PROPERTIES_ASKED_MAX]
        if child.tag in ("{DAV:}allprop", "{DAV:}propname"):
            return child.tag[6:], []
    raise Malformed("The request's XML is not a PROPFIND.")


@lru_cache(maxsize=64)  # a program asks each file the same
def parse_question(body: bytes) -> tuple[str, tuple[str, ...]]:
    """As `parse_propfind`, remembered: for short bodies."""
    kind, names = parse_propfind(body)
    return kind, tuple(names)


def parse_proppatch(body: bytes) -> dict[str, str | None]:
    """Name → XML of the property to set, or None to remove it; in order, the last word of each counts."""
    root = parse(body)
    if root is None or root.tag != "{DAV:}propertyupdate":
        raise Malformed("The request's XML is not a PROPPATCH.")
    changes: dict[str, str | None] = {}
    for update in root:
        if update.tag not in ("{DAV:}set", "{DAV:}remove"):
            continue
        for prop in update.findall("{DAV:}prop"):
            for item in prop:
                item.tail = None
                value = ElementTree.tostring(item, encoding="unicode") if update.tag == "{DAV:}set" else None
                if len(item.tag) > 500 or len(value or "") > 16_384:
                    raise Malformed("A property is too long.")
                changes.pop(item.tag, None)
                changes[item.tag] = value
    if len(changes) > PROPERTIES_ASKED_MAX:
        raise Malformed("These are too many properties at once.")
    return changes


def parse_lockinfo(body: bytes) -> tuple[bool, str] | None:
    """(exclusive, the owner's own words as XML); None for an empty body (a refresh)."""
    root = parse(body)
    if root is None:
        return None
    scope = root.find("{DAV:}lockscope")
    write = root.find("{DAV:}locktype/{DAV:}write")
    if root.tag != "{DAV:}lockinfo" or scope is None or write is None or len(scope) != 1:
        raise Malformed("The request's XML is not a LOCK.")
    owner = root.find("{DAV:}owner")
    note = ""
    if owner is not None:
        owner.tail = None
        note = ElementTree.tostring(owner, encoding="unicode")
    if scope[0].tag not in ("{DAV:}exclusive", "{DAV:}shared") or len(note) > 4096:
        raise Malformed("The request's XML is not a LOCK.")
    return scope[0].tag == "{DAV:}exclusive", note


def href(path: str, *, folder: bool) -> str:
    address = f"{DAV}/{encode_url_path(path)}"
    return escape(address + "/" if folder and path else address)


def text(value: str) -> str:
    """Text that XML 1.0 can hold: control characters become �."""
    if value.isprintable():
        return escape(value)
    return escape(
        "".join(c if c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF else "�" for c in value)
    )


def active_lock(lock: Lock, seconds: int) -> str:
    return (
        "<D:activelock>"
        f"<D:locktype><D:write/></D:locktype><D:lockscope><D:{'exclusive' if lock.exclusive else 'shared'}/></D:lockscope>"
        f"<D:depth>{'infinity' if lock.whole_tree else '0'}</D:depth>{lock.note}"
        f"<D:timeout>Second-{seconds}</D:timeout><D:locktoken><D:href>{escape(lock.token)}</D:href></D:locktoken>"
        f"<D:lockroot><D:href>{href(lock.path, folder=False)}</D:href></D:lockroot></D:activelock>"
    )


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(at: datetime) -> str:
    """A moment in UTC as HTTP says it (`email.utils.format_datetime` takes five times as long)."""
    day = f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month]} {at.year:04d}"
    return f"{day} {at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT"


Live = Callable[[Entry, str, tuple[int, int]], str]
_OF_ALL: dict[str, Live] = {
    "{DAV:}resourcetype": lambda e, *_: "<D:resourcetype><D:collection/></D:resourcetype>" if e.is_folder else "<D:resourcetype/>",
    "{DAV:}displayname": lambda e, *_: f"<D:displayname>{text(shown(e.name))}</D:displayname>",
    "{DAV:}getlastmodified": lambda e, *_: f"<D:getlastmodified>{http_date(e.modified)}</D:getlastmodified>",
    "{DAV:}creationdate": lambda e, *_: f"<D:creationdate>{e.modified:%Y-%m-%dT%H:%M:%SZ}</D:creationdate>",
    "{DAV:}getetag": lambda e, *_: f"<D:getetag>{escape(e.etag)}</D:getetag>",
    "{DAV:}supportedlock": lambda *_: SUPPORTED_LOCK,
    "{DAV:}lockdiscovery": lambda e, locks, quota: f"<D:lockdiscovery>{locks}</D:lockdiscovery>",
}
_OF_FILES: dict[str, Live] = {
    **_OF_ALL,
    "{DAV:}getcontentlength": lambda e, *_: f"<D:getcontentlength>{e.size}</D:getcontentlength>",
    "{DAV:}getcontenttype": lambda *_: "<D:getcontenttype>application/octet-stream</D:getcontenttype>",
}
_OF_FOLDERS: dict[str, Live] = {
    **_OF_ALL,
    "{DAV:}quota-used-bytes": lambda e, locks, quota: f"<D:quota-used-bytes>{quota[0]}</D:quota-used-bytes>",
    "{DAV:}quota-available-bytes": lambda e, locks, quota: f"<D:quota-available-bytes>{quota[1]}</D:quota-available-bytes>",
}


def live(name: str, entry: Entry, locks: str, quota: tuple[int, int]) -> str | None:
    """A live property of ``entry`` as XML; None when it has none of this name."""
    make = (_OF_FOLDERS if entry.is_folder else _OF_FILES).get(name)
    return make(entry, locks, quota) if make else None


@lru_cache(maxsize=64)
def _plan(names: tuple[str, ...], is_folder: bool) -> tuple[list[Live], str]:
    """(what makes each property that there is, the names of the others)."""
    have = _OF_FOLDERS if is_folder else _OF_FILES
    return [have[name] for name in names if name in have], "".join(empty(name) for name in names if name not in have)


def empty(name: str) -> str:
    """A property's name alone."""
    namespace, _, local = name[1:].rpartition("}") if name.startswith("{") else ("", "", name)
    if namespace == "DAV:":
        return f"<D:{local}/>"
    return f'<X:{local} xmlns:X="{escape(namespace, {chr(34): "&quot;"})}"/>' if namespace else f'<{local} xmlns=""/>'


def propstat(content: str, status: str) -> str:
    return f"<D:propstat><D:prop>{content}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>"


def found(asked: tuple[str, Sequence[str]], path: str, entry: Entry, dead: Mapping[str, str], locks: str, quota: tuple[int, int]) -> str:
    """One ``response`` of a PROPFIND."""
    kind, names = asked
    if kind == "prop" and not dead:
        makers, missing_names = _plan(tuple(names), entry.is_folder)
        body = propstat("".join([make(entry, locks, quota) for make in makers]), "200 OK") if makers or not missing_names else ""
        body += propstat(missing_names, "404 Not Found") if missing_names else ""
    elif kind == "propname":
        have = [empty(name) for name in LIVE if live(name, entry, "", quota) is not None] + [empty(name) for name in dead]
        body = propstat("".join(have), "200 OK")
    else:
        wanted = names if kind == "prop" else [*LIVE, *dead]
        good, missing = [], []
        for name in wanted:
            value = dead.get(name) or live(name, entry, locks, quota)
            if value is not None:
                good.append(value)
            elif kind == "prop":
                missing.append(empty(name))
        body = propstat("".join(good), "200 OK") if good or not missing else ""
        body += propstat("".join(missing), "404 Not Found") if missing else ""
    return f"<D:response><D:href>{href(path, folder=entry.is_folder)}</D:href>{body}</D:response>\n"
