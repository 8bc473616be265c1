"""Postings a second through the use case, against raw INSERTs of the same rows, in the same SQLite file and durability.

A posting writes one transaction and two entries and moves two balances; the raw side inserts the transaction and its two
entries only, in the order that the triggers ask for, with `sqlite3` and the same pragmas.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from itertools import count

from sqlalchemy.engine import make_url

from ark_extensions.domain.ledger import Posting, charge
from ark_extensions.storage import Storage
from ark_extensions.storage.types import to_micros
from ark_extensions.usecases.journal import post_postings
from bench.measure import Row, at_least, interleaved
from bench.population import NOON, Crowd, fresh_storage, populate

USERS = 200
INSERT_TRANSACTION = "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (?,?,?,?,?,?,?)"
INSERT_ENTRY = "INSERT INTO entries (account, transaction_id, amount_micros) VALUES (?,?,?)"


def postings(side: str, round_number: int, many: int) -> list[Posting]:
    return [
        charge(
            key=f"{side}:{round_number}:{many}:{n}", user=f"user{n % USERS:05d}", amount_micros=1 + n, at=NOON, subject=f"run:{side}-{n}"
        )
        for n in range(many)
    ]


class RawInserts:
    """The same rows by hand."""

    def __init__(self, storage: Storage) -> None:
        self._connection = sqlite3.connect(make_url(storage.url).database or "", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._ids = count()

    def begin_round(self) -> None:
        """Go on after the newest transaction; outside the measured time."""
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM transactions").fetchone()
        self._ids = count(newest + 1)

    def post(self, some: Sequence[Posting]) -> None:
        transactions, entries = [], []
        for p in some:
            number = next(self._ids)
            transactions.append((number, p.key, p.kind, to_micros(p.at), p.subject, p.memo, p.actor))
            entries += [(account, number, amount) for account, amount in p.entries]
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(INSERT_ENTRY, entries)
        cursor.executemany(INSERT_TRANSACTION, transactions)
        cursor.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def batches(side: str, round_number: int, commits: int, size: int) -> list[list[Posting]]:
    todo = postings(side, round_number, commits * size)
    return [todo[n * size : (n + 1) * size] for n in range(commits)]


def compare(name: str, *, commits: int, size: int, rounds: int, times: float) -> Row:
    with fresh_storage() as storage:
        populate(storage, Crowd(owners=USERS, each=1))
        raw = RawInserts(storage)

        def use_case(number: int) -> float:
            todo = batches("ours", number, commits, size)
            begun = time.perf_counter()
            for some in todo:
                assert post_postings(storage, some) == size
            return commits * size / (time.perf_counter() - begun)

        def by_hand(number: int) -> float:
            todo = batches("raw", number, commits, size)
            raw.begin_round()
            begun = time.perf_counter()
            for some in todo:
                raw.post(some)
            return commits * size / (time.perf_counter() - begun)

        interleaved(use_case, by_hand, rounds=2)  # warm: compiled statements, page cache
        value, baseline = interleaved(lambda n: use_case(n + 2), lambda n: by_hand(n + 2), rounds=rounds)
        raw.close()
    return at_least(name, value, "postings/s", baseline, times=times)


def run() -> list[Row]:
    return [
        compare("journal: one posting a commit", commits=400, size=1, rounds=7, times=0.6),
        compare("journal: batches of 1,000", commits=5, size=1_000, rounds=7, times=0.3),
    ]
