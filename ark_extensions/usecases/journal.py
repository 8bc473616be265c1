"""Posting to the journal: idempotent by key, balances kept as projections."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from ark_extensions.domain.ledger import Posting, credit, wallet
from ark_extensions.storage import Storage
from ark_extensions.storage.journal import append, append_alone
from ark_extensions.storage.tables import accounts


def post(connection: Connection, postings: Sequence[Posting], *, all_new: bool = False) -> int:
    """Post within the caller's transaction; returns how many were new. Raises PostingHalted, and with ``all_new`` KeysTaken."""
    return len(append(connection, postings, all_new=all_new))


def post_postings(storage: Storage, postings: Sequence[Posting]) -> int:
    """Post in a transaction of its own; returns how many were new."""
    return len(append_alone(storage, postings))


def balance_of(connection: Connection, user: str) -> int:
    """What a user has, paid in and given, in micros; 0 when nothing was posted."""
    mine = select(func.sum(accounts.c.balance_micros)).where(accounts.c.name.in_([wallet(user), credit(user)]))
    return connection.execute(mine).scalar() or 0
