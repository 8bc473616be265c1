"""Gifts are spent before paid money, the soonest to expire first, and what is left of an expired one goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_extensions.domain.ledger import Lot, recharge, spend_credit
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.usecases.charges import BooksHalted, Charge, post_charges, read_lots
from ark_extensions.usecases.gifts import expire_credit, give
from ark_extensions.usecases.journal import balance_of, post
from tests.unit.fresh import storage_with

T0 = datetime(2026, 11, 1, tzinfo=UTC)


def furnish(storage: Storage) -> None:
    """Fill an empty database with what these tests stand on."""
    with storage.write() as connection:
        connection.execute(users.insert().values(name="u", admin=False, created_at=T0))
        post(connection, [recharge(key="paid", user="u", amount_micros=100, at=T0, actor="u", memo="")])
        for key, days in (("late", 30), ("soon", 3), ("never", None)):
            expires_at = T0 + timedelta(days=days) if days else None
            give(connection, key=key, user="u", amount_micros=10, at=T0, actor="op", memo="", expires_at=expires_at)


storage = storage_with(furnish)


def charge(storage: Storage, key: str, amount: int, now: datetime = T0) -> None:
    with storage.write() as connection:
        post_charges(connection, [Charge(key, "u", "charge_disk", key, amount, now, now, 1)], now)


def left(storage: Storage, now: datetime = T0) -> dict[str, int]:
    with storage.read() as connection:
        lots = {lot.id: lot.remaining_micros for lot in read_lots(connection, ["u"], now).get("u", [])}
        return {**lots, "all": balance_of(connection, "u")}


def test_the_soonest_to_expire_pays_first_and_paid_money_last(storage: Storage) -> None:
    charge(storage, "a", 7)
    assert left(storage) == {"soon": 3, "late": 10, "never": 10, "all": 123}
    charge(storage, "b", 20)
    assert left(storage) == {"never": 3, "all": 103}
    charge(storage, "c", 50)
    assert left(storage) == {"all": 53}


def test_what_is_left_of_an_expired_gift_goes_back_once(storage: Storage) -> None:
    charge(storage, "a", 4)
    after = T0 + timedelta(days=3)
    assert left(storage, after) == {"late": 10, "never": 10, "all": 126}  # not spendable, not taken back yet
    assert expire_credit(storage, now=after) == 1
    assert expire_credit(storage, now=after) == 0
    assert left(storage, after)["all"] == 120


def test_a_gift_is_given_once(storage: Storage) -> None:
    with storage.write() as connection:
        assert not give(connection, key="soon", user="u", amount_micros=99, at=T0, actor="op", memo="")
    assert left(storage)["all"] == 130


def test_a_charge_whose_key_is_taken_halts_and_leaves_all_as_it_was(storage: Storage) -> None:
    charge(storage, "a", 5)
    before = left(storage)
    with pytest.raises(BooksHalted):
        charge(storage, "a", 6)
    assert left(storage) == before


@given(st.lists(st.integers(1, 100), max_size=8), st.integers(0, 1000))
def test_credit_pays_what_it_can_and_never_more(amounts: list[int], due: int) -> None:
    paid, after = spend_credit([Lot(str(n), amount, None) for n, amount in enumerate(amounts)], due)
    assert paid == min(sum(amounts), due)
    assert sum(lot.remaining_micros for lot in after) == sum(amounts) - paid
    assert all(lot.remaining_micros >= 0 for lot in after)
