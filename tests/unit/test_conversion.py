"""Monthly compute given up before its end: what comes back, to whom, once, and never more than was paid in money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.assets import add_months, converted_micros
from ark_extensions.domain.errors import Conflict, Forbidden, InvalidField, NotFound
from ark_extensions.domain.ledger import recharge
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, audit, bills, conversions, launches, market, notices, operator, orders, wallet
from ark_extensions.usecases.charges import Charge, post_charges
from ark_extensions.usecases.journal import post
from ark_extensions.usecases.views import Sentence
from tests.unit.fresh import storage_with
from tests.unit.test_monthly import T0, buy, furnish, order

__all__ = ["furnish"]
DAY = timedelta(days=1)


storage = storage_with(furnish)


def paid_in(storage: Storage, micros: int) -> None:
    """Alice's gifts are spent and she has so much money, so that terms are paid with money."""
    with storage.write() as connection:
        subject = "netdisk:alice:2026-01-30"
        post_charges(connection, [Charge(subject, "alice", "charge_netdisk", subject, 1000 * MICROS, T0, T0 + DAY, 1)], T0)
        post(connection, [recharge(key="money", user="alice", amount_micros=micros, at=T0, actor="alice", memo="")])


def test_the_rest_of_a_term_comes_back_by_the_rule_and_once(storage: Storage) -> None:
    paid_in(storage, 300 * MICROS)
    asset = buy(storage, months=2)
    assert asset.paid_micros == 200 * MICROS and market.list_offers(storage, now=T0)[0].free == 0
    about = {"owner": "alice", "asset_id": asset.id, "percent": 80, "now": T0 + timedelta(days=10, hours=1)}
    plan = conversions.quote_conversion(storage, **about)
    days = (asset.expires_at - T0).days
    assert plan.days_left == days - 11, "the day that has begun is used"
    assert plan.rest_micros == round(200 * MICROS * (days - 11) / days) and plan.back_micros == round(160 * MICROS * (days - 11) / days)
    for _ in range(2):
        assert conversions.convert_asset(storage, **about, actor="alice").back_micros == plan.back_micros
    assert wallet.wallet(storage, user="alice", now=T0).balance_micros == 100 * MICROS + plan.back_micros
    assert market.list_offers(storage, now=T0)[0].free == 1, "back on sale"
    [view] = assets.list_assets(storage, user="alice", now=T0 + timedelta(days=11))
    assert view.converted and not view.auto_renew
    with pytest.raises(Conflict, match="over"):
        assets.renew_asset(storage, user="alice", asset_id=asset.id, request_id="more", months=1, now=T0 + timedelta(days=11))
    assert [n.kind for n in notices.list_notices(storage, owner="alice")] == ["term_converted"]


def test_only_money_comes_back_and_only_where_the_setting_says_so(storage: Storage) -> None:
    asset = buy(storage)  # paid with the opening credit
    about = {"owner": "alice", "asset_id": asset.id, "now": T0}
    plan = conversions.quote_conversion(storage, **about, percent=100)
    assert (plan.rest_micros, plan.back_micros) == (100 * MICROS, 0)
    with pytest.raises(Forbidden):
        conversions.convert_asset(storage, **about, percent=0, actor="alice")
    with pytest.raises(NotFound):
        conversions.convert_asset(storage, **{**about, "owner": "bob"}, percent=100, actor="bob")


def test_a_term_in_use_or_refunded_is_not_paid_twice(storage: Storage) -> None:
    paid_in(storage, 300 * MICROS)
    asset = buy(storage)
    view = orders.place_order(storage, user="alice", order=order(asset), now=T0)
    about = {"owner": "alice", "asset_id": asset.id, "percent": 100, "now": T0}
    with pytest.raises(Conflict, match=view.name):
        conversions.convert_asset(storage, **about, actor="alice")
    launches.start_failed(storage, owner="alice", name=view.name, message=Sentence("x"), now=T0)
    [line] = [line for line in bills.bill(storage, user="alice", month=T0.date()).lines if line.subject.startswith("term:")]
    act = {"user": "alice", "subject": line.subject, "actor": "root", "reason": "x", "now": T0}
    operator.refund(storage, **act, amount_micros=30 * MICROS, request_id="a")
    plan = conversions.convert_asset(storage, **about, actor="root", reason="moved away")
    assert plan.back_micros == 70 * MICROS
    with pytest.raises(InvalidField):
        operator.refund(storage, **act, amount_micros=1, request_id="b")
    assert [act.act for act in audit.list_acts(storage, subject="alice").items] == ["convert", "refund"]


@given(
    st.integers(0, 10**13), st.integers(1, 12), st.integers(0, 100), st.integers(-(10**7), 10**8),
    st.datetimes(datetime(2023, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC)),
)  # fmt: skip
def test_never_more_comes_back_than_was_paid_nor_later(paid: int, months: int, percent: int, seconds: int, start: datetime) -> None:
    end, now = add_months(start, months), start + timedelta(seconds=seconds)
    left, days, back = converted_micros(paid, start, end, now, percent)
    assert 0 <= left <= days and 0 <= back <= paid and (back == 0 or now < end)
    assert converted_micros(paid, start, end, now + timedelta(days=1), percent)[2] <= back
