"""PostgreSQL: postings a second through the use case against raw INSERTs, eight workers on one account, settling against COPY.

The server is started for the bench from Debian's packages, with commits that reach the disk. The raw side writes the same
transactions and entries row by row with psycopg, in the same tables under the same triggers, and moves no balance.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import psycopg

from ark_extensions.domain.ledger import Posting, recharge
from ark_extensions.domain.metering import cost_micros
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage, migrate
from ark_extensions.storage.types import to_micros
from ark_extensions.usecases.journal import post_postings
from ark_extensions.usecases.settlement import settle_usage
from bench.journal import USERS, batches
from bench.measure import Row, at_least, at_most, interleaved
from bench.population import NOON, PRICE, Crowd, populate
from tests import postgresql

WORKERS = 8
ENTRIES = "INSERT INTO entries (account, transaction_id, amount_micros) VALUES (%s, %s, %s), (%s, %s, %s)"
TRANSACTION = "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (%s, %s, %s, %s, %s, %s, %s)"


@contextmanager
def fresh(server: postgresql.Server, template: str) -> Iterator[Storage]:
    storage = Storage(server.database(template))
    try:
        yield storage
    finally:
        storage.close()


def driver_url(storage: Storage) -> str:
    return storage.url.replace("+psycopg", "")


class RawInserts:
    """The same rows by hand, a transaction's entries in one statement, after which the trigger finds them balanced."""

    def __init__(self, storage: Storage) -> None:
        self._connection = psycopg.connect(driver_url(storage))
        self._ids = count(10_000_000)

    def post(self, some: Sequence[Posting]) -> None:
        cursor = self._connection.cursor()
        for p in some:
            number = next(self._ids)
            (a, x), (b, y) = p.entries
            cursor.execute(ENTRIES, (a, number, x, b, number, y))
            cursor.execute(TRANSACTION, (number, p.key, p.kind, to_micros(p.at), p.subject, p.memo, p.actor))
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


def compare(server: postgresql.Server, template: str, name: str, *, commits: int, size: int, rounds: int, times: float) -> Row:
    with fresh(server, template) as storage:
        populate(storage, Crowd(owners=USERS, each=1))
        raw = RawInserts(storage)

        def rate(side: str, number: int) -> float:
            todo = batches(side, number, commits, size)
            begun = time.perf_counter()
            for some in todo:
                if side == "ours":
                    assert post_postings(storage, some) == size
                else:
                    raw.post(some)
            return commits * size / (time.perf_counter() - begun)

        interleaved(lambda n: rate("ours", n), lambda n: rate("raw", n), rounds=2)
        value, baseline = interleaved(lambda n: rate("ours", n + 2), lambda n: rate("raw", n + 2), rounds=rounds)
        raw.close()
    return at_least(name, value, "postings/s", baseline, times=times)


def crowd(server: postgresql.Server, template: str, *, each: int, rounds: int) -> Row:
    """Eight workers that pay into one wallet, and the same work into eight."""
    with fresh(server, template) as storage, ThreadPoolExecutor(WORKERS) as pool:
        populate(storage, Crowd(owners=USERS, each=1))

        def rate(spread: bool, number: int) -> float:
            def work(worker: int) -> None:
                user = f"user{worker if spread else 0:05d}"
                for n in range(each):
                    key = f"{spread}:{number}:{worker}:{n}"
                    post_postings(storage, [recharge(key=key, user=user, amount_micros=1, at=NOON, actor="bench", memo="")])

            begun = time.perf_counter()
            list(pool.map(work, range(WORKERS)))
            return WORKERS * each / (time.perf_counter() - begun)

        interleaved(lambda n: rate(False, n), lambda n: rate(True, n), rounds=2)
        hot, cool = interleaved(lambda n: rate(False, n + 2), lambda n: rate(True, n + 2), rounds=rounds)
    return at_least("postgresql: eight workers on one account against eight", hot, "postings/s", cool, times=0.9)


def settle_seconds(server: postgresql.Server, template: str, runs: int) -> float:
    with fresh(server, template) as storage:
        populate(storage, Crowd(owners=runs // 10, each=10))
        begun = time.perf_counter()
        assert settle_usage(storage, now=NOON) == runs
        return time.perf_counter() - begun


def copy_seconds(server: postgresql.Server, template: str, runs: int) -> float:
    """The same transactions, entries and bill lines by COPY, in one transaction."""
    with fresh(server, template) as storage:
        populate(storage, Crowd(owners=runs // 10, each=10))
        opened, at = NOON - timedelta(hours=1), to_micros(NOON)
        amount = cost_micros(MICROS, opened, NOON)
        names = [(n + 10_000_000, f"user{n // 10:05d}-{n % 10}") for n in range(runs)]
        keys = {name: f"run:run-{name}:{NOON.isoformat()}" for _, name in names}
        transactions = [(number, keys[name], "charge_compute", at, f"run:run-{name}", "", "billing") for number, name in names]
        entries = [row for n, name in names for row in ((f"wallet:{name[:9]}", n, -amount), ("platform:revenue", n, amount))]
        about = ("charge_compute", PRICE, to_micros(opened), at, 3600, amount, at)
        lines = [(keys[name], name[:9], about[0], f"run:run-{name}", name, *about[1:]) for _, name in names]
        columns = "key, owner, kind, subject, workspace_id, price_version_id, from_at, until_at, quantity, amount_micros, at"
        with psycopg.connect(driver_url(storage)) as connection:
            begun = time.perf_counter()
            for table, rows in (
                ("entries (account, transaction_id, amount_micros)", entries),
                ("transactions (id, idempotency_key, kind, at, subject, memo, actor)", transactions),
                (f"bill_lines ({columns})", lines),
            ):
                with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.commit()
            return time.perf_counter() - begun


def run() -> list[Row]:
    why = postgresql.missing()
    if why:
        print(why, file=sys.stderr)
        return []
    with postgresql.server(durable=True) as server:
        url = server.database()
        migrate(url)
        template = server.name_of(url)
        rows = [
            compare(server, template, "postgresql: one posting a commit", commits=300, size=1, rounds=7, times=0.8),
            compare(server, template, "postgresql: batches of 1,000", commits=3, size=1_000, rounds=5, times=2),
            crowd(server, template, each=40, rounds=5),
        ]
        ours = sorted(settle_seconds(server, template, 100_000) for _ in range(3))[1]
        theirs = sorted(copy_seconds(server, template, 100_000) for _ in range(3))[1]
        rows.append(at_most("postgresql: a pass over 100,000 runs", ours, "s", theirs, times=8))
        small = sorted(settle_seconds(server, template, 1_000) for _ in range(3))[1]
        rows.append(at_most("postgresql: seconds for 1,000 runs at 100,000 against at 1,000", ours / 100, "s", small, times=1.5))
    return rows
