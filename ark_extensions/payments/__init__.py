"""Recharge providers behind one protocol: an adapter for each. An installation that offers none has no recharge by its users.

A provider begins a payment and reads the callbacks of its server; whether and what is posted is decided by
`usecases.recharges`. What a callback claims counts only after the provider's own library has checked its signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Begun:
    """How the user pays: a page to go to, or instructions to follow."""

    reference: str | None
    pay_url: str | None = None
    instructions: str | None = None


@dataclass(frozen=True)
class Paid:
    """A signed statement that a recharge was paid. ``reference`` is the provider's own id of the payment."""

    recharge_id: str
    reference: str
    amount_micros: int
    currency: str
    at: datetime


class Forged(Exception):
    """A callback whose signature does not verify, or that is too old to be believed."""


class NotAPayment(Exception):
    """A genuine callback that says nothing about a finished payment: acknowledge and forget it."""


class ProviderDown(Exception):
    """The provider's server did not answer; nothing was begun."""


class Provider(Protocol):
    """One way to pay in."""

    name: str

    def begin(self, *, recharge_id: str, amount_micros: int, currency: str, return_url: str, notify_url: str) -> Begun:
        """Begin a payment; raises ProviderDown."""
        ...

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, now: datetime) -> Paid:
        """Verify and read a callback; raises Forged or NotAPayment."""
        ...

    @property
    def acknowledgement(self) -> bytes:
        """What the provider's server wants to hear when its callback was taken."""
        ...
