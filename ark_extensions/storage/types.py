"""Column types shared by all tables: instants in UTC and JSON text.

An instant is kept as integer microseconds since 1970 UTC: comparisons and differences are exact and the same in
SQLite and PostgreSQL. Naive datetimes are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(value: datetime) -> int:
    """Aware datetime → microseconds since 1970 UTC. Raises ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError("naive datetimes are refused: give the time zone")
    return (value - EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def _read_instant(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime stored as integer microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        """One call a value instead of TypeDecorator's three: a look at 10,000 runs reads 30,000 instants."""
        return _read_instant


class Json(TypeDecorator[Any]):
    """A JSON document stored as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
