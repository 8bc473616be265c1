"""The list of a person's workspaces: in which order they stand, which of them a search means, and where the next part begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ark_extensions.domain.workspaces import ACTIVE, State

#: what a reader may ask for → the states it means
GROUPS: dict[str, frozenset[State]] = {
    "active": ACTIVE,
    "stopped": frozenset({State.STOPPED}),
    "failed": frozenset({State.FAILED}),
    "released": frozenset({State.RELEASED}),
}
#: where a workspace stands: what holds compute, the rest, released ones; the newest first; then by id
Place = tuple[int, int, str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Placed(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True)
class Listed:
    """The little of a workspace that decides whether and where it stands in the list."""

    id: str
    name: str
    display_name: str
    state: State
    created_at: datetime
    offer_name: str
    image_name: str


@dataclass(frozen=True)
class Part:
    """``ids`` in their order; ``matching``: how many the search means in all; ``next``: the place of the last one shown, when more
    follow; ``counts``: how many there are in each of `GROUPS`, whatever the search."""

    ids: tuple[str, ...]
    matching: int
    next: Place | None
    counts: dict[str, int]


def place(workspace: Placed) -> Place:
    rank = 2 if workspace.state is State.RELEASED else 0 if workspace.state in ACTIVE else 1
    return rank, -((workspace.created_at - _EPOCH) // timedelta(microseconds=1)), workspace.id


def means(search: str, workspace: Listed) -> bool:
    """Whether every word of the search stands somewhere in its names, compute or image, in any case."""
    text = "\n".join((workspace.display_name, workspace.name, workspace.offer_name, workspace.image_name)).casefold()
    return all(word in text for word in search.casefold().split())


def part(listed: Sequence[Listed], *, search: str, group: str, after: Place | None, limit: int) -> Part:
    """One part of the list. ``group`` outside `GROUPS`: all states. A place, unlike a number of rows, stays right when rows move
    while somebody reads."""
    states = GROUPS.get(group)
    found = sorted((place(w), w.id) for w in listed if (states is None or w.state in states) and means(search, w))
    rest = [one for one in found if after is None or one[0] > after]
    shown = rest[:limit]
    return Part(
        ids=tuple(id for _, id in shown),
        matching=len(found),
        next=shown[-1][0] if len(rest) > limit else None,
        counts={name: sum(w.state in states for w in listed) for name, states in GROUPS.items()},
    )


def write_place(at: Place | None) -> str:
    return "" if at is None else f"{at[0]}.{at[1]}.{at[2]}"


def read_place(text: str) -> Place | None:
    """What `write_place` wrote; None, the list's beginning, for anything else."""
    rank, _, rest = text.partition(".")
    moment, _, id = rest.partition(".")
    digits = moment.removeprefix("-")
    if rank not in ("0", "1", "2") or not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        return None
    return int(rank), int(moment), id
