"""A seeded simulation of everything that moves money, against a naive reference model. The same seed replays the same life.

The model knows nothing of journals: it keeps what each user paid in, and for each run, disk and term the price, when it
began and the last moment that may be charged. At the end both must agree to the micro-unit, with the books balanced.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import (
    arrears,
    assets,
    books,
    budgets,
    conversions,
    gifts,
    launches,
    market,
    orders,
    recharges,
    reconciliation,
    settlement,
    wallet,
    workspaces,
)
from ark_extensions.usecases.views import WorkspaceOrder
from tests.unit.purse_stage import CATALOG, T0

USERS = ("alice", "bob")


def halves_down(value: Fraction) -> int:
    """The nearest integer, halves down: the reference's own rounding."""
    return -((-2 * value + 1) // 2) if value.denominator != 1 else value.numerator


@dataclass
class RunFact:
    user: str
    price: int
    began: datetime
    seen: datetime
    open: bool = True

    def cost(self) -> int:
        return halves_down(Fraction(self.price * int((self.seen - self.began) / timedelta(seconds=1)), 3600))


@dataclass
class Living:
    """A server that runs at the simulated Hub."""

    workspace_id: str
    launch_id: str
    owner: str
    name: str


@dataclass
class Simulation:
    storage: Storage
    seed: int
    now: datetime = T0
    paid_in: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 100 * MICROS))
    terms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    runs: dict[str, RunFact] = field(default_factory=dict)
    hub: dict[str, Living] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    used: dict[str, int] = field(default_factory=dict)
    widest: dict[str, int] = field(default_factory=dict)
    deepest: int = 0
    given_back: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.count = 0
        self.prices = [(T0 - timedelta(days=1), 3_600_000)]

    # ------------------------------------------------------------------ steps

    def step(self) -> None:
        self.count += 1
        self.now += timedelta(microseconds=1)  # no two things happen at one moment
        name = self.random.choices(list(STEPS), weights=[weight for weight, _ in STEPS.values()])[0]
        try:
            STEPS[name][1](self)
            self.done[name] = self.done.get(name, 0) + 1
        except ArkError:
            self.refused += 1

    def user(self) -> str:
        return self.random.choice(USERS)

    def pass_time(self) -> None:
        self.now += timedelta(seconds=self.random.choice([1, 7, 60, 600, 3599, 3600, 7200]), microseconds=self.random.randrange(1_000_000))

    def jump_clock(self) -> None:
        jump = self.random.choice([timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)])
        self.now += self.random.choice([-1, 1]) * jump

    def order(self) -> None:
        user = self.user()
        order = WorkspaceOrder(f"r{self.count}", "cpu", "python-cpu", data_disk_gib=self.random.choice([0, 0, 200]))
        order = replace(order, budget_run_micros=self.random.choice([None, None, 5 * MICROS]))
        view = orders.place_order(self.storage, user=user, order=order, now=self.now, max_workspaces=6)
        again = orders.place_order(self.storage, user=user, order=order, now=self.now, max_workspaces=6)
        assert again.id == view.id
        self.launch(user, view.name, view.id)

    def start(self) -> None:
        view = self.random.choice(self.mine(State.STOPPED, State.FAILED))
        launches.request_start(self.storage, owner=view.owner, name=view.name, actor=view.owner, now=self.now)
        self.launch(view.owner, view.name, view.id)

    def launch(self, owner: str, name: str, workspace_id: str) -> None:
        if self.random.random() < 0.1:
            return  # the console died between order and Hub: the reconciler finds it
        spec = launches.authorize_launch(self.storage, owner=owner, server_name=name, workspace_id=workspace_id, now=self.now)
        if self.random.random() < 0.15:
            failed = {"exit_code": 1, "was_ready": False}
            launches.record_stop(self.storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=self.now, **failed)
            return
        launches.record_ready(self.storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=self.now)
        launches.record_ready(self.storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=self.now + timedelta(hours=1))
        self.hub[workspace_id] = Living(workspace_id, spec.launch_id, owner, name)
        self.note_run(workspace_id, owner)

    def note_run(self, workspace_id: str, owner: str) -> None:
        [run] = [
            r for r in wallet.list_runs(self.storage, user=owner, month=None, now=self.now) if r.closed_at is None and r.id not in self.runs
        ]
        self.runs[run.id] = RunFact(owner, self.price_now(), run.opened_at, run.opened_at)
        self.runs[workspace_id] = self.runs[run.id]

    def beat(self) -> None:
        launches.record_alive(self.storage, alive={s.workspace_id: s.launch_id for s in self.hub.values()}, now=self.now)
        for living in self.hub.values():
            fact = self.runs[living.workspace_id]
            fact.seen = max(fact.seen, self.now)

    def stop(self) -> None:
        living = self.random.choice(list(self.hub.values()))
        launches.request_stop(self.storage, owner=living.owner, name=living.name, actor=living.owner, reason=StopReason.USER, now=self.now)
        self.end(living)

    def end(self, living: Living) -> None:
        """The Hub stops a server; it was seen until then."""
        self.hub.pop(living.workspace_id)
        fact = self.runs[living.workspace_id]
        launches.record_alive(self.storage, alive={living.workspace_id: living.launch_id}, now=self.now)
        fact.seen = max(fact.seen, self.now)
        gone = {"exit_code": 0, "was_ready": True}
        for _ in range(2):
            launches.record_stop(self.storage, workspace_id=living.workspace_id, launch_id=living.launch_id, now=self.now, **gone)
        self.close(living, fact)

    def close(self, living: Living, fact: RunFact) -> None:
        """The run's end as the platform wrote it: never after the last moment it was seen."""
        if not fact.open:
            return
        views = wallet.list_runs(self.storage, user=living.owner, month=None, now=self.now)
        closed_at = next(r.closed_at for r in views if self.runs.get(r.id) is fact)
        assert closed_at is not None and closed_at <= max(fact.seen, fact.began)
        fact.seen, fact.open = closed_at, False

    def lose(self) -> None:
        """A node dies: nothing is reported; the reconciler asks the Hub, which knows nothing."""
        living = self.random.choice(list(self.hub.values()))
        self.hub.pop(living.workspace_id)
        # also when the clock went back: the run was seen in what is now the future
        self.now = max(self.now, self.runs[living.workspace_id].seen) + timedelta(hours=3)
        self.reconcile()
        self.close(living, self.runs[living.workspace_id])

    def reconcile(self) -> None:
        for suspect in reconciliation.suspects(self.storage, now=self.now):
            state = "ready" if suspect.workspace_id in self.hub else "absent"
            reconciliation.mend(self.storage, suspect=suspect, hub_state=state, now=self.now)

    def bill(self) -> None:
        for _ in range(self.random.choice([1, 2])):
            settlement.settle_usage(self.storage, now=self.now)
        stops = settlement.watch_wallets(self.storage, now=self.now) + budgets.spent_budgets(self.storage, now=self.now)
        stops += assets.run_terms(self.storage, now=self.now)
        gifts.expire_credit(self.storage, now=self.now)
        arrears.run_arrears(self.storage, keep_days=14, recycle_days=7, now=self.now)
        for order in stops:
            if order.workspace_id in self.hub:
                self.end(self.hub[order.workspace_id])
        self.watch_overdraft()

    def watch_overdraft(self) -> None:
        """A wallet is below zero by what was used between two looks of the billing service, and by no more."""
        with self.storage.read() as connection:
            query = "SELECT owner, sum(amount_micros) FROM bill_lines WHERE kind IN ('charge_compute', 'charge_disk') GROUP BY 1"
            used = {owner: int(total) for owner, total in connection.exec_driver_sql(query)}
            held = dict(connection.exec_driver_sql("SELECT name, balance_micros FROM accounts").all())
        for user in USERS:
            since = used.get(user, 0) - self.used.get(user, 0)
            self.widest[user] = max(self.widest.get(user, 0), since)
            overdraft = -min(held.get(f"wallet:{user}", 0), 0)
            assert overdraft <= self.widest[user], f"seed {self.seed}: {user} owes {overdraft}, used {self.widest[user]}"
            self.deepest = max(self.deepest, overdraft)
        self.used = used

    def pay(self) -> None:
        user, amount = self.user(), self.random.choice([1, 20, 50]) * MICROS
        view = recharges.begin_recharge(
            self.storage, user=user, request_id=f"p{self.count}", provider="stripe", amount_micros=amount, now=self.now
        )
        fact = {"provider": "stripe", "reference": f"cs{self.count}", "amount_micros": amount, "currency": "CNY", "own_currency": "CNY"}
        for _ in range(self.random.choice([1, 1, 3])):
            recharges.recharge_paid(self.storage, recharge_id=view.id, **fact, now=self.now)
        self.paid_in[user] += amount

    def buy_term(self) -> None:
        user = self.user()
        before = assets.list_assets(self.storage, user=user, now=self.now)
        for _ in range(2):
            assets.buy_asset(self.storage, user=user, request_id=f"a{self.count}", offer="month", months=1, auto_renew=False, now=self.now)
        assert len(assets.list_assets(self.storage, user=user, now=self.now)) == len(before) + 1
        self.terms[user] += 50 * MICROS

    def convert(self) -> None:
        """A term is given up, twice: the money for whole days not begun comes back, as the rule says, once."""
        user = self.user()
        live = [a for a in assets.list_assets(self.storage, user=user, now=self.now) if a.ended_at is None]
        if not live:
            raise ArkError("Nothing to act on.")
        asset = min(live, key=lambda a: (a.expires_at, a.bought_at))
        about = {"owner": user, "asset_id": asset.id, "percent": 80, "actor": user, "now": self.now}
        plan = conversions.convert_asset(self.storage, **about)
        conversions.convert_asset(self.storage, **about)
        days = (asset.expires_at - asset.bought_at).days
        left = min(days, max(0, (asset.expires_at - self.now).days))
        assert 0 <= plan.back_micros <= 50 * MICROS * left * 80 // (days * 100) + 1, f"seed {self.seed}"
        self.given_back[user] += plan.back_micros

    def price_now(self) -> int:
        """The newest price that has begun, by a clock that may have gone back."""
        return max(p for p in self.prices if p[0] <= self.now)[1]

    def change_price(self) -> None:
        price = self.random.choice([1_800_000, 3_600_000, 7_200_001])
        if price != self.price_now():
            offer = {**CATALOG["offers"][0], "price": f"{price / MICROS:.6f}"}  # type: ignore[dict-item]
            market.seed_catalog(self.storage, catalog={"offers": [offer]}, now=self.now)
            self.prices.append((self.now, price))

    def release(self) -> None:
        view = self.random.choice(self.mine(State.STOPPED, State.FAILED))
        workspaces.release_workspace(
            self.storage, owner=view.owner, name=view.name, confirm=view.name, actor=view.owner, now=self.now, recycle_days=7
        )
        if self.random.random() < 0.3:
            workspaces.restore_workspace(self.storage, owner=view.owner, name=view.name, actor=view.owner, now=self.now)

    def mine(self, *states: State) -> list:
        found = [v for v in workspaces.list_workspaces(self.storage, now=self.now) if v.state in states]
        if not found:
            raise ArkError("Nothing to act on.")
        return sorted(found, key=lambda v: (v.owner, v.name))  # ids are random: the seed must replay

    # ------------------------------------------------------------------ verdict

    def verdict(self) -> None:
        """Stop everything, settle, and compare with the model."""
        for living in list(self.hub.values()):
            self.end(living)
        settlement.settle_usage(self.storage, now=self.now)
        assert books.check_books(self.storage) == []
        facts = {id(fact): fact for fact in self.runs.values()}.values()
        for user in USERS:
            moves = wallet.list_transactions(self.storage, user=user, limit=500_000).items
            by_kind: dict[str, int] = {}
            for move in moves:
                by_kind[move.kind] = by_kind.get(move.kind, 0) + move.amount_micros
            assert by_kind.get("gift", 0) + by_kind.get("recharge", 0) == self.paid_in[user], f"seed {self.seed}"
            assert -by_kind.get("charge_compute", 0) == sum(f.cost() for f in facts if f.user == user), f"seed {self.seed}"
            assert -by_kind.get("charge_term", 0) == self.terms[user], f"seed {self.seed}"
            assert by_kind.get("convert", 0) == self.given_back[user], f"seed {self.seed}"
        sold = [r for user in USERS for r in wallet.list_runs(self.storage, user=user, month=None, now=self.now)]
        assert len(sold) == len(facts), "no charge without a run, no run without a start"


STEPS = {
    "time": (20, Simulation.pass_time),
    "clock": (2, Simulation.jump_clock),
    "order": (6, Simulation.order),
    "start": (6, Simulation.start),
    "beat": (25, Simulation.beat),
    "stop": (6, lambda s: s.stop() if s.hub else None),
    "lose": (2, lambda s: s.lose() if s.hub else None),
    "reconcile": (5, Simulation.reconcile),
    "bill": (12, Simulation.bill),
    "pay": (5, Simulation.pay),
    "term": (1, Simulation.buy_term),
    "convert": (1, Simulation.convert),
    "price": (1, Simulation.change_price),
    "release": (3, Simulation.release),
}
