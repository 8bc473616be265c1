"""The list of workspaces: its order, its search, its parts, and what it asks of the database however long it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from ark_extensions.domain.listing import Listed, Place, part, read_place, write_place
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage, tables
from ark_extensions.usecases.workspace_list import has_workspaces, list_part, stops_soon
from bench.list_page import count_queries
from bench.population import NOON, Crowd, fresh_storage, populate

OWNER = "user00000"


def listed(name: str, state: State = State.RUNNING, minute: int = 0, title: str = "") -> Listed:
    at = datetime(2026, 11, 23, 12, minute, tzinfo=UTC)
    return Listed(name, name, title or name, state, at, "A10 × 1", "PyTorch 2.9")


def names(workspaces: list[Listed], *, search: str = "", group: str = "", after: Place | None = None, limit: int = 50) -> list[str]:
    return list(part(workspaces, search=search, group=group, after=after, limit=limit).ids)


def test_what_holds_compute_stands_first_the_newest_before_and_released_last() -> None:
    mixed = [
        listed("r", State.RELEASED, 9), listed("a", State.RUNNING, 1), listed("s", State.STOPPED, 2), listed("b", State.STARTING, 3),
        listed("f", State.FAILED, 4),
    ]  # fmt: skip
    assert names(mixed) == ["b", "a", "f", "s", "r"]


@pytest.mark.parametrize(
    ("search", "found"),
    [("", ["x", "y"]), ("花卉", ["x"]), ("FLOWER", ["y"]), ("pytorch flower", ["y"]), ("a10", ["x", "y"]), ("flower 花卉", []), ("%", [])],
)
def test_a_search_finds_every_word_in_any_case_and_script(search: str, found: list[str]) -> None:
    assert names([listed("x", title="花卉分类", minute=2), listed("y", title="Flower photos", minute=1)], search=search) == found


def test_states_are_chosen_by_group_and_counted_whatever_the_search() -> None:
    mixed = [listed("a"), listed("b", State.CREATING), listed("s", State.STOPPED), listed("r", State.RELEASED)]
    found = part(mixed, search="s", group="stopped", after=None, limit=50)
    assert (found.ids, found.counts) == (("s",), {"active": 2, "stopped": 1, "failed": 0, "released": 1})


def test_parts_together_are_the_whole_also_when_rows_move_in_between() -> None:
    crowd = [listed(f"w{n:02d}", minute=n) for n in range(12)]
    first = part(crowd, search="", group="", after=None, limit=5)
    stopped = [listed(w.name, State.STOPPED, w.created_at.minute) if w.name in ("w10", "w03") else w for w in crowd]
    rest = names(stopped, after=first.next, limit=50)
    assert set(first.ids) | set(rest) == {w.name for w in crowd}, "w10 left the first part and took nobody's place"
    assert part(crowd, search="", group="", after=first.next, limit=7).next is None, "no button that shows nothing"


@pytest.mark.parametrize("text", ["", "x", "3.1.a", "0..a", "0.1e5.a", "0.-.a", "0.99999999999999999999.a", "0.١.a", "<script>"])
def test_an_invented_place_is_the_beginning(text: str) -> None:
    assert read_place(text) is None


def test_a_place_comes_back_as_it_was() -> None:
    assert read_place(write_place((1, -1764000000000000, "ab.c"))) == (1, -1764000000000000, "ab.c")


@pytest.fixture(scope="module")
def crowd() -> Iterator[Storage]:
    with fresh_storage() as storage:
        populate(storage, Crowd(owners=2, each=120), now=NOON)
        yield storage


def test_the_list_asks_as_often_for_many_as_for_few_and_never_shows_anothers(crowd: Storage) -> None:
    queries = count_queries(crowd)
    few = list_part(crowd, owner=OWNER, now=NOON, search="ws-11", limit=5)
    asked = queries()
    many = list_part(crowd, owner=OWNER, now=NOON, limit=100)
    assert queries() == asked
    assert (few.part.matching, len(few.items), len(many.items), many.total) == (11, 5, 100, 120)
    assert {w.owner for w in many.items} == {OWNER}
    last = list_part(crowd, owner=OWNER, now=NOON, after=many.part.next, limit=100)
    assert len({w.name for w in (*many.items, *last.items)}) == 120 and last.part.next is None
    assert [w.cost_this_run_micros for w in few.items] == [1_000_000] * 5, "the same figures as everywhere"


def test_a_stop_is_soon_within_the_span_and_only_of_what_runs(crowd: Storage) -> None:
    w = tables.workspaces
    with crowd.write() as connection:
        for name, minutes, state in (("ws-1", 14, "running"), ("ws-2", 16, "running"), ("ws-3", 5, "stopped"), ("ws-4", -1, "running")):
            at = NOON + timedelta(minutes=minutes)
            connection.execute(update(w).where(w.c.owner == OWNER, w.c.name == name).values(auto_stop_at=at, state=state))
    assert stops_soon(crowd, owner=OWNER, now=NOON, within=timedelta(minutes=15)) == [("ws-1", NOON + timedelta(minutes=14))]


def test_who_has_no_workspace_has_none(crowd: Storage) -> None:
    assert has_workspaces(crowd, owner=OWNER) and not has_workspaces(crowd, owner="nobody")
