"""kill -9 of any part at several moments: workspaces go on and are found again, no run is lost or doubled, the books are right,
and every state is true within 30 seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.crash_stage import BUSY_SETTINGS, PATIENCE, TRUE_WITHIN, Someone, back, books_are_right
from tests.platform import Platform, wait_until


@pytest.fixture(scope="module")
def crashing(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that these tests may do anything to."""
    platform = Platform(settings=BUSY_SETTINGS)
    try:
        platform.start()
        yield platform
    finally:
        platform.close(keep_logs=request.session.testsfailed > 0)


@pytest.fixture(scope="module")
def someone(crashing: Platform) -> Someone:
    """A user with one workspace that runs through all the kills."""
    someone = Someone.on(crashing)
    someone.running("steady")
    return someone


def happened(someone: Someone, kind: str) -> datetime:
    """When the workspace came to be so, as the platform recorded it."""
    return someone.happened(kind)[0]


@pytest.mark.parametrize("name", ["hub", "proxy", "console", "billing", "autostop", "reconcile"])
def test_a_killed_process_comes_back_and_the_workspace_never_left(crashing: Platform, someone: Someone, name: str) -> None:
    before = someone.jupyter("steady")
    back(crashing, name, crashing.kill(name))
    assert wait_until(lambda: someone.jupyter("steady"), seconds=PATIENCE) == before, "it is another process"
    someone.wait_for("running", name="steady")
    assert [run.closed_at for run in someone.runs()] == [None], "one run, and it is open"
    books_are_right(crashing)


def test_a_killed_supervisor_takes_the_platform_down_and_no_workspace(crashing: Platform, someone: Someone) -> None:
    before = someone.jupyter("steady")
    parts = list(crashing.status()["processes"].values())
    crashing.kill("supervisor")
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in parts), message="a process outlived its supervisor")
    crashing.start()
    assert wait_until(lambda: someone.jupyter("steady"), seconds=PATIENCE) == before
    someone.wait_for("running", name="steady")
    assert [run.closed_at for run in someone.runs()] == [None]
    books_are_right(crashing)


def test_a_hub_killed_during_a_start_leaves_a_true_state_and_no_charge(crashing: Platform) -> None:
    someone = Someone.on(crashing)
    someone.order()
    someone.wait_for("starting", "running")
    answered_at = back(crashing, "hub", crashing.kill("hub"))
    state = someone.wait_for("running", "failed", "stopped")
    assert happened(someone, state) - answered_at < TRUE_WITHIN
    if state == "running":
        assert wait_until(someone.jupyter, seconds=PATIENCE)
        assert len(someone.runs()) == 1
    else:
        assert someone.runs() == [], "a start that failed costs nothing"
        wait_until(lambda: crashing.api("POST", "/workspaces/crash/start", {}, user=someone.name).status < 300, seconds=PATIENCE)
        someone.wait_for("running")
    someone.api("POST", "/workspaces/crash/stop")
    someone.wait_for("stopped")
    assert [run.closed_at is not None for run in someone.runs()] == [True]
    books_are_right(crashing)


def test_a_hub_killed_during_a_stop_ends_the_run_once(crashing: Platform) -> None:
    someone = Someone.on(crashing)
    someone.running()
    someone.api("POST", "/workspaces/crash/stop")
    answered_at = back(crashing, "hub", crashing.kill("hub"))
    someone.wait_for("stopped")
    assert happened(someone, "stopped") - answered_at < TRUE_WITHIN
    assert [run.closed_at is not None for run in someone.runs()] == [True]
    assert someone.jupyter() is None
    books_are_right(crashing)


def test_a_workspace_that_dies_while_the_platform_is_down_is_billed_no_longer_than_it_was_seen(crashing: Platform) -> None:
    someone = Someone.on(crashing)
    someone.running()
    sandbox = someone.processes()
    crashing.kill("supervisor")
    down_at = datetime.now(UTC)
    for pid in sandbox:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    crashing.start()
    answered_at = datetime.now(UTC)
    assert happened(someone, someone.wait_for("stopped", "failed")) - answered_at < TRUE_WITHIN
    (run,) = someone.runs()
    assert run.closed_at is not None and run.closed_at <= down_at + timedelta(seconds=1)
    books_are_right(crashing)


def test_billing_killed_again_and_again_charges_every_second_once(crashing: Platform, someone: Someone) -> None:
    for pause in (0.1, 0.35, 0.6, 0.85):
        killed = crashing.kill("billing")
        wait_until(lambda killed=killed: crashing.status()["processes"].get("billing", killed) != killed, seconds=PATIENCE)  # type: ignore[misc]
        time.sleep(pause)  # a different point of its pass each time
        books_are_right(crashing)
    assert len(someone.runs()) == 1


def test_a_deadline_that_passes_while_autostop_is_killed_is_kept(crashing: Platform) -> None:
    someone = Someone.on(crashing)
    someone.running()
    at = datetime.now(UTC) + timedelta(seconds=4)
    someone.api("PATCH", "/workspaces/crash", {"auto_stop": {"at": at.isoformat()}})
    crashing.kill("autostop")
    someone.wait_for("stopped")
    assert happened(someone, "stopped") - at < TRUE_WITHIN
    (run,) = someone.runs()
    assert run.close_reason == "deadline" and run.closed_at is not None and run.closed_at >= at


def test_after_all_of_it_the_first_workspace_still_runs_and_stops_cleanly(crashing: Platform, someone: Someone) -> None:
    assert someone.jupyter("steady")
    someone.api("POST", "/workspaces/steady/stop")
    someone.wait_for("stopped", name="steady")
    (run,) = someone.runs()
    assert run.closed_at is not None
    assert abs(run.seconds - (run.closed_at - run.opened_at).total_seconds()) < 2
    books_are_right(crashing)
