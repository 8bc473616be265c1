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
CORRECTIONS = "platform:corrections"


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


def credit(user: str) -> str:
    """The account of what was given to a user: spent first, and it can expire."""
    return f"credit:{user}"


def _two(key: str, kind: str, at: datetime, source: str, target: str, amount_micros: int, **rest: str) -> Posting:
    if amount_micros <= 0:
        raise ValueError("an amount is positive")
    return Posting(key, kind, at, ((source, -amount_micros), (target, amount_micros)), **rest)


def gift(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str) -> Posting:
    """The platform gives credit: at the opening, by an operator, for a voucher. It is spent before what was paid in."""
    return _two(key, "gift", at, GIFTS, credit(user), amount_micros, actor=actor, memo=memo)


def expire(*, key: str, user: str, amount_micros: int, at: datetime) -> Posting:
    """What is left of a gift whose time is over goes back."""
    return _two(key, "expire", at, credit(user), GIFTS, amount_micros, actor="billing")


def recharge(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str, subject: str = "") -> Posting:
    """The user pays in."""
    return _two(key, "recharge", at, CASH, wallet(user), amount_micros, actor=actor, memo=memo, subject=subject)


def charge(
    *, key: str, user: str, amount_micros: int, at: datetime, subject: str, kind: str = "charge_compute", from_credit_micros: int = 0
) -> Posting:
    """The user pays for use: first from credit, the rest from the wallet."""
    if not 0 <= from_credit_micros <= amount_micros or amount_micros <= 0:
        raise ValueError("an amount is positive, and credit pays at most the whole of it")
    sides = ((credit(user), -from_credit_micros), (wallet(user), from_credit_micros - amount_micros), (REVENUE, amount_micros))
    return Posting(key, kind, at, tuple(side for side in sides if side[1]), subject=subject, actor="billing")


def refund(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str, subject: str = "") -> Posting:
    """Something charged is given back to the wallet."""
    return _two(key, "refund", at, REVENUE, wallet(user), amount_micros, actor=actor, memo=memo, subject=subject)


def convert(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str, subject: str) -> Posting:
    """A part of what was paid for the rest of a term comes back to the wallet: its owner gave the compute up."""
    return _two(key, "convert", at, REVENUE, wallet(user), amount_micros, actor=actor, memo=memo, subject=subject)


def correct(*, key: str, user: str, amount_micros: int, at: datetime, actor: str, memo: str) -> Posting:
    """An operator mends a mistake by a new entry, in either direction; the wrong one stays in the journal."""
    if amount_micros == 0:
        raise ValueError("a correction is not zero")
    return Posting(key, "correct", at, ((CORRECTIONS, -amount_micros), (wallet(user), amount_micros)), actor=actor, memo=memo)


def run_charge_key(run_id: str, metered_until: datetime) -> str:
    """The idempotency key of a settlement: (run, metered-until)."""
    return f"run:{run_id}:{metered_until.isoformat()}"


@dataclass(frozen=True)
class Lot:
    """A gift still to spend."""

    id: str
    remaining_micros: int
    expires_at: datetime | None


def spend_credit(lots: list[Lot], amount_micros: int) -> tuple[int, list[Lot]]:
    """Take up to ``amount_micros`` from lots that are ordered by their end; (what credit pays, the lots after it)."""
    left, after = amount_micros, []
    for lot in lots:
        taken = min(lot.remaining_micros, left)
        left -= taken
        after.append(Lot(lot.id, lot.remaining_micros - taken, lot.expires_at))
    return amount_micros - left, after
