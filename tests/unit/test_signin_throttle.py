"""Guesses at passwords are slowed down for each name and address; others sign in meanwhile."""

from __future__ import annotations

from hub_config.authentication import Throttle


def test_a_few_mistakes_cost_nothing() -> None:
    throttle = Throttle(patience=5)
    for _ in range(4):
        throttle.failed("alice", "1.1.1.1", 100.0)
    assert throttle.wait_seconds("alice", "1.1.1.1", 100.0) == 0


def test_then_each_mistake_doubles_the_wait_up_to_a_limit() -> None:
    throttle = Throttle(patience=2, longest_seconds=20)
    waits = []
    for _ in range(8):
        throttle.failed("alice", "1.1.1.1", 100.0)
        waits.append(throttle.wait_seconds("alice", "1.1.1.1", 100.0))
    assert waits == [0, 2, 4, 8, 16, 20, 20, 20]


def test_waiting_or_the_right_password_ends_it() -> None:
    throttle = Throttle(patience=1)
    throttle.failed("alice", "1.1.1.1", 100.0)
    assert throttle.wait_seconds("alice", "1.1.1.1", 102.5) == 0
    throttle.succeeded("alice", "1.1.1.1")
    assert throttle.wait_seconds("alice", "1.1.1.1", 100.0) == 0


def test_other_names_and_addresses_are_not_held_up() -> None:
    throttle = Throttle(patience=1)
    throttle.failed("alice", "1.1.1.1", 100.0)
    assert throttle.wait_seconds("bob", "1.1.1.1", 100.0) == 0
    assert throttle.wait_seconds("alice", "2.2.2.2", 100.0) == 0


def test_it_remembers_a_limited_number() -> None:
    throttle = Throttle(patience=1, remembered=100)
    for number in range(1000):
        throttle.failed(f"user{number}", "1.1.1.1", 100.0)
    assert len(throttle._tries) == 100
