"""Identifiers made by the platform: 32 hexadecimal characters, never guessable, never reused."""

from __future__ import annotations

from uuid import uuid4


def new_id() -> str:
    return uuid4().hex
