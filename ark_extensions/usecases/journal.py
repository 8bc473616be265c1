"""Posting to the journal: idempotent by key, balances kept as projections."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from ark_extensions.domain.ledger import Posting, wallet
from ark_extensions.storage import Storage
from ark_extensions.storage.journal import append
from ark_extensions.storage.tables import accounts


def post(connection: Connection, postings: Sequence[Posting]) -> int:
    """Post within the caller's transaction; returns how many were new."""
    return len(append(connection, postings))


def post_postings(storage: Storage, postings: Sequence[Posting]) -> int:
    """Post in a transaction of its own; returns how many were new."""
    with storage.write() as connection:
        return post(connection, postings)


def balance_of(connection: Connection, user: str) -> int:
    """The wallet's balance in micros, 0 for a wallet that nothing was posted to."""
    return connection.execute(select(accounts.c.balance_micros).where(accounts.c.name == wallet(user))).scalar() or 0
