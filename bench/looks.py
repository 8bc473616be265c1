"""Auto-stop's and billing's look at 10,000 running workspaces, against the bare SQL that reads the same facts.

The bare side is `sqlite3` on the same file, fetching the facts that the decision needs for every running workspace into
plain rows. Nothing is due in the measured looks: this is what a service does every second of a quiet day.
"""

from __future__ import annotations

import sqlite3
from datetime import timedelta

from sqlalchemy.engine import make_url

from ark_extensions.storage import Storage
from ark_extensions.usecases.deadlines import due_stops
from ark_extensions.usecases.settlement import settle_usage, watch_wallets
from bench.measure import Row, at_most, interleaved, seconds
from bench.population import NOON, Crowd, fresh_storage, populate

DEADLINES = "SELECT id, owner, name, auto_stop_at, idle_stop_minutes, idle_stop_at, warned FROM workspaces WHERE state = 'running'"
OPEN_RUNS = "SELECT id, owner, workspace_id, price_micros_per_hour, opened_at, seen_at, charged_micros FROM runs WHERE closed_at IS NULL"
BURN = """SELECT r.owner, a.balance_micros, sum(r.price_micros_per_hour) FROM runs r
JOIN accounts a ON a.name = 'wallet:' || r.owner WHERE r.closed_at IS NULL GROUP BY r.owner"""
ROUNDS = 21


def bare(storage: Storage, query: str) -> float:
    connection = sqlite3.connect(make_url(storage.url).database or "")
    connection.execute("SELECT 1").fetchall()
    try:
        return seconds(lambda: connection.execute(query).fetchall())
    finally:
        connection.close()


def run() -> list[Row]:
    rows = []
    with fresh_storage() as storage:
        populate(storage, Crowd(owners=1_000, each=10, auto_stop_at=NOON + timedelta(hours=5), idle_stop_minutes=600))
        settle_usage(storage, now=NOON)  # the first charges: afterwards there is nothing to post
        looks = {
            "look of auto-stop at 10,000": (lambda: due_stops(storage, now=NOON), DEADLINES),
            "look of settlement at 10,000": (lambda: settle_usage(storage, now=NOON), OPEN_RUNS),
            "look at the wallets of 10,000": (lambda: watch_wallets(storage, now=NOON), BURN),
        }
        for name, (look, query) in looks.items():
            look()
            ours, theirs = interleaved(lambda _, look=look: seconds(look), lambda _, q=query: bare(storage, q), rounds=ROUNDS)  # type: ignore[misc]
            rows.append(at_most(name, ours * 1000, "ms", theirs * 1000, times=5.0))
    return rows
