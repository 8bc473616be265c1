"""Metering: what a run has cost so far. Charge = round(cumulative cost) − already posted, so rounding never drifts."""

from __future__ import annotations

from datetime import datetime, timedelta

from ark_extensions.domain.money import SECONDS_PER_DAY, SECONDS_PER_HOUR, round_quotient


def elapsed_micros(opened_at: datetime, until: datetime) -> int:
    """Microseconds from ``opened_at`` to ``until``; 0 when the clock went backwards."""
    return max((until - opened_at) // timedelta(microseconds=1), 0)


def cost_micros(price_micros_per_hour: int, opened_at: datetime, until: datetime) -> int:
    """Cumulative cost in micros of a run from ``opened_at`` to ``until``, charged by the second begun … ended:
    only whole seconds that passed count (uncertainty bills less)."""
    seconds = elapsed_micros(opened_at, until) // 1_000_000
    return round_quotient(price_micros_per_hour * seconds, SECONDS_PER_HOUR)


def runway(balance_micros: int, burn_micros_per_hour: int) -> timedelta | None:
    """How long the balance lasts at this burn; None when nothing burns. Never negative."""
    if burn_micros_per_hour <= 0:
        return None
    seconds = max(balance_micros, 0) * SECONDS_PER_HOUR // burn_micros_per_hour
    return timedelta(seconds=min(seconds, 10 * 365 * 86_400))


def disk_cost_micros(price_micros_per_day: int, bought_at: datetime, until: datetime) -> int:
    """Cumulative cost in micros of a data disk, stopped or running, by the second of its existence."""
    seconds = elapsed_micros(bought_at, until) // 1_000_000
    return round_quotient(price_micros_per_day * seconds, SECONDS_PER_DAY)
