"""The journal's own SQL: postings go in by sets on the driver's cursor, never row by row through an ORM.

On SQLite entries go in first (their foreign key is deferred), then the transactions, whose trigger checks the sum. On
PostgreSQL all of it is one statement, one round trip whatever the number of rows, and the triggers look at its end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ark_extensions.domain.errors import PostingHalted
from ark_extensions.domain.ledger import Posting
from ark_extensions.storage import Storage, driver_cursor
from ark_extensions.storage.types import to_micros

_ENTRIES = "INSERT INTO entries (account, transaction_id, amount_micros) VALUES (?, ?, ?)"
_TRANSACTIONS = "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (?, ?, ?, ?, ?, ?, ?)"
_BALANCES = (
    "INSERT INTO accounts (name, balance_micros) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET balance_micros = accounts.balance_micros + excluded.balance_micros"
)
#: a row without a key: posting is halted
_HALTED = " UNION ALL SELECT NULL FROM posting_halts WHERE lifted_at IS NULL"
_KNOWN_ONE = "SELECT idempotency_key FROM transactions WHERE idempotency_key = ?" + _HALTED
_KNOWN = "SELECT idempotency_key FROM transactions WHERE idempotency_key IN (SELECT value FROM json_each(?))" + _HALTED

#: the new ones of what is given, posted; answers (place, None) for each that was, (None, 0) where posting is halted, and
#: (None, n) for n keys that were there. With ``all_new`` one key that is there leaves everything unposted.
_POST = """
WITH given AS MATERIALIZED (
  SELECT * FROM unnest(%(key)s::text[], %(kind)s::text[], %(at)s::bigint[], %(subject)s::text[], %(memo)s::text[], %(actor)s::text[])
  WITH ORDINALITY AS g (key, kind, at, subject, memo, actor, place)),
known AS MATERIALIZED (SELECT g.place FROM given g JOIN transactions t ON t.idempotency_key = g.key),
halted AS MATERIALIZED (SELECT FROM posting_halts WHERE lifted_at IS NULL LIMIT 1),
fresh AS MATERIALIZED (
  SELECT nextval('transactions_id_seq') AS id, o.* FROM (
    SELECT g.* FROM given g WHERE NOT EXISTS (SELECT FROM halted) AND NOT EXISTS (SELECT FROM known k WHERE k.place = g.place)
    AND NOT (%(all_new)s::boolean AND EXISTS (SELECT FROM known)) ORDER BY g.place) o),
sides AS MATERIALIZED (
  SELECT s.account, f.id, s.amount FROM unnest(%(place)s::bigint[], %(account)s::text[], %(amount)s::bigint[]) AS s (place, account, amount)
  JOIN fresh f USING (place)),
posted AS (
  INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) SELECT id, key, kind, at, subject, memo, actor FROM fresh),
entered AS (INSERT INTO entries (account, transaction_id, amount_micros) SELECT account, id, amount FROM sides),
moved AS (
  INSERT INTO accounts (name, balance_micros) SELECT account, sum(amount) FROM sides GROUP BY account ORDER BY account
  ON CONFLICT (name) DO UPDATE SET balance_micros = accounts.balance_micros + excluded.balance_micros)
SELECT place, NULL FROM fresh UNION ALL SELECT NULL, 0 FROM halted UNION ALL SELECT NULL, count(*) FROM known HAVING count(*) > 0
"""


#: one posting by the database's own function, whose plans the session keeps
_POST_ONE = "SELECT ark_post(%s, %s, %s, %s, %s, %s, %s::text[], %s::bigint[])"
_POST_ALONE = _POST_ONE.replace("ark_post", "ark_post_alone")


class KeysTaken(RuntimeError):
    """Some of what must be new was posted before; nothing was posted."""


def append(connection: Connection, postings: Sequence[Posting], *, all_new: bool = False) -> list[Posting]:
    """Write the postings whose key is new, in the caller's transaction; returns those. Twice the same key in one call counts once.

    Raises PostingHalted while posting is halted and, with ``all_new``, KeysTaken when a key is there already; both before
    anything is written.
    """
    by_key = {posting.key: posting for posting in reversed(postings)}
    if not by_key:
        return []
    given = [posting for posting in postings if by_key[posting.key] is posting]
    if all_new and len(given) < len(postings):
        raise KeysTaken("a key is given twice")
    try:
        with driver_cursor(connection) as cursor:
            return _on_sqlite(cursor, given, all_new) if connection.dialect.name == "sqlite" else _on_postgresql(cursor, given, all_new)
    except connection.dialect.loaded_dbapi.Error as failed:
        raise DBAPIError.instance("posting", None, failed, connection.dialect.loaded_dbapi.Error, dialect=connection.dialect) from failed


def append_alone(storage: Storage, postings: Sequence[Posting]) -> list[Posting]:
    """`append` in a transaction of its own; on PostgreSQL a single posting is then one round trip."""
    if len(postings) == 1 and storage.dialect == "postgresql":
        with storage.at_once() as cursor:
            return _one_on_postgresql(cursor, postings[0], False, _POST_ALONE)
    with storage.write() as connection:
        return append(connection, postings)


def _on_sqlite(cursor: Any, given: Sequence[Posting], all_new: bool) -> list[Posting]:
    keys = [posting.key for posting in given]
    if len(keys) == 1:
        cursor.execute(_KNOWN_ONE, keys)
    else:
        cursor.execute(_KNOWN, (json.dumps(keys),))
    known = {row[0] for row in cursor.fetchall()}
    if None in known:
        raise PostingHalted
    if all_new and known:
        raise KeysTaken(f"posted before: {sorted(known)[:3]}")
    new = [posting for posting in given if posting.key not in known]
    if not new:
        return []
    cursor.execute("SELECT coalesce(max(id), 0) FROM transactions")  # safe: BEGIN IMMEDIATE holds the only writer's lock
    first = cursor.fetchone()[0] + 1
    entries, transactions, balances = [], [], defaultdict[str, int](int)
    for transaction_id, posting in enumerate(new, first):
        transactions.append(
            (transaction_id, posting.key, posting.kind, to_micros(posting.at), posting.subject, posting.memo, posting.actor)
        )
        for account, amount in posting.entries:
            entries.append((account, transaction_id, amount))
            balances[account] += amount
    for statement, rows in ((_ENTRIES, entries), (_TRANSACTIONS, transactions), (_BALANCES, sorted(balances.items()))):
        if len(rows) == 1:
            cursor.execute(statement, rows[0])
        else:
            cursor.executemany(statement, rows)
    return new


def _one_on_postgresql(cursor: Any, posting: Posting, all_new: bool, statement: str = _POST_ONE) -> list[Posting]:
    accounts, amounts = zip(*posting.entries, strict=True)
    about = (posting.key, posting.kind, to_micros(posting.at), posting.subject, posting.memo, posting.actor)
    cursor.execute(statement, (*about, list(accounts), list(amounts)))
    (outcome,) = cursor.fetchone()
    if outcome < 0:
        raise PostingHalted
    if outcome == 0 and all_new:
        raise KeysTaken(f"posted before: {posting.key}")
    return [posting] if outcome else []


def _on_postgresql(cursor: Any, given: Sequence[Posting], all_new: bool) -> list[Posting]:
    if len(given) == 1:
        return _one_on_postgresql(cursor, given[0], all_new)
    sides = [(place, account, amount) for place, posting in enumerate(given, 1) for account, amount in posting.entries]
    columns = {
        "key": [p.key for p in given],
        "kind": [p.kind for p in given],
        "at": [to_micros(p.at) for p in given],
        "subject": [p.subject for p in given],
        "memo": [p.memo for p in given],
        "actor": [p.actor for p in given],
        "place": [side[0] for side in sides],
        "account": [side[1] for side in sides],
        "amount": [side[2] for side in sides],
    }
    cursor.execute(_POST, {**columns, "all_new": all_new})
    new = []
    for place, count in cursor.fetchall():
        if place is not None:
            new.append(given[place - 1])
        elif count == 0:
            raise PostingHalted
        elif all_new:
            raise KeysTaken(f"{count} were posted before")
    return new
