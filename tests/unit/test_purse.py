"""The whole purse through its use cases: recharge, vouchers, the operator's acts, arrears, budgets, bills, prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import Conflict, Forbidden, InsufficientBalance, InvalidField, NotFound
from ark_extensions.domain.money import MICROS
from ark_extensions.domain.vouchers import derive, hash_code, write_code
from ark_extensions.domain.workspaces import State
from ark_extensions.storage import Storage
from ark_extensions.usecases import (
    arrears,
    audit,
    bills,
    books,
    budgets,
    events,
    launches,
    leases,
    market,
    notices,
    operator,
    orders,
    price_changes,
    recharges,
    settlement,
    users,
    vouchers,
    wallet,
    workspaces,
)
from tests.unit.purse_stage import ORDER, T0, run, sqlite, stage, stop

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = stage(sqlite(tmp_path))
    yield storage
    assert books.check_books(storage) == []
    storage.close()


def balance(storage: Storage, user: str = "alice") -> int:
    return wallet.wallet(storage, user=user, now=T0).balance_micros // MICROS


def begin(storage: Storage, request_id: str = "p1", amount: int = 50, provider: str = "stripe") -> recharges.RechargeView:
    about = {"user": "alice", "request_id": request_id, "provider": provider}
    return recharges.begin_recharge(storage, **about, amount_micros=amount * MICROS, now=T0)


def paid(storage: Storage, recharge_id: str, **changes: object) -> bool:
    facts = {"provider": "stripe", "reference": "cs_1", "amount_micros": 50 * MICROS, "currency": "CNY", "own_currency": "CNY", "now": T0}
    return recharges.recharge_paid(storage, recharge_id=recharge_id, **{**facts, **changes})


def test_a_callback_that_comes_twice_pays_once(storage: Storage) -> None:
    view = begin(storage)
    assert begin(storage).id == view.id
    assert balance(storage) == 100
    assert paid(storage, view.id)
    assert not paid(storage, view.id)
    assert balance(storage) == 150
    assert recharges.get_recharge(storage, user="alice", recharge_id=view.id).status == "paid"


def test_a_callback_for_another_amount_currency_provider_or_nothing_pays_nothing(storage: Storage) -> None:
    view = begin(storage)
    for change in ({"amount_micros": 51 * MICROS}, {"currency": "USD"}):
        with pytest.raises(Conflict):
            paid(storage, view.id, **change)
    for change in ({"provider": "alipay"}, {"recharge_id": "f" * 32}):
        with pytest.raises(NotFound):
            paid(storage, **{"recharge_id": view.id, **change})
    assert balance(storage) == 100


def test_money_that_arrives_late_counts_though_the_recharge_was_given_up(storage: Storage) -> None:
    view = begin(storage)
    with pytest.raises(NotFound):
        recharges.cancel_recharge(storage, user="bob", recharge_id=view.id, now=T0)
    assert recharges.cancel_recharge(storage, user="alice", recharge_id=view.id, now=T0).status == "cancelled"
    assert paid(storage, view.id, now=T0 + 9 * DAY)
    assert balance(storage) == 150
    assert recharges.cancel_recharge(storage, user="alice", recharge_id=view.id, now=T0).status == "paid"


@pytest.mark.parametrize("micros", [0, -MICROS, 999_999, 1_005_000, 10**16])
def test_absurd_recharges_are_refused(storage: Storage, micros: int) -> None:
    with pytest.raises(InvalidField):
        recharges.begin_recharge(storage, user="alice", request_id="x", provider="stripe", amount_micros=micros, now=T0)


def test_only_an_operator_confirms_a_transfer_and_once(storage: Storage) -> None:
    view, other = begin(storage, provider="manual"), begin(storage, "p2")
    for _ in range(2):
        recharges.confirm_transfer(storage, recharge_id=view.id, actor="root", reason="seen on the account", now=T0)
    assert balance(storage) == 150
    with pytest.raises(NotFound):
        recharges.confirm_transfer(storage, recharge_id=other.id, actor="root", reason="x", now=T0)
    assert [act.act for act in audit.list_acts(storage, subject="alice").items] == ["confirm_transfer"]


def test_a_voucher_is_used_once_however_it_is_typed(storage: Storage) -> None:
    batch = {"amount_micros": 20 * MICROS, "count": 2, "expires_at": T0 + DAY, "reason": "course", "actor": "root", "now": T0}
    about = {**batch, "request_id": "v", "key": b"k" * 32, "credit_days": 30}
    batch_id, codes = vouchers.make_vouchers(storage, **about)
    assert len(set(codes)) == 2
    assert vouchers.make_vouchers(storage, **about) == (batch_id, codes), "an answer that was lost is given again"
    with pytest.raises(Conflict):
        vouchers.make_vouchers(storage, **{**about, "count": 3})
    assert vouchers.redeem_voucher(storage, user="alice", code=f" {codes[0].lower().replace('-', ' ')} ", now=T0) == (
        20 * MICROS,
        120 * MICROS,
    )
    for user in ("alice", "bob"):
        with pytest.raises(InvalidField, match="used"):
            vouchers.redeem_voucher(storage, user=user, code=codes[0], now=T0)
    with pytest.raises(InvalidField, match="expired"):
        vouchers.redeem_voucher(storage, user="bob", code=codes[1], now=T0 + DAY)
    with pytest.raises(InvalidField, match="not known"):
        vouchers.redeem_voucher(storage, user="bob", code="x" * 10_000, now=T0)
    assert [(b.count, b.redeemed) for b in vouchers.list_batches(storage)] == [(2, 1)]
    with storage.read() as connection:
        stored = connection.exec_driver_sql("SELECT code_hash FROM vouchers").scalars().all()
    assert not any(code.replace("-", "") in text.upper() for code in codes for text in stored)


def test_codes_of_another_secret_maker_request_or_place_are_others() -> None:
    known = (b"k" * 32, "root", "r1", 0)
    others = [(b"l" * 32, "root", "r1", 0), (b"k" * 32, "eve", "r1", 0), (b"k" * 32, "root", "r2", 0), (b"k" * 32, "root", "r1", 1)]
    assert derive(*known) == derive(*known) and len({derive(*one) for one in (known, *others)}) == 5
    with pytest.raises(ValueError, match="32 bytes"):
        derive(b"short", "root", "r1", 0)


def test_codes_are_read_as_people_write_them() -> None:
    code = write_code(bytes(range(16)))
    assert hash_code(code) == hash_code(code.lower().replace("0", "o").replace("1", "l"))
    assert len(code) == 29


def test_a_refund_is_at_most_what_was_billed_and_is_logged(storage: Storage) -> None:
    workspace_id, _, launch_id = run(storage, T0)
    stop(storage, workspace_id, launch_id, T0 + 10 * HOUR)
    [line] = bills.bill(storage, user="alice", month=T0.date()).lines
    act = {"user": "alice", "subject": line.subject, "actor": "root", "reason": "node was slow", "now": T0 + 11 * HOUR}
    with pytest.raises(InvalidField):
        operator.refund(storage, **act, amount_micros=37 * MICROS, request_id="a")
    for _ in range(2):
        operator.refund(storage, **act, amount_micros=30 * MICROS, request_id="b")
    with pytest.raises(InvalidField):
        operator.refund(storage, **act, amount_micros=7 * MICROS, request_id="c")
    assert balance(storage) == 94
    assert [a.act for a in audit.list_acts(storage).items] == ["refund"]


def test_a_correction_goes_both_ways_with_a_reason_and_not_below_zero(storage: Storage) -> None:
    act = {"user": "alice", "actor": "root", "now": T0}
    operator.correct(storage, **act, amount_micros=5 * MICROS, reason="typing error", request_id="a")
    operator.correct(storage, **act, amount_micros=-2 * MICROS, reason="too much", request_id="b")
    assert balance(storage) == 103
    with pytest.raises(Conflict):
        operator.correct(storage, **act, amount_micros=-4 * MICROS, reason="x", request_id="c")  # credit is not paid money
    with pytest.raises(InvalidField):
        operator.correct(storage, **act, amount_micros=1, reason="  ", request_id="d")


def test_a_frozen_wallet_buys_and_starts_nothing(storage: Storage) -> None:
    operator.freeze_wallet(storage, user="alice", frozen=True, actor="root", reason="card stolen", now=T0)
    with pytest.raises(Forbidden):
        orders.place_order(storage, user="alice", order=ORDER, now=T0)
    assert wallet.wallet(storage, user="alice", now=T0).frozen_reason == "card stolen"
    operator.freeze_wallet(storage, user="alice", frozen=False, actor="root", reason="cleared", now=T0)
    orders.place_order(storage, user="alice", order=ORDER, now=T0)
    assert [n.kind for n in notices.list_notices(storage, owner="alice")] == ["unfreeze", "freeze"]


def test_a_budget_stops_the_run_and_the_life(storage: Storage) -> None:
    workspace_id, name, launch_id = run(storage, T0, replace(ORDER, budget_run_micros=7_200_000, budget_total_micros=10 * MICROS))
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + HOUR)
    assert budgets.spent_budgets(storage, now=T0 + HOUR) == []
    launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + 2 * HOUR)
    [order] = budgets.spent_budgets(storage, now=T0 + 2 * HOUR)
    assert (order.name, order.reason) == (name, "budget")
    stop(storage, workspace_id, launch_id, T0 + 2 * HOUR)
    spec = launches.authorize_launch(storage, owner="alice", server_name=name, workspace_id=workspace_id, now=T0 + 3 * HOUR)
    launches.record_ready(storage, workspace_id=workspace_id, launch_id=spec.launch_id, now=T0 + 3 * HOUR)
    launches.record_alive(storage, alive={workspace_id: spec.launch_id}, now=T0 + 3 * HOUR + timedelta(minutes=47))
    assert [o.reason for o in budgets.spent_budgets(storage, now=T0 + 4 * HOUR)] == ["budget"]


def test_an_empty_wallet_keeps_storage_with_reminders_then_releases_it_loudly(storage: Storage) -> None:
    users.ensure_user(storage, name="poor", admin=False, opening_credit_micros=4 * MICROS, now=T0)
    workspace_id, name, launch_id = run(storage, T0, replace(ORDER, data_disk_gib=200), user="poor")
    stop(storage, workspace_id, launch_id, T0 + HOUR)
    days = {"keep_days": 14, "recycle_days": 7}
    assert arrears.run_arrears(storage, **days, now=T0 + 2 * HOUR) == []
    empty = T0 + DAY
    for hours in range(0, 14 * 24, 6):
        settlement.settle_usage(storage, now=empty + hours * HOUR)
        assert arrears.run_arrears(storage, **days, now=empty + hours * HOUR) == []
    assert [n.kind for n in notices.list_notices(storage, owner="poor")].count("arrears") == 4
    assert arrears.run_arrears(storage, **days, now=empty + 14 * DAY) == ["poor"]
    assert arrears.run_arrears(storage, **days, now=empty + 15 * DAY) == []
    view = workspaces.get_workspace(storage, owner="poor", name=name, now=empty + 15 * DAY)
    assert view.state is State.RELEASED and view.restorable_until == empty + 21 * DAY
    assert "released" in [e.kind for e in events.list_events(storage, owner="poor", name=name).items]
    operator.credit(storage, user="poor", amount_micros=90 * MICROS, actor="r", reason="x", request_id="q", now=empty + 16 * DAY)
    workspaces.restore_workspace(storage, owner="poor", name=name, actor="poor", now=empty + 16 * DAY)
    arrears.run_arrears(storage, **days, now=empty + 16 * DAY)
    assert notices.list_notices(storage, owner="poor")[0].kind == "arrears_over"


def test_a_warning_is_taken_back_when_the_wallet_recovers(storage: Storage) -> None:
    users.ensure_user(storage, name="low", admin=False, opening_credit_micros=4 * MICROS, now=T0)
    run(storage, T0, user="low")
    settlement.watch_wallets(storage, now=T0)
    assert [n.kind for n in notices.list_notices(storage, owner="low")] == ["wallet_low"]
    operator.credit(storage, user="low", amount_micros=900 * MICROS, actor="r", reason="x", request_id="q", now=T0)
    settlement.watch_wallets(storage, now=T0)
    assert notices.list_notices(storage, owner="low") == []


def test_a_month_is_the_journal_to_the_micro_unit(storage: Storage) -> None:
    workspace_id, name, launch_id = run(storage, T0, replace(ORDER, data_disk_gib=200))
    for hours in (1, 5, 20, 26):
        launches.record_alive(storage, alive={workspace_id: launch_id}, now=T0 + hours * HOUR)
        settlement.settle_usage(storage, now=T0 + hours * HOUR)
    stop(storage, workspace_id, launch_id, T0 + 26 * HOUR + timedelta(seconds=17))
    month = bills.bill(storage, user="alice", month=date(2026, 11, 1))
    charged = -sum(m.amount_micros for m in wallet.list_transactions(storage, user="alice").items if m.kind.startswith("charge_"))
    assert month.total_micros == charged == sum(amount for _, kinds in month.by_day for _, amount in kinds)
    assert dict(month.by_workspace) == {name: charged}
    runs = sorted((line.from_at, line.until_at, line.quantity) for line in month.lines if line.kind == "charge_compute")
    assert all(before[1] == after[0] for before, after in zip(runs, runs[1:], strict=False))
    assert sum(quantity for *_, quantity in runs) == 26 * 3600 + 17
    assert bills.months_with_bills(storage, user="alice") == [date(2026, 11, 1)]
    assert bills.bill(storage, user="bob", month=date(2026, 11, 1)).lines == ()
    assert bills.takings(storage, since=T0, until=T0 + 30 * DAY).total_micros == charged


def test_a_bill_line_shows_what_opened_and_closed_its_run(storage: Storage) -> None:
    workspace_id, name, launch_id = run(storage, T0)
    launches.request_stop(storage, owner="alice", name=name, actor="alice", reason=StopReason.USER, now=T0 + HOUR)
    stop(storage, workspace_id, launch_id, T0 + HOUR)
    [line] = bills.bill(storage, user="alice", month=T0.date()).lines
    shown = bills.run_events(storage, user="alice", subject=line.subject)
    assert [(e.kind, e.at) for e in shown] == [("running", T0), ("stopped", T0 + HOUR)]
    assert bills.run_events(storage, user="bob", subject=line.subject) == []
    assert bills.run_events(storage, user="alice", subject="disk:x") == []


def test_a_disk_grows_at_the_new_price_from_then_on_and_never_shrinks(storage: Storage) -> None:
    workspace_id, name, launch_id = run(storage, T0, replace(ORDER, data_disk_gib=200))
    stop(storage, workspace_id, launch_id, T0)
    workspaces.grow_disk(storage, owner="alice", name=name, size_gib=500, actor="alice", now=T0 + DAY)
    settlement.settle_usage(storage, now=T0 + 2 * DAY)
    assert bills.bill(storage, user="alice", month=T0.date()).total_micros == 2_400_000 + 4_800_000
    for size in (200, 500, 300):
        with pytest.raises(InvalidField):
            workspaces.grow_disk(storage, owner="alice", name=name, size_gib=size, actor="alice", now=T0 + 2 * DAY)


def test_a_disk_does_not_grow_on_an_empty_or_a_frozen_wallet(tmp_path: Path) -> None:
    storage = stage(sqlite(tmp_path), opening=4_799_999)
    workspace_id, name, launch_id = run(storage, T0, replace(ORDER, data_disk_gib=200))
    stop(storage, workspace_id, launch_id, T0)
    grow = {"owner": "alice", "name": name, "size_gib": 500, "actor": "alice", "now": T0}
    act = {"user": "alice", "actor": "root", "reason": "for the test", "now": T0}
    with pytest.raises(InsufficientBalance):
        workspaces.grow_disk(storage, **grow)
    operator.credit(storage, **act, amount_micros=1, request_id="just enough for a day")
    operator.freeze_wallet(storage, **act, frozen=True)
    with pytest.raises(Forbidden):
        workspaces.grow_disk(storage, **grow)
    operator.freeze_wallet(storage, **act, frozen=False)
    assert workspaces.grow_disk(storage, **grow).data_disk_gib == 500
    storage.close()


def test_a_scheduled_price_begins_then_and_the_past_does_not_change(storage: Storage) -> None:
    act = {"subject": "offer:cpu", "actor": "root", "reason": "electricity", "now": T0}
    price_changes.schedule_price(storage, **act, price_micros=9 * MICROS, valid_from=T0 + DAY)
    assert market.list_offers(storage, now=T0)[0].price_micros == 3_600_000
    assert market.list_offers(storage, now=T0 + DAY)[0].price_micros == 9 * MICROS
    with pytest.raises(InvalidField):
        price_changes.schedule_price(storage, **act, price_micros=1, valid_from=T0 - DAY)
    with pytest.raises(Conflict):
        price_changes.schedule_price(storage, **act, price_micros=1, valid_from=T0 + DAY)
    with pytest.raises(NotFound):
        price_changes.schedule_price(storage, **{**act, "subject": "offer:none"}, price_micros=1, valid_from=T0 + DAY)


def test_one_service_holds_the_lease_until_it_falls_silent(storage: Storage) -> None:
    lease = {"name": "billing", "seconds": 30}
    assert leases.take_lease(storage, **lease, holder="a", now=T0)
    assert not leases.take_lease(storage, **lease, holder="b", now=T0 + timedelta(seconds=29))
    assert leases.take_lease(storage, **lease, holder="b", now=T0 + timedelta(seconds=30))
    assert not leases.take_lease(storage, **lease, holder="a", now=T0 + timedelta(seconds=31))
    assert leases.take_lease(storage, **lease, holder="a", now=T0 - HOUR)  # the clock jumped back: the old lease says nothing
