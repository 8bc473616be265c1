"""The audit halts posting as a whole when the books are wrong, says so, holds up no stop, and lets an operator go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ark_extensions.domain.errors import Conflict, PostingHalted
from ark_extensions.domain.ledger import run_charge_key
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import (
    assets,
    audit,
    books,
    gifts,
    halts,
    launches,
    notices,
    operator,
    recharges,
    settlement,
    users,
    wallet,
    workspaces,
)
from ark_extensions.usecases.charges import Charge, post_charges
from ark_extensions.web.i18n import render
from tests.unit import purse_stage
from tests.unit.purse_stage import ORDER, T0, run, sqlite, stop

HOUR = timedelta(hours=1)


def furnish(storage: Storage) -> None:
    purse_stage.furnish(storage, 100 * MICROS)
    users.ensure_user(storage, name="root", admin=True, opening_credit_micros=0, now=T0)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(sqlite(tmp_path))
    furnish(storage)
    yield storage
    storage.close()


def falsify(storage: Storage, micros: int = 1) -> None:
    with storage.write() as connection:
        connection.exec_driver_sql(f"UPDATE accounts SET balance_micros = balance_micros + {micros} WHERE name = 'platform:gifts'")


def balance(storage: Storage, user: str = "alice") -> int:
    return wallet.wallet(storage, user=user, now=T0).balance_micros


def words(halt: halts.Halt, language: str = "en") -> list[str]:
    return [render(said, language, "CNY") for said in halt.found]


def resume(storage: Storage) -> tuple[list[books.Difference], int]:
    return books.resume_posting(storage, actor="root", reason="looked into it", now=T0 + 3 * HOUR)


def test_books_that_add_up_halt_nothing(storage: Storage) -> None:
    assert books.audit_books(storage, now=T0) == []
    assert halts.posting_halt(storage) is None
    with pytest.raises(Conflict):
        resume(storage)


def test_what_halted_is_said_in_the_readers_language_also_of_an_earlier_version(storage: Storage) -> None:
    falsify(storage)
    books.audit_books(storage, now=T0)
    stopped = halts.posting_halt(storage)
    assert stopped is not None and words(stopped, "zh") == ["platform:gifts：分录合计 -200000000，余额记为 -199999999"]
    with storage.write() as connection:  # as it was kept before: English, and already filled
        connection.exec_driver_sql("""UPDATE posting_halts SET found = '["posted before: {1}"]'""")
    stopped = halts.posting_halt(storage)
    assert stopped is not None and words(stopped, "zh") == ["posted before: {1}"]


def test_a_difference_halts_every_posting_and_tells_the_administrators(storage: Storage) -> None:
    workspace_id, _, launch_id = run(storage, T0)
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + HOUR)
    view = recharges.begin_recharge(storage, user="alice", request_id="p", provider="stripe", amount_micros=5 * MICROS, now=T0)
    falsify(storage)
    assert [d.kind for d in books.audit_books(storage, now=T0 + HOUR)] == ["balance"]
    stopped = halts.posting_halt(storage)
    assert stopped is not None and words(stopped) == ["platform:gifts: entries say -200000000, balance says -199999999"]
    assert [n.kind for n in notices.list_notices(storage, owner="root")] == ["posting_halted"]
    assert notices.list_notices(storage, owner="alice") == []
    paid = {"provider": "stripe", "reference": "cs", "amount_micros": 5 * MICROS, "currency": "CNY", "own_currency": "CNY", "now": T0}
    about = {"user": "alice", "actor": "root", "reason": "x", "request_id": "r", "now": T0}
    for act in (
        lambda: settlement.settle_usage(storage, now=T0 + HOUR),
        lambda: recharges.recharge_paid(storage, recharge_id=view.id, **paid),
        lambda: assets.buy_asset(storage, user="alice", request_id="a", offer="month", months=1, auto_renew=False, now=T0),
        lambda: operator.credit(storage, amount_micros=1, **about),
        lambda: operator.correct(storage, amount_micros=1, **about),
    ):
        with pytest.raises(PostingHalted):
            act()
    assert recharges.get_recharge(storage, user="alice", recharge_id=view.id).status == "pending"
    assert assets.list_assets(storage, user="alice", now=T0) == []
    resume(storage)
    assert recharges.recharge_paid(storage, recharge_id=view.id, **paid), "the provider asks again"
    assert settlement.settle_usage(storage, now=T0 + HOUR) == 1


def test_what_ends_meanwhile_stops_all_the_same_and_is_charged_once_posting_goes_on(storage: Storage) -> None:
    workspace_id, name, launch_id = run(storage, T0)
    falsify(storage)
    books.audit_books(storage, now=T0)
    stop(storage, workspace_id, launch_id, T0 + HOUR)
    users.ensure_user(storage, name="new", admin=False, opening_credit_micros=7 * MICROS, now=T0)
    assert workspaces.get_workspace(storage, owner="alice", name=name, now=T0 + HOUR).state is State.STOPPED
    assert balance(storage) == 100 * MICROS and balance(storage, "new") == 0
    stopped = halts.posting_halt(storage)
    assert stopped is not None and stopped.waiting == 2
    falsify(storage, -1)
    assert books.check_books(storage) == [], "what waits is no difference"
    assert resume(storage) == ([], 2)
    assert balance(storage) == 96_400_000 and balance(storage, "new") == 7 * MICROS
    assert books.audit_books(storage, now=T0 + 4 * HOUR) == [] and halts.posting_halt(storage) is None
    assert [act.act for act in audit.list_acts(storage, subject="books").items] == ["resume_posting"]


def test_an_accepted_difference_does_not_halt_again_and_a_new_one_does(storage: Storage) -> None:
    falsify(storage)
    books.audit_books(storage, now=T0)
    assert [d.kind for d in resume(storage)[0]] == ["balance"]
    assert len(books.audit_books(storage, now=T0)) == 1 and halts.posting_halt(storage) is None
    falsify(storage)
    books.audit_books(storage, now=T0)
    assert halts.posting_halt(storage) is not None


def test_a_charge_found_posted_already_halts_in_the_same_transaction_and_charges_nothing(storage: Storage) -> None:
    workspace_id, _, launch_id = run(storage, T0)
    other_id, _, other_launch = run(storage, T0, replace(ORDER, request_id="r2"), user="bob")
    launches.record_alive(storage, alive={workspace_id: launch_id, other_id: other_launch}, now=T0 + HOUR)
    with storage.write() as connection:
        run_id = connection.exec_driver_sql("SELECT id FROM runs WHERE owner = 'alice'").scalar_one()
        key, about = run_charge_key(run_id, T0 + HOUR), (T0, T0 + HOUR, 3600)
        post_charges(connection, [Charge(key, "alice", "charge_compute", f"run:{run_id}", 3_600_000, *about)], T0)
    with pytest.raises(PostingHalted):
        settlement.settle_usage(storage, now=T0 + HOUR)
    stopped = halts.posting_halt(storage)
    assert stopped is not None and words(stopped)[0].startswith("duplicate")
    due = wallet.wallet(storage, user="bob", now=T0 + HOUR).balance_micros
    assert due == 100 * MICROS - 3_600_000, "what is due is known, though nothing is posted"
    assert wallet.list_transactions(storage, user="bob").items[0].kind == "gift"
    assert gifts.expire_credit(storage, now=T0 + HOUR) == 0


@pytest.mark.parametrize(("change", "kind"), [(3_600_000_000, "gap"), (-1_000_000, "duplicate")])
def test_a_second_billed_twice_or_never_is_found(storage: Storage, change: int, kind: str) -> None:
    workspace_id, _, launch_id = run(storage, T0)
    for hours in (1, 2):
        launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + hours * HOUR)
        settlement.settle_usage(storage, now=T0 + hours * HOUR)
    with storage.write() as connection:
        newest = connection.exec_driver_sql("SELECT max(from_at) FROM bill_lines").scalar_one()
        connection.exec_driver_sql(f"UPDATE bill_lines SET from_at = from_at + {change} WHERE from_at = {newest}")
    assert [d.kind for d in books.audit_books(storage, now=T0)] == [kind]
    assert halts.posting_halt(storage) is not None
