"""One settling pass over many running workspaces, against a raw bulk insert of the rows that it writes.

The pass reads the runs, charges each (from credit first), writes a transaction, its entries and a bill line, moves the
balances and marks the run; in batches, each a commit, so that a crash in between loses and repeats nothing. The raw side
writes the same transactions, entries and bill lines into a copy of the same database by `executemany`, once.
"""

from __future__ import annotations

import sqlite3
import time
from datetime import timedelta

from sqlalchemy.engine import make_url

from ark_extensions.domain.metering import cost_micros
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage
from ark_extensions.storage.types import to_micros
from ark_extensions.usecases.settlement import settle_usage
from bench.journal import INSERT_ENTRY, INSERT_TRANSACTION
from bench.measure import Row, at_most, no_more_than
from bench.population import NOON, PRICE, Crowd, fresh_storage, populate

EACH = 10
OPENED = NOON - timedelta(hours=1)
INSERT_LINE = (
    "INSERT INTO bill_lines (key, owner, kind, subject, workspace_id, price_version_id, from_at, until_at, quantity, amount_micros, at) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)


def pass_seconds(storage: Storage, runs: int) -> float:
    populate(storage, Crowd(owners=runs // EACH, each=EACH))
    begun = time.perf_counter()
    posted = settle_usage(storage, now=NOON)
    taken = time.perf_counter() - begun
    assert posted == runs, f"{posted} of {runs} were charged"
    return taken


def raw_seconds(storage: Storage, runs: int) -> float:
    populate(storage, Crowd(owners=runs // EACH, each=EACH))
    at, opened, amount = to_micros(NOON), to_micros(OPENED), cost_micros(MICROS, OPENED, NOON)
    names = [f"user{n // EACH:05d}-{n % EACH}" for n in range(runs)]
    keys = [(n + 10_000_000, f"run:run-{name}:{NOON.isoformat()}", name, name[:9]) for n, name in enumerate(names)]
    transactions = [(number, key, "charge_compute", at, f"run:run-{name}", "", "billing") for number, key, name, _ in keys]
    entries = [row for number, _, _, owner in keys for row in ((f"wallet:{owner}", number, -amount), ("platform:revenue", number, amount))]
    lines = [(k, o, "charge_compute", f"run:run-{n}", n, PRICE, opened, at, 3600, amount, at) for _, k, n, o in keys]
    connection = sqlite3.connect(make_url(storage.url).database or "", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    begun = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT_ENTRY, entries)
    connection.executemany(INSERT_TRANSACTION, transactions)
    connection.executemany(INSERT_LINE, lines)
    connection.execute("COMMIT")
    taken = time.perf_counter() - begun
    connection.close()
    return taken


def median_of(side: object, runs: int, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        with fresh_storage() as storage:
            taken.append(side(storage, runs))  # type: ignore[operator]
    return sorted(taken)


def run() -> list[Row]:
    ours = median_of(pass_seconds, 100_000, 3)[1]
    raw = median_of(raw_seconds, 100_000, 3)[1]
    small = median_of(pass_seconds, 1_000, 5)[2]
    growth = (ours / 100_000) / (small / 1_000)
    return [
        at_most("settling: a pass over 100,000 runs", ours, "s", raw, times=4),
        no_more_than("settling: time a run, at 100,000 against at 1,000", growth, "times", limit=1.5),
    ]
