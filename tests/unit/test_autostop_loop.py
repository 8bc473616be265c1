"""The loop that stops what is due, with a Hub that fails at chosen calls; and the loop that all services share."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from ark_extensions.autostop.passes import stop_what_is_due
from ark_extensions.domain.workspaces import State
from ark_extensions.loop import Job, pause_after, repeat
from ark_extensions.stop_orders import AT_ONCE
from bench.population import NOON, Crowd
from tests.unit.loop_stage import FailingHub, running_crowd, workspaces

SECOND = timedelta(seconds=1)


async def test_what_is_due_is_stopped_and_what_is_not_runs_on() -> None:
    with running_crowd(Crowd(owners=2, each=2, auto_stop_at=NOON + SECOND)) as storage:
        hub = FailingHub()
        assert await stop_what_is_due(storage, hub, now=NOON) is None
        assert hub.stopped == []
        assert await stop_what_is_due(storage, hub, now=NOON + SECOND) == "4 of 4 due stops were ordered at the Hub."
        assert len(set(hub.stopped)) == len(hub.stopped) == 4
        assert {w.state for w in workspaces(storage).values()} == {State.STOPPING}


async def test_one_call_that_fails_holds_up_no_other() -> None:
    with running_crowd(Crowd(owners=3, each=2, auto_stop_at=NOON)) as storage:
        hub = FailingHub(fails=frozenset({"user00001/ws-0"}))
        assert await stop_what_is_due(storage, hub, now=NOON) == "5 of 6 due stops were ordered at the Hub."
        assert ("user00001", "ws-0") not in hub.stopped and len(hub.stopped) == 5


async def test_two_instances_at_once_stop_each_workspace_once() -> None:
    with running_crowd(Crowd(owners=4, each=5, auto_stop_at=NOON)) as storage:
        hub = FailingHub()
        await asyncio.gather(*(stop_what_is_due(storage, hub, now=NOON) for _ in range(2)))
        assert sorted(hub.stopped) == sorted(set(hub.stopped)) and len(hub.stopped) == 20


async def test_many_stops_go_at_once_but_never_flood_the_hub() -> None:
    with running_crowd(Crowd(owners=20, each=10, auto_stop_at=NOON)) as storage:
        hub = FailingHub()
        await stop_what_is_due(storage, hub, now=NOON)
        assert len(hub.stopped) == 200
        assert 1 < hub.most_on_the_way <= AT_ONCE


async def test_a_bad_pass_ends_no_loop_and_the_pause_grows(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([None, RuntimeError("locked"), RuntimeError("locked"), "did it", None])
    beats, pauses = [], []

    async def act() -> str | None:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 5

    with caplog.at_level(logging.INFO, logger="ark"):
        await repeat(Job("deadlines", 1.0, act), pause=pause, beat=lambda: beats.append(1))
    assert pauses == [1.0, 2.0, 4.0, 1.0, 1.0]
    assert len(beats) == 3, "only a good pass is a sign of life"
    assert "deadlines: this pass failed (RuntimeError: locked). Next try in 2 s." in caplog.messages
    assert "deadlines: works again." in caplog.messages


def test_the_pause_after_failures_is_a_minute_at_most() -> None:
    assert pause_after(1.0, 0) == 1.0
    assert pause_after(3600.0, 0) == 3600.0
    assert pause_after(3600.0, 1) == 2.0, "a settlement that failed does not wait for the next hour"
    assert pause_after(1.0, 50) == 60.0
