"""Folders as pages: 100,000 files stay usable, because only what a page shows is looked at.

By name, a folder is read once (names and kinds come together) and only the page's entries are looked up; by size or time
every entry is. Search walks the tree for a bounded time and says when it stopped early.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ark_extensions.domain.errors import Malformed
from ark_extensions.domain.files import join
from ark_extensions.netdisk import kernel
from ark_extensions.netdisk.refusals import refusing
from ark_extensions.netdisk.tree import Entry, Tree, entry_of
from ark_extensions.netdisk.walking import walk

PAGE_MAX = 1000
SEARCH_MAX = 500
SEARCH_SECONDS = 5.0
SORTS = ("name", "size", "modified")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True)
class Page:
    """``total``: entries in the whole folder. ``next``: the cursor of the next page."""

    entries: list[Entry]
    total: int
    next: str | None


@dataclass(frozen=True)
class Found:
    """``complete`` False: there may be more than was looked at."""

    entries: list[tuple[str, Entry]]
    complete: bool


def list_folder(
    tree: Tree, path: str, *, sort: str = "name", descending: bool = False, cursor: str | None = None, limit: int = 200
) -> Page:
    """Folders first, then by ``sort``; ties by name. The cursor is the last entry's place, so that pages stay right while
    files come and go."""
    limit = max(1, min(limit, PAGE_MAX))
    after = _read_cursor(cursor)
    with tree.opened(path, _FOLDER) as fd:
        with refusing(path), os.scandir(fd) as found:
            if sort == "name":
                places = [((not e.is_dir(follow_symlinks=False), e.name.casefold(), e.name), e.name) for e in found]
            else:
                places = [(_place(entry, sort), entry.name) for e in found if (entry := _looked(fd, e.name)) is not None]
        total = len(places)
        if descending:
            places = [p for p in places if after is None or _order(p[0], True) > _order(after, True)]
            chosen = heapq.nsmallest(limit + 1, places, key=lambda p: _order(p[0], True))
        else:
            places = [p for p in places if after is None or p[0] > after]
            chosen = heapq.nsmallest(limit + 1, places)
        entries = [entry for _place_, name in chosen[:limit] if (entry := _looked(fd, name)) is not None]
    following = _write_cursor(chosen[limit - 1][0]) if len(chosen) > limit else None
    return Page(entries, total, following)


def entries_of(tree: Tree, path: str, *, batch: int = 500) -> Iterator[list[Entry]]:
    """Everything in a folder, in no order, a batch at a time."""
    with tree.opened(path, _FOLDER) as fd:
        with refusing(path):
            names = os.listdir(fd)
        for start in range(0, len(names), batch):
            yield [entry for name in names[start : start + batch] if (entry := _looked(fd, name)) is not None]


def search(tree: Tree, path: str, text: str, *, seconds: float = SEARCH_SECONDS, limit: int = SEARCH_MAX) -> Found:
    """Names that contain ``text``, whatever the case, at or below ``path``."""
    wanted, until = text.casefold(), time.monotonic() + seconds
    found: list[tuple[str, Entry]] = []
    with tree.opened(path, _FOLDER) as top:
        for folder, entries in walk(top):
            for entry in entries:
                if wanted in entry.name.casefold() and (looked := _looked(folder.fd, entry.name)) is not None:
                    found.append((join(path, join(folder.path, entry.name)), looked))
                    if len(found) >= limit:
                        return Found(found, False)
            if time.monotonic() > until:
                return Found(found, False)
    return Found(found, True)


def _looked(folder: int, name: str) -> Entry | None:
    """What a name in an open folder is; a link is what it leads to if that is inside the folder, else a link."""
    try:
        entry = entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        return replace(entry, link=True) if entry.kind == "link" else entry
    except OSError:
        return None


def resolve_links(tree: Tree, path: str, entries: list[Entry]) -> list[Entry]:
    """Links that stay in the tree shown as what they lead to."""
    resolved = []
    for entry in entries:
        if entry.kind == "link":
            try:
                fd = kernel.open_beneath(tree.data_fd, join(path, entry.name), os.O_PATH)
            except OSError:
                resolved.append(entry)
                continue
            try:
                entry = entry_of(entry.name, os.fstat(fd), link=True)
            finally:
                os.close(fd)
        resolved.append(entry)
    return resolved


def _place(entry: Entry, sort: str) -> tuple[Any, ...]:
    value = entry.size if sort == "size" else entry.modified.timestamp()
    return (not entry.is_folder, value, entry.name.casefold(), entry.name)


class _Backwards:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Backwards) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and self.value == other.value


def _order(place: tuple[Any, ...], descending: bool) -> tuple[Any, ...]:
    """Folders stay first also when the rest is turned round."""
    return (place[0], _Backwards(place[1:])) if descending else place


def _write_cursor(place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read_cursor(text: str | None) -> tuple[Any, ...] | None:
    if not text:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(text.encode()))
        first, *rest = place
    except (ValueError, binascii.Error, TypeError):
        raise Malformed("This is not a cursor of a list.") from None
    kinds = [type(value) for value in rest]
    if not isinstance(first, bool) or kinds not in ([str, str], [int, str, str], [float, str, str]):
        raise Malformed("This is not a cursor of a list.")
    return (first, *rest)
