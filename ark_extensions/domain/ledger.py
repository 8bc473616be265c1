"""The double-entry ledger: accounts, and one named template for each kind of movement. A transaction's entries sum to zero.

An entry's amount is what the account gains in micros. A user's wallet gains by a recharge or a gift and loses by a
charge; the platform's own accounts take the other side, so the sum over all accounts is always 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

CASH = "platform:cash"
GIFTS = "platform:gifts"
REVENUE = "platform:revenue"


def wallet(user: str) -> str:
    """The account of a user's wallet."""
    return f"wallet:{user}"


@dataclass(frozen=True)
class Posting:
    """One transaction to post. ``key`` is the idempotency key: a second posting under it does nothing.

    ``entries``: (account, amount in micros), non-zero, summing to zero. ``subject`` names what it is about (``run:ID``).
    """

    key: str
    kind: str
    at: datetime
    entries: tuple[tuple[str, int], ...]
    subject: str = ""
    memo: str = ""
    actor: str = ""

    def __post_init__(self) -> None:
        if len(self.entries) < 2 or any(amount == 0 for _, amount in self.entries):
            raise ValueError("a transaction has two or more entries, none of them zero")
        if sum(amount for _, amount in self.entries) != 0:
            raise ValueError("a transaction's entries sum to zero")
        if not self.key:
            raise ValueError("a transaction needs an idempotency key")
        if self.at.tzinfo is None:
            raise ValueError("a transaction's time is aware")


def _two(key: str, kind: str, at: datetime, source: str, target: str, amount_micros: int, **rest: str) -> Posting:
    if amount_micros <= 0:
        raise ValueError("an amount is positive")
    return Posting(key, kind, at, ((source, -amount_micros), (target, amount_micros)), **rest)


def gift(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str) -> Posting:
    """The platform gives: the opening credit, an operator's credit."""
    return _two(key, "gift", at, GIFTS, wallet(user), amount_micros, actor=actor, memo=memo)


def recharge(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str) -> Posting:
    """The user pays in."""
    return _two(key, "recharge", at, CASH, wallet(user), amount_micros, actor=actor, memo=memo)


def charge(*, key: str, user: str, amount_micros: int, at: datetime, subject: str, kind: str = "charge_compute") -> Posting:
    """The user's wallet pays for use."""
    return _two(key, kind, at, wallet(user), REVENUE, amount_micros, subject=subject, actor="billing")


def run_charge_key(run_id: str, metered_until: datetime) -> str:
    """The idempotency key of a settlement: (run, metered-until)."""
    return f"run:{run_id}:{metered_until.isoformat()}"
