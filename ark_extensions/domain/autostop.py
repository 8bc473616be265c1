"""When a running workspace must stop, and when its user must be warned: pure decisions over facts and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ark_extensions.domain.errors import InvalidField

#: a warning this long before a stop, in the workspace's events and in JupyterLab
WARNINGS = (timedelta(minutes=15), timedelta(minutes=5))
MAX_AHEAD = timedelta(days=90)
MIN_IDLE_MINUTES = 10
MAX_IDLE_MINUTES = 7 * 24 * 60


class StopReason(StrEnum):
    USER = "user"
    DEADLINE = "deadline"
    IDLE = "idle"
    WALLET = "wallet"
    BUDGET = "budget"
    TERM = "term"
    OPERATOR = "operator"
    SHUTDOWN = "shutdown"
    HUB = "hub"
    EXITED = "exited"
    LOST = "lost"


@dataclass(frozen=True)
class Deadline:
    """What the loop knows of one running workspace. ``last_active_at`` None: no activity report yet."""

    workspace_id: str
    opened_at: datetime
    auto_stop_at: datetime | None
    idle_stop_minutes: int | None
    last_active_at: datetime | None
    warned: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """``stop``: stop now for this reason. ``warn``: the key of a warning not given yet, and the minutes left."""

    stop: StopReason | None = None
    warn: str | None = None
    minutes_left: int = 0


def stop_at(deadline: Deadline) -> tuple[datetime | None, StopReason | None]:
    """The earliest moment this workspace will be stopped as things are, and why."""
    moments: list[tuple[datetime, StopReason]] = []
    if deadline.auto_stop_at is not None:
        moments.append((deadline.auto_stop_at, StopReason.DEADLINE))
    if deadline.idle_stop_minutes is not None:
        since = max(deadline.last_active_at or deadline.opened_at, deadline.opened_at)
        moments.append((since + timedelta(minutes=deadline.idle_stop_minutes), StopReason.IDLE))
    return min(moments, default=(None, None))


def decide(deadline: Deadline, now: datetime) -> Decision:
    """Stop when the moment has come; else the narrowest warning that is due and was not given for this moment."""
    at, reason = stop_at(deadline)
    if at is None or reason is None:
        return Decision()
    if now >= at:
        return Decision(stop=reason)
    for before in sorted(WARNINGS):
        key = f"{reason}:{at.isoformat()}:{int(before.total_seconds())}"
        if at - now <= before:
            minutes = max(1, -(-(at - now) // timedelta(minutes=1)))
            return Decision() if key in deadline.warned else Decision(warn=key, minutes_left=minutes)
    return Decision()


def resolve_auto_stop(*, after_minutes: int | None, at: datetime | None, now: datetime) -> datetime | None:
    """The deadline a person asked for, as a moment; raises InvalidField for the past or the absurd."""
    if after_minutes is None and at is None:
        return None
    moment = at if at is not None else now + timedelta(minutes=after_minutes or 0)
    if moment <= now:
        raise InvalidField("The auto-stop time is in the past. Choose a later one.", field="auto_stop")
    if moment - now > MAX_AHEAD:
        raise InvalidField("The auto-stop time can be at most {days} days ahead.", field="auto_stop", days=MAX_AHEAD.days)
    return moment


def check_idle_minutes(minutes: int | None) -> int | None:
    """Idle stop between 10 minutes and a week, or None."""
    if minutes is not None and not MIN_IDLE_MINUTES <= minutes <= MAX_IDLE_MINUTES:
        raise InvalidField(
            "Idle stop is between {low} and {high} minutes.", field="idle_stop_minutes", low=MIN_IDLE_MINUTES, high=MAX_IDLE_MINUTES
        )
    return minutes
