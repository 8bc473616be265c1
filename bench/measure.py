"""How every bench measures and reports: both sides in the same run, interleaved, medians; one table, one JSON file.

A row says what was measured (``value`` in ``unit``), what it was compared with (``baseline``, in the same unit, or None
when the target is absolute), their ``ratio`` = value / baseline, the ``target`` in words, and whether it was met.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")


class CannotRun(Exception):
    """This bench needs what this machine does not have; the text says what."""


@dataclass(frozen=True)
class Row:
    bench: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    target: str
    ok: bool


def at_most(bench: str, value: float, unit: str, baseline: float, *, times: float) -> Row:
    """A row whose value may be at most ``times`` the baseline (a time)."""
    return Row(bench, value, unit, baseline, value / baseline, f"≤ {times:g}× baseline", value <= times * baseline)


def at_least(bench: str, value: float, unit: str, baseline: float, *, times: float) -> Row:
    """A row whose value must be at least ``times`` the baseline (a rate)."""
    return Row(bench, value, unit, baseline, value / baseline, f"≥ {times:g}× baseline", value >= times * baseline)


def no_more_than(bench: str, value: float, unit: str, *, limit: float) -> Row:
    """A row with an absolute limit."""
    return Row(bench, value, unit, None, None, f"≤ {limit:g} {unit}", value <= limit)


def seconds(act: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def interleaved(ours: Callable[[int], float], theirs: Callable[[int], float], *, rounds: int) -> tuple[float, float]:
    """Medians of both sides, measured in turn; who goes first alternates, so that neither gets the warm side."""
    values: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            values[side].append((ours, theirs)[side](number))
    return statistics.median(values[0]), statistics.median(values[1])


def write_results(rows: Sequence[Row]) -> None:
    """Keep the rows of benches that did not run this time; replace those that did."""
    try:
        before = [row for row in json.loads(RESULTS.read_text()) if row["bench"] not in {r.bench for r in rows}]
    except (OSError, ValueError):
        before = []
    RESULTS.write_text(json.dumps(before + [asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")


def table(rows: Sequence[Row]) -> str:
    """The rows as text for a person."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"

    cells = [("bench", "value", "unit", "baseline", "ratio", "target", "")]
    for r in rows:
        cells.append((r.bench, number(r.value), r.unit, number(r.baseline), number(r.ratio), r.target, "ok" if r.ok else "MISSED"))
    widths = [max(len(row[i]) for row in cells) for i in range(7)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells)
