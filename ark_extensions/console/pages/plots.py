"""Stacked bars by day, as plain geometry: templates draw them as SVG, so that a page needs no script and prints well.

Promises: what is drawn adds up to what was given; the axis ends at a round amount; small series are drawn together, so that
a plot never has more colours than a reader can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

#: one column's width and its bar's, in the drawing's own units; the drawing is `HEIGHT` high
COLUMN, BAR, HEIGHT = 10.0, 7.0, 100.0
SERIES_MAX = 6
#: the key under which small series are drawn together
OTHERS = "…"


@dataclass(frozen=True)
class Piece:
    """A part of a day's bar: its series' number, the amount, and where it stands."""

    series: int
    micros: int
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    """A day. ``x`` is the bar's left side; ``pieces`` from the bottom up."""

    day: date
    x: float
    total_micros: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Plot:
    """``series``: (key, sum), the largest first; a piece's number is its place in it, and its colour stands at that place in
    ``colours``. ``top_micros``: where the axis ends."""

    series: tuple[tuple[str, int], ...]
    colours: tuple[int, ...]
    columns: tuple[Column, ...]
    top_micros: int

    @property
    def width(self) -> float:
        return COLUMN * len(self.columns)

    @property
    def total_micros(self) -> int:
        return sum(micros for _, micros in self.series)


def round_up(micros: int) -> int:
    """The next of 1, 2, 5 × 10ⁿ that is not less."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if factor * step >= micros:
                return factor * step
        step *= 10


def plot(days: Mapping[date, Mapping[str, int]], first: date, count: int, fixed: Sequence[str] = ()) -> Plot:
    """The ``count`` days from ``first`` on; days and keys that have nothing are empty columns. ``fixed``: keys that have the
    same colour in every plot, in this order."""
    wanted = [first + timedelta(days=n) for n in range(count)]
    sums: dict[str, int] = {}
    for day in wanted:
        for key, micros in days.get(day, {}).items():
            sums[key] = sums.get(key, 0) + micros
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    own = ranked if len(ranked) <= SERIES_MAX else ranked[: SERIES_MAX - 1]
    rest = sum(micros for _, micros in ranked[len(own) :])
    series = tuple(own) + (((OTHERS, rest),) if len(own) < len(ranked) else ())
    top = round_up(max((sum(days.get(day, {}).values()) for day in wanted), default=0) or 1)
    numbers = {key: number for number, (key, _) in enumerate(own)}
    columns = [_column(day, n, days.get(day, {}), numbers, top) for n, day in enumerate(wanted)]
    return Plot(series, colours([key for key, _ in series], fixed), tuple(columns), top)


def colours(keys: Sequence[str], fixed: Sequence[str]) -> tuple[int, ...]:
    """A colour for each key: its place in ``fixed``, else the next one that nobody has."""
    taken = {fixed.index(key) for key in keys if key in fixed}
    free = (number for number in range(len(keys) + len(fixed)) if number not in taken)
    return tuple((fixed.index(key) if key in fixed else next(free)) % SERIES_MAX for key in keys)


def _column(day: date, place: int, amounts: Mapping[str, int], numbers: Mapping[str, int], top: int) -> Column:
    stacked: dict[int, int] = {}
    for key, micros in amounts.items():
        number = numbers.get(key, len(numbers))
        stacked[number] = stacked.get(number, 0) + micros
    pieces, y = [], HEIGHT
    for number, micros in sorted(stacked.items()):
        height = HEIGHT * max(micros, 0) / top
        y -= height
        pieces.append(Piece(number, micros, round(y, 3), round(height, 3)))
    return Column(day, place * COLUMN + (COLUMN - BAR) / 2, sum(amounts.values()), tuple(pieces))
