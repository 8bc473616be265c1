"""Money is an integer number of micro-units of the currency (1 CNY = 1,000,000 micros): no floats anywhere.

One rounding rule for the whole platform: halves go to the customer (round half down for charges).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICROS = 1_000_000
SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86_400
#: the largest amount that one request may name, 100 million units: beyond it is a typing error
MAX_AMOUNT_MICROS = 100_000_000 * MICROS


def round_quotient(numerator: int, denominator: int) -> int:
    """Round an exact charge in micros, given as a quotient, to an integer; a half goes down, in the customer's favour.

    Raises ValueError for a negative value: a charge is never negative.
    """
    if numerator < 0:
        raise ValueError("a charge is never negative")
    whole, rest = divmod(numerator, denominator)
    return whole + (1 if 2 * rest > denominator else 0)


def parse_amount(text: str) -> int:
    """``"3.20"`` → 3200000 micros. Raises ValueError for what is not a plain decimal of ≤ 6 places."""
    if len(text) > 20:
        raise ValueError("too long")
    try:
        value = Decimal(text)
    except InvalidOperation as e:
        raise ValueError("not a number") from e
    if not value.is_finite() or "e" in text.lower():
        raise ValueError("not a plain number")
    micros = value * MICROS
    if micros != micros.to_integral_value():
        raise ValueError("more than six decimal places")
    return int(micros)


def format_amount(micros: int, places: int = 2) -> str:
    """Micros → decimal string with at least ``places`` decimals and no more than are not zero: 3200000 → ``"3.20"``."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS)
    digits = f"{rest:06d}".rstrip("0").ljust(places, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
