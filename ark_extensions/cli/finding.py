"""One thing that `ark doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """``state``: ``ok``, ``note`` (works with less) or ``problem``. ``remedy``: what to do; empty when it is ok."""

    name: str
    state: Literal["ok", "note", "problem"]
    sentence: str
    remedy: str = ""
