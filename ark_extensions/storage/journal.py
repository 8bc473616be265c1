"""The journal's own SQL: postings go in by sets on the driver's cursor, never row by row through an ORM.

Order matters: entries first (their foreign key is deferred), then the transactions, whose trigger checks the sum.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from ark_extensions.domain.ledger import Posting
from ark_extensions.storage.types import to_micros

_ENTRIES = "INSERT INTO entries (account, transaction_id, amount_micros) VALUES (?, ?, ?)"
_TRANSACTIONS = "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (?, ?, ?, ?, ?, ?, ?)"
_BALANCES = (
    "INSERT INTO accounts (name, balance_micros) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET balance_micros = accounts.balance_micros + excluded.balance_micros"
)


class _Sqlite:
    def known(self, cursor: Any, keys: Sequence[str]) -> set[str]:
        if len(keys) == 1:
            cursor.execute("SELECT idempotency_key FROM transactions WHERE idempotency_key = ?", keys)
        else:
            cursor.execute(
                "SELECT idempotency_key FROM transactions WHERE idempotency_key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
            )
        return {row[0] for row in cursor.fetchall()}

    def ids(self, cursor: Any, count: int) -> list[int]:
        cursor.execute("SELECT coalesce(max(id), 0) FROM transactions")  # safe: BEGIN IMMEDIATE holds the only writer's lock
        last = cursor.fetchone()[0]
        return list(range(last + 1, last + 1 + count))

    def many(self, cursor: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            cursor.execute(statement, rows[0])
        else:
            cursor.executemany(statement, rows)


class _Postgresql:
    def known(self, cursor: Any, keys: Sequence[str]) -> set[str]:
        cursor.execute("SELECT idempotency_key FROM transactions WHERE idempotency_key = ANY(%s)", (list(keys),))
        return {row[0] for row in cursor.fetchall()}

    def ids(self, cursor: Any, count: int) -> list[int]:
        cursor.execute("SELECT nextval('transactions_id_seq') FROM generate_series(1, %s)", (count,))
        return [row[0] for row in cursor.fetchall()]

    def many(self, cursor: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        cursor.executemany(statement.replace("?", "%s"), rows)


def append(connection: Connection, postings: Sequence[Posting]) -> list[Posting]:
    """Write the postings whose key is new, in the caller's transaction; returns those. Twice the same key in one call counts once."""
    dialect = _Sqlite() if connection.dialect.name == "sqlite" else _Postgresql()
    by_key = {posting.key: posting for posting in reversed(postings)}
    if not by_key:
        return []
    cursor = connection.connection.cursor()
    try:
        known = dialect.known(cursor, list(by_key))
        new = [by_key[posting.key] for posting in postings if by_key.get(posting.key) is posting and posting.key not in known]
        if not new:
            return []
        entries, transactions, balances = [], [], defaultdict[str, int](int)
        for transaction_id, posting in zip(dialect.ids(cursor, len(new)), new, strict=True):
            transactions.append(
                (transaction_id, posting.key, posting.kind, to_micros(posting.at), posting.subject, posting.memo, posting.actor)
            )
            for account, amount in posting.entries:
                entries.append((account, transaction_id, amount))
                balances[account] += amount
        dialect.many(cursor, _ENTRIES, entries)
        dialect.many(cursor, _TRANSACTIONS, transactions)
        dialect.many(cursor, _BALANCES, sorted(balances.items()))
        return new
    finally:
        cursor.close()
