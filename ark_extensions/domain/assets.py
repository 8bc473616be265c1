"""Monthly compute: calendar terms, reminders before the end, and what can be done with a term."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta

from ark_extensions.domain.errors import InvalidField

MIN_MONTHS = 1
MAX_MONTHS = 12
#: a term can be renewed until it ends this far ahead
MAX_AHEAD_MONTHS = 24
REMINDER_DAYS = (7, 3, 1)
#: automatic renewal happens this long before the end, so that a refused one leaves time to act
RENEW_BEFORE = timedelta(hours=24)


def add_months(start: datetime, months: int) -> datetime:
    """The same day and time ``months`` later; the last day of a shorter month (31 January + 1 → 28 February)."""
    index = start.month - 1 + months
    year, month = start.year + index // 12, index % 12 + 1
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def check_months(months: int) -> int:
    """Raises InvalidField unless a term of so many months is sold."""
    if not MIN_MONTHS <= months <= MAX_MONTHS:
        raise InvalidField("A term has {low} to {high} months.", field="months", low=MIN_MONTHS, high=MAX_MONTHS)
    return months


def due_reminder(expires_at: datetime, now: datetime, reminded_days: int | None) -> int | None:
    """The narrowest reminder (in days) that is due and not given yet."""
    due = [days for days in REMINDER_DAYS if now < expires_at <= now + timedelta(days=days)]
    narrowest = min(due, default=None)
    return narrowest if narrowest is not None and (reminded_days is None or narrowest < reminded_days) else None


def converted_micros(paid_micros: int, starts_at: datetime, ends_at: datetime, now: datetime, percent: int) -> tuple[int, int, int]:
    """(days of the term not begun, days of the term, what comes back of ``paid_micros``), in micros.

    What was paid is spread evenly over the days of the term; a day that has begun is used. Of the others ``percent`` comes
    back; a half goes to the customer.
    """
    day = timedelta(days=1)
    days = (ends_at - starts_at) // day
    left = min(max((ends_at - max(now, starts_at)) // day, 0), days)
    return left, days, (2 * paid_micros * left * percent + 100 * days) // (2 * 100 * days)
