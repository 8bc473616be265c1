"""The operator's acts on the command line: each with a reason, each a new entry, each in the list of acts."""

from __future__ import annotations

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


def test_a_price_is_scheduled_in_time_and_zone(ark: Ark) -> None:
    assert "no price" in refused(ark("price", "set", "offer:none", "1", "--reason", "x"))
    assert "time zone" in refused(ark("price", "set", "netdisk", "1", "--from", "2099-01-01T00:00", "--reason", "x"))
    assert "not a time" in refused(ark("price", "set", "netdisk", "1", "--from", "tomorrow", "--reason", "x"))


def test_refunds_name_what_they_are_for(ark: Ark) -> None:
    ark("user", "add", "li")
    assert "At most" in refused(ark("user", "refund", "li", "5", "--subject", "run:none", "--reason", "x"))


def test_empty_lists_and_revenue_are_no_errors(ark: Ark) -> None:
    for command in (("transfer", "list"), ("revenue",), ("revenue", "--json"), ("acts",), ("price", "list"), ("voucher", "list")):
        assert ark(*command).exit_code == 0, command
    assert "no such transfer" in refused(ark("transfer", "confirm", "f" * 32, "--reason", "x"))
