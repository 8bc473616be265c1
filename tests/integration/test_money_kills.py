"""kill -9 at any moment of settling, buying and paying in: what was acknowledged is stored, nothing is charged twice.

Each child is a fork that does a little of everything and writes an acknowledgement after each; its parent kills it within
a few milliseconds. ``ARK_KILLS`` kills more (`make soak`).
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, bills, books, launches, market, orders, recharges, settlement, wallet
from tests.unit.purse_stage import ORDER, T0, run, sqlite, stage

KILLS = int(os.environ.get("ARK_KILLS", "2000"))
#: how long the first life may last, and any
FIRST_SECONDS, LONGEST_SECONDS = 0.08, 0.25


def pay_in(storage: Storage, number: int, user: str, now: datetime) -> str:
    about = {"user": user, "provider": "stripe", "amount_micros": MICROS, "now": now}
    view = recharges.begin_recharge(storage, request_id=f"p{number}", **about)
    fact = {"provider": "stripe", "currency": "CNY", "own_currency": "CNY", "amount_micros": MICROS, "now": now}
    recharges.recharge_paid(storage, recharge_id=view.id, reference=f"cs{number}", **fact)
    return f"paid {view.id}"


def settle(storage: Storage, number: int, user: str, now: datetime) -> str:
    with storage.read() as connection:
        alive = dict(connection.exec_driver_sql("SELECT workspace_id, launch_id FROM runs WHERE closed_at IS NULL").all())
    launches.record_alive(storage, alive=alive, now=now)
    settlement.settle_usage(storage, now=now)
    return "settled"


def order(storage: Storage, number: int, user: str, now: datetime) -> str:
    wanted = replace(ORDER, request_id=f"o{number}")
    return f"ordered {orders.place_order(storage, user=user, order=wanted, now=now, max_workspaces=10**6).id}"


def buy(storage: Storage, number: int, user: str, now: datetime) -> str:
    about = {"user": user, "offer": "month", "months": 1, "auto_renew": False, "now": now}
    return f"bought {assets.buy_asset(storage, request_id=f'a{number}', **about).id}"


ACTS = (pay_in, settle, order, buy)


def live(url: str, number: int, acknowledge: int) -> None:
    """A child's life: the acts, each child beginning with another; each acknowledged after its commit."""
    storage = Storage(url)
    now, user = T0 + timedelta(minutes=number + 1), ("alice", "bob")[number % 2]
    for n in range(len(ACTS)):
        os.write(acknowledge, (ACTS[(number + n) % len(ACTS)](storage, number, user, now) + "\n").encode())
    storage.close()


def one_life(url: str, number: int, seconds: float) -> list[list[str]]:
    """Fork, kill after ``seconds``, and return what was acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            live(url, number, writing)
        finally:
            os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        select.select([], [], [], left)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    text = b""
    while block := os.read(reading, 65_536):
        text += block
    os.close(reading)
    return [line.split() for line in text.decode().splitlines()]


def many_lives(url: str, rng: random.Random) -> Iterator[list[str]]:
    """What each life has acknowledged. However fast the machine and large the database, most kills come in the middle of something:
    lives get longer when nothing was done in one and shorter when one did all."""
    longest = FIRST_SECONDS
    for number in range(KILLS):
        done = one_life(url, number, rng.uniform(0, longest))
        longest = min(longest * (0.9 if len(done) == len(ACTS) else 1 if done else 1.03), LONGEST_SECONDS)
        yield from done


def test_every_acknowledged_thing_is_stored_and_nothing_is_charged_twice(tmp_path: Path) -> None:
    url = sqlite(tmp_path)
    storage = stage(url, opening=1_000_000 * MICROS)
    market.set_nodes(storage, nodes=[Node("local", 10**6, 10**9)])
    for n in range(5):
        run(storage, T0, replace(ORDER, request_id=f"first{n}"))
    storage.close()  # children must not share a connection
    rng = random.Random(20261123)
    acknowledged = list(many_lives(url, rng))
    storage = Storage(url)
    assert books.check_books(storage) == []
    paid = {said[1] for said in acknowledged if said[0] == "paid"}
    arrived = [v.id for v in recharges.list_recharges(storage, status="paid", limit=10**6).items]
    assert paid <= set(arrived)
    recharged = sum(
        m.amount_micros
        for u in ("alice", "bob")
        for m in wallet.list_transactions(storage, user=u, limit=10**6).items
        if m.kind == "recharge"
    )
    assert recharged == len(arrived) * MICROS
    with storage.read() as connection:
        workspaces = set(connection.exec_driver_sql("SELECT id FROM workspaces").scalars())
        claimed = set(connection.exec_driver_sql("SELECT holder FROM claims").scalars())
        bought = set(connection.exec_driver_sql("SELECT id FROM assets").scalars())
        charged = connection.exec_driver_sql("SELECT subject, from_at, count(*) FROM bill_lines GROUP BY 1, 2 HAVING count(*) > 1").all()
    assert {said[1] for said in acknowledged if said[0] == "ordered"} <= workspaces
    assert {said[1] for said in acknowledged if said[0] == "bought"} <= bought
    assert claimed == workspaces | bought, "an order and its stock are one"
    assert charged == [], "each second of a run is charged once"
    kinds = {said[0] for said in acknowledged}
    assert kinds == {"paid", "settled", "ordered", "bought"}, "kills came before, between and after everything"
    lines = bills.bill(storage, user="alice", month=T0.date()).lines
    assert lines
    storage.close()
