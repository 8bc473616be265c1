"""Why a workspace is as it is: when it started, when it will stop, what it costs; in sentences a person can act on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from ark_extensions.domain.autostop import Deadline, StopReason, stop_at
from ark_extensions.domain.workspaces import State
from ark_extensions.usecases.purse import Purse
from ark_extensions.usecases.views import Sentence

CREATING = Sentence("It was ordered and will start in a moment.")
STARTING = Sentence("It is starting. It costs nothing until it is ready.")
STOPPING = Sentence("It is stopping.")
FAILED = Sentence("It did not start. Nothing was charged for the attempt. Its events say why.")
STOPPED = Sentence("It is stopped: no compute is charged. Everything in /home/user is kept.")
ON_ASSET = Sentence("It runs on your monthly compute and costs nothing by the hour.")
NO_DEADLINE = Sentence("No auto-stop is set: it runs until you stop it or the wallet is empty.")


def _when_it_stops(row: Row[Any]) -> Sentence:
    at, reason = stop_at(Deadline(row.id, row.opened_at, row.auto_stop_at, row.idle_stop_minutes, idle_since(row)))
    if at is None:
        return NO_DEADLINE
    if reason is StopReason.IDLE:
        return Sentence(
            "It stops after {minutes} minutes without work: at {stop_at} as things are.",
            {"minutes": row.idle_stop_minutes, "stop_at": at.isoformat()},
        )
    return Sentence("It stops at {stop_at}, the auto-stop time.", {"stop_at": at.isoformat()})


def idle_since(row: Row[Any]) -> datetime | None:
    """The last moment it worked, from the idle deadline that is stored."""
    if row.idle_stop_at is None or row.idle_stop_minutes is None:
        return None
    since: datetime = row.idle_stop_at - timedelta(minutes=row.idle_stop_minutes)
    return since


def why(row: Row[Any], cost_micros: int, purse: Purse, now: datetime) -> tuple[Sentence, ...]:
    """The sentences for one workspace row (joined with its open run)."""
    state = State(row.state)
    if state is State.RUNNING and row.opened_at is not None:
        running = Sentence("It has run since {started_at}.", {"started_at": row.opened_at.isoformat()})
        cost = (
            ON_ASSET
            if row.asset_id is not None
            else Sentence(
                "It costs {price_micros} an hour; {cost_micros} so far in this run.",
                {"price_micros": row.run_price, "cost_micros": cost_micros},
            )
        )
        sentences = [running, _when_it_stops(row), cost]
        if (left := purse.runway) is not None:
            sentences.append(Sentence("The wallet lasts until {empty_at} at the present use.", {"empty_at": (now + left).isoformat()}))
        return tuple(sentences)
    if state is State.RELEASED:
        if row.restorable_until is None:
            return (Sentence("It was released."),)
        return (Sentence("It was released. You can restore it until {until_at}.", {"until_at": row.restorable_until.isoformat()}),)
    said = {State.CREATING: CREATING, State.STARTING: STARTING, State.STOPPING: STOPPING, State.FAILED: FAILED}.get(state, STOPPED)
    if row.disk_price_micros_per_day and state in (State.STOPPED, State.FAILED):
        return (
            said,
            Sentence(
                "Its data disk of {gib} GiB costs {day_micros} a day.",
                {"gib": row.data_disk_gib, "day_micros": row.disk_price_micros_per_day},
            ),
        )
    return (said,)
