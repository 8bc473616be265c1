"""An empty wallet: compute stops at once, storage is kept for some days with reminders, then released to the recycle bin."""

from __future__ import annotations

from datetime import datetime, timedelta

#: reminders this many days before the release
REMINDER_DAYS = (7, 3, 1)


def release_at(since: datetime, keep_days: int) -> datetime:
    """When the storage of an owner in arrears since then is released."""
    return since + timedelta(days=keep_days)


def due_reminder(since: datetime, keep_days: int, now: datetime, reminded_days: int | None) -> int | None:
    """The narrowest reminder that is due and not given; the first is given at once, with all the days that are left."""
    left = release_at(since, keep_days) - now
    due = [days for days in (*REMINDER_DAYS, keep_days) if timedelta(0) < left <= timedelta(days=days)]
    narrowest = min(due, default=None)
    return narrowest if narrowest is not None and (reminded_days is None or narrowest < reminded_days) else None
