"""The rules on their own: money, metering, names, moves, stock, deadlines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain import autostop, workspaces
from ark_extensions.domain.autostop import Deadline, StopReason
from ark_extensions.domain.errors import Conflict, InvalidField, translate
from ark_extensions.domain.metering import cost_micros, disk_cost_micros, runway
from ark_extensions.domain.money import format_amount, parse_amount, round_quotient
from ark_extensions.domain.offers import Claim, Node, PriceVersion, Quantities, available, place, price_at
from ark_extensions.domain.workspaces import MOVES, State, move

T0 = datetime(2026, 11, 1, tzinfo=UTC)


@given(st.integers(-(10**15), 10**15))
def test_amounts_survive_being_written_and_read(micros: int) -> None:
    assert parse_amount(format_amount(micros)) == micros


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1e3", "1E3", "0.0000001", "1" * 30, "1,000", "--1"])
def test_absurd_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_amount(text)


def test_halves_go_to_the_customer() -> None:
    assert [round_quotient(n, 10) for n in (4, 5, 6, 14, 15, 16)] == [0, 0, 1, 1, 1, 2]
    with pytest.raises(ValueError):
        round_quotient(-1, 1)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**7), max_size=8))
def test_settling_in_parts_costs_what_the_whole_costs(price: int, cuts: list[int]) -> None:
    posted = 0
    for seconds in sorted(cuts):
        posted += max(cost_micros(price, T0, T0 + timedelta(seconds=seconds)) - posted, 0)
    assert posted == cost_micros(price, T0, T0 + timedelta(seconds=max(cuts, default=0)))


def test_a_clock_that_goes_back_costs_nothing() -> None:
    assert cost_micros(3600, T0, T0 - timedelta(hours=1)) == 0
    assert disk_cost_micros(86_400, T0, T0 + timedelta(seconds=90, milliseconds=999)) == 90


def test_a_second_that_has_not_passed_costs_nothing() -> None:
    assert cost_micros(3600, T0, T0 + timedelta(milliseconds=999)) == 0
    assert cost_micros(3600, T0, T0 + timedelta(seconds=90, milliseconds=999)) == 90


def test_runway_is_none_without_burn_and_never_negative() -> None:
    assert runway(100, 0) is None
    assert runway(-5, 10) == timedelta(0)
    assert runway(1000, 100) == timedelta(hours=10)


@pytest.mark.parametrize("name", ["a", "ws1", "my-net-2", "a" * 30])
def test_names_the_hub_takes(name: str) -> None:
    assert workspaces.check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "1a", "a--b", "-a", "a-", "a_b", "a.b", "a/b", "工作", "a" * 31, "a b", "a\n", "a\x00"])
def test_names_the_hub_refuses(name: str) -> None:
    with pytest.raises(InvalidField):
        workspaces.check_name(name)


def test_display_names_in_any_script() -> None:
    assert workspaces.check_display_name("  训练 <b>1</b> ") == "训练 <b>1</b>"
    for bad in ("", "   ", "a\x00b", "a\nb", "x" * 61):
        with pytest.raises(InvalidField):
            workspaces.check_display_name(bad)


def test_every_state_has_moves_and_a_refused_move_says_why() -> None:
    assert set(MOVES) == set(State)
    for state in State:
        for to in State:
            if to in MOVES[state]:
                assert move(state, to) is to
            else:
                with pytest.raises(Conflict) as refused:
                    move(state, to)
                assert refused.value.code == f"workspace_{state}"
    assert State.RELEASED not in MOVES[State.RUNNING]


def test_an_error_is_translated_with_its_fields() -> None:
    error = InvalidField("Choose at most {max} of them.", field="datasets", max=3)
    assert translate(error, lambda text: {"Choose at most {max} of them.": "最多选 {max} 个。"}[text]) == "最多选 3 个。"


NODE = Node("n", 8, 16_384, (("0", "A10"), ("1", "A10"), ("2", "H200")))
A10 = Quantities(2, 4096, 20, "A10", 1)


def test_stock_counts_what_cpu_and_gpu_offers_share() -> None:
    assert available([NODE], [], A10) == (2, 2)
    assert available([NODE], [Claim("w", "n", 7, 1024)], A10) == (0, 2)
    assert available([NODE], [Claim("w", "n", 2, 4096, ("1",))], A10) == (1, 2)
    assert available([NODE], [Claim("w", "gone", 8, 16_384, ("0",))], A10) == (2, 2)


def test_placing_takes_the_fullest_node_and_free_devices() -> None:
    other = Node("m", 8, 16_384, (("0", "A10"),))
    claim = place([NODE, other], [], A10, "w")
    assert claim == Claim("w", "m", 2, 4096, ("0",))
    assert place([NODE, other], [claim], A10, "x") == Claim("x", "n", 2, 4096, ("0",))
    assert place([NODE], [], Quantities(9, 1, 1), "w") is None


@given(st.lists(st.booleans(), max_size=40))
def test_a_device_is_never_given_twice(tries: list[bool]) -> None:
    claims: list[Claim] = []
    for n, gpu in enumerate(tries):
        claim = place([NODE], claims, A10 if gpu else Quantities(1, 512, 1), f"w{n}")
        if claim is not None:
            claims.append(claim)
    devices = [d for c in claims for d in c.gpu_devices]
    assert len(devices) == len(set(devices))
    assert sum(c.vcpu for c in claims) <= NODE.vcpu and sum(c.memory_mib for c in claims) <= NODE.memory_mib


def test_the_price_in_force_is_the_newest_that_has_begun() -> None:
    versions = [PriceVersion(str(n), "offer:a", "hour", n, T0 + timedelta(days=n)) for n in range(3)]
    assert price_at(versions, T0 - timedelta(seconds=1)) is None
    assert price_at(versions, T0 + timedelta(days=1, hours=2)) == versions[1]


def deadline(**more: object) -> Deadline:
    return Deadline(
        **{"workspace_id": "w", "opened_at": T0, "auto_stop_at": None, "idle_stop_minutes": None, "last_active_at": None} | more
    )


def test_the_earlier_of_two_stops_decides() -> None:
    both = deadline(auto_stop_at=T0 + timedelta(hours=2), idle_stop_minutes=60)
    assert autostop.stop_at(both) == (T0 + timedelta(hours=1), StopReason.IDLE)
    active = deadline(auto_stop_at=T0 + timedelta(hours=2), idle_stop_minutes=60, last_active_at=T0 + timedelta(hours=1, minutes=30))
    assert autostop.decide(active, T0 + timedelta(hours=2)).stop is StopReason.DEADLINE
    assert autostop.decide(deadline(), T0 + timedelta(days=99)) == autostop.Decision()


def test_a_warning_is_given_once_for_each_moment_and_again_when_extended() -> None:
    first = deadline(auto_stop_at=T0 + timedelta(minutes=10))
    warned = autostop.decide(first, T0)
    assert warned.warn is not None and warned.minutes_left == 10
    again = deadline(auto_stop_at=T0 + timedelta(minutes=10), warned=frozenset({warned.warn}))
    assert autostop.decide(again, T0) == autostop.Decision()
    narrow = autostop.decide(again, T0 + timedelta(minutes=6))
    assert narrow.warn is not None and narrow.minutes_left == 4
    extended = deadline(auto_stop_at=T0 + timedelta(minutes=70), warned=frozenset({warned.warn, narrow.warn}))
    assert autostop.decide(extended, T0 + timedelta(minutes=58)).warn is not None
