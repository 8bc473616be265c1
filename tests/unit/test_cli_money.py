"""The operator's acts on the command line: each with a reason, each a new entry, each in the list of acts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ark_extensions.storage import Storage
from ark_extensions.usecases import assets, market
from ark_extensions.usecases.books import audit_books
from tests.unit import test_platform_flow
from tests.unit.purse_stage import stage
from tests.unit.test_cli import Ark, ark, refused, state_dir, template

__all__ = ["ark", "state_dir", "template"]


def test_vouchers_are_printed_once_and_listed_without_their_codes(ark: Ark) -> None:
    made = ark("voucher", "make", "20", "--count", "3", "--reason", "course")
    codes = made.stdout.split()
    assert len(set(codes)) == 3
    listed = ark("voucher", "list").stdout
    assert "0 of 3" in listed and "course" in listed and not any(code in listed for code in codes)


def test_corrections_freezes_and_credits_are_acts_with_reasons(ark: Ark) -> None:
    ark("user", "add", "li")
    assert "105.00" in ark("user", "correct", "li", "5", "--reason", "slip").stdout
    assert "103.00" in ark("user", "correct", "li", "-2", "--reason", "too much").stdout
    assert ark("user", "freeze", "li", "--reason", "stolen card").stdout.strip() == "li: frozen"
    assert ark("user", "freeze", "li", "--thaw", "--reason", "found").stdout.strip() == "li: free"
    listed = ark("acts").stdout
    assert all(word in listed for word in ("correct", "freeze", "unfreeze", "stolen card", "too much"))
    assert "does not hold that much" in refused(ark("user", "correct", "li", "-50", "--reason", "x"))
    assert "no user" in refused(ark("user", "correct", "nobody", "1", "--reason", "x"))
    assert "not an amount" in refused(ark("user", "correct", "li", "1e9", "--reason", "x"))


def test_a_price_is_scheduled_in_time_and_zone(ark: Ark, state_dir: Path) -> None:
    assert "no price" in refused(ark("price", "set", "offer:none", "1", "--reason", "x"))
    assert "time zone" in refused(ark("price", "set", "netdisk", "1", "--from", "2099-01-01T00:00", "--reason", "x"))
    assert "not a time" in refused(ark("price", "set", "netdisk", "1", "--from", "tomorrow", "--reason", "x"))
    storage = Storage(f"sqlite:///{state_dir / 'ark.sqlite'}")
    market.seed_catalog(storage, catalog=test_platform_flow.CATALOG, now=test_platform_flow.T0)
    storage.close()
    said = ark("price", "set", "offer:cpu", "1", "--from", "2099-01-01T00:00+08:00", "--reason", "x")
    assert said.exit_code == 0 and "2098-12-31 16:00 UTC" in said.stdout, said.output


def test_refunds_name_what_they_are_for(ark: Ark) -> None:
    ark("user", "add", "li")
    assert "At most" in refused(ark("user", "refund", "li", "5", "--subject", "run:none", "--reason", "x"))


def test_empty_lists_and_revenue_are_no_errors(ark: Ark) -> None:
    for command in (("transfer", "list"), ("revenue",), ("revenue", "--json"), ("acts",), ("price", "list"), ("voucher", "list")):
        assert ark(*command).exit_code == 0, command
    assert "no such transfer" in refused(ark("transfer", "confirm", "f" * 32, "--reason", "x"))


def test_the_same_request_prints_the_same_codes(ark: Ark) -> None:
    make = ("voucher", "make", "20", "--count", "2", "--reason", "course", "--request-id", "a-lost-answer")
    assert ark(*make).stdout == ark(*make).stdout
    assert len(ark("voucher", "list").stdout.splitlines()) == 2


def test_a_credit_that_expires_says_until_when(ark: Ark) -> None:
    ark("user", "add", "li")
    given = ("user", "credit", "li", "5", "--reason", "trial", "--request-id", "c1", "--expires", "30d")
    assert "105.00" in ark(*given).stdout and "105.00" in ark(*given).stdout
    assert "already used" in refused(ark(*given[:-1], "60d"))
    assert "expired already" in refused(ark("user", "credit", "li", "5", "--reason", "x", "--expires", "2020-01-01"))
    assert "li" in ark("acts", "--on", "li", "--act", "credit").stdout
    assert "li" not in ark("acts", "--on", "wang").stdout


def test_a_halt_is_shown_with_its_way_out(ark: Ark, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ark("user", "add", "li")
    storage = Storage(f"sqlite:///{state_dir}/ark.sqlite")
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE accounts SET balance_micros = balance_micros + 1 WHERE name = 'credit:li'")
    audit_books(storage, now=datetime.now(UTC))
    shown = ark("books", "check")
    assert shown.exit_code == 1 and "Posting is halted" in shown.stdout and "ark books resume" in shown.stdout
    assert "credit:li: lots hold 100000000, balance says 100000001" in shown.stdout
    with monkeypatch.context() as chinese:
        chinese.setenv("LC_ALL", "zh_CN.UTF-8")
        shown = ark("books", "check")
        assert "credit:li：各笔赠金剩余合计 100000000，余额记为 100000001" in shown.stdout and "记账已暂停" in shown.stdout
        assert "lots hold" not in shown.stdout and "halted" not in shown.stdout
    assert [row["kind"] for row in json.loads(ark("books", "check", "--json").stdout)][-1] == "halted"
    assert "paused" in refused(ark("user", "credit", "li", "5", "--reason", "x"))
    assert "accepted: " in ark("books", "resume", "--reason", "known").stdout
    assert "not halted" in refused(ark("books", "resume", "--reason", "again"))
    assert "105" in ark("user", "credit", "li", "5", "--reason", "x").stdout
    storage.close()


def test_monthly_compute_is_given_up_only_with_yes(ark: Ark, state_dir: Path) -> None:
    storage = stage(f"sqlite:///{state_dir}/ark.sqlite")
    now = datetime.now(UTC)
    bought = assets.buy_asset(storage, user="alice", request_id="a", offer="month", months=1, auto_renew=False, now=now)
    storage.close()
    assert "not used" in ark("asset", "list", "alice").stdout
    convert = ("asset", "convert", "alice", bought.id, "--reason", "moved")
    assert "Nothing was changed" in ark(*convert).stdout
    assert "days left" in ark(*convert, "--yes").stdout
    assert "given up" in ark("asset", "list", "alice").stdout
