"""The journal: idempotent, balanced, append-only; the database itself refuses what would make it lie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from ark_extensions.domain.ledger import Posting, charge, recharge
from ark_extensions.storage import Storage
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.journal import balance_of, post, post_postings
from ark_extensions.usecases.wallet import list_transactions
from tests.unit.fresh import fresh_database

T0 = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(fresh_database(tmp_path))
    yield storage
    storage.close()


def gave(key: str, amount: int = 10, user: str = "u") -> Posting:
    return recharge(key=key, user=user, amount_micros=amount, at=T0, actor="a", memo="")


def balance(storage: Storage, user: str = "u") -> int:
    with storage.read() as connection:
        return balance_of(connection, user)


def test_a_key_is_posted_once_alone_and_in_batches(storage: Storage) -> None:
    assert post_postings(storage, [gave("k")]) == 1
    assert post_postings(storage, [gave("k", 99)]) == 0
    assert post_postings(storage, [gave("k"), gave("l"), gave("l", 5), gave("m")]) == 2
    assert balance(storage) == 30
    assert check_books(storage) == []


def test_a_failed_block_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(RuntimeError), storage.write() as connection:
        post(connection, [gave("k")])
        raise RuntimeError
    assert balance(storage) == 0
    assert list_transactions(storage, user="u").items == ()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 10**15), st.sampled_from(["u", "v"])), max_size=30))
def test_balances_are_the_sums_whatever_is_posted(storage: Storage, moves: list[tuple[str, int, str]]) -> None:
    post_postings(storage, [gave(f"{key}:{amount}:{user}", amount, user) for key, amount, user in moves])
    assert check_books(storage) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET amount_micros = amount_micros + 1",
        "DELETE FROM entries",
        "UPDATE transactions SET memo = 'x'",
        "DELETE FROM transactions",
        "INSERT INTO entries (account, transaction_id, amount_micros) VALUES ('wallet:u', 1, 5)",
        "INSERT INTO entries (account, transaction_id, amount_micros) VALUES ('wallet:u', 77, 5)",
        "INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor) VALUES (77, 'x', 'gift', 0, '', '', '')",
        "INSERT INTO entries (account, transaction_id, amount_micros) VALUES ('wallet:v', 78, 0)",
    ],
)
def test_the_database_refuses_to_falsify_the_journal(storage: Storage, statement: str) -> None:
    post_postings(storage, [gave("k")])
    with pytest.raises(IntegrityError), storage.write() as connection:
        connection.exec_driver_sql(statement)
    assert balance(storage) == 10
    assert check_books(storage) == []


def test_an_unbalanced_transaction_is_refused_by_the_database(storage: Storage) -> None:
    with pytest.raises(IntegrityError, match="sum to zero"), storage.write() as connection:
        connection.exec_driver_sql("INSERT INTO entries (account, transaction_id, amount_micros) VALUES ('a', 5, 7), ('b', 5, -6)")
        connection.exec_driver_sql("INSERT INTO transactions VALUES (5, 'x', 'gift', 0, '', '', '')")


def test_a_falsified_balance_is_found_with_its_rows(storage: Storage) -> None:
    post_postings(storage, [gave("k")])
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE accounts SET balance_micros = 11 WHERE name = 'wallet:u'")
    [difference] = check_books(storage)
    assert difference.kind == "balance" and difference.rows == ({"account": "wallet:u", "entries": 10, "balance": 11},)


def test_templates_refuse_nothing_and_negative_amounts() -> None:
    for amount in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            recharge(key="k", user="u", amount_micros=amount, at=T0, actor="a", memo="")
    with pytest.raises(ValueError, match="aware"):
        charge(key="k", user="u", amount_micros=1, at=datetime(2026, 1, 1), subject="run:1")
    with pytest.raises(ValueError, match="sum to zero"):
        Posting("k", "gift", T0, (("a", 1), ("b", -2)))


def test_movements_are_paged_newest_first_with_the_balance_after_each(storage: Storage) -> None:
    post_postings(storage, [gave(f"k{n}", n + 1) for n in range(5)])
    first = list_transactions(storage, user="u", limit=2)
    assert [(m.amount_micros, m.balance_after_micros) for m in first.items] == [(5, 15), (4, 10)]
    rest = list_transactions(storage, user="u", before=first.next, limit=10)
    assert [m.amount_micros for m in rest.items] == [3, 2, 1] and rest.next is None
