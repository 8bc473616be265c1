"""The money pages without a server: plots add up, a month's lines come together by what they are for, terms offer what can be bought."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.console.pages import assets, bills, look, notices, operators, plots
from ark_extensions.domain.offers import Offer, Plan, PriceVersion, Quantities
from ark_extensions.payments.manual import transfer_reference
from ark_extensions.usecases.assets import AssetView
from ark_extensions.usecases.bills import Bill, BillLine
from ark_extensions.usecases.notices import Notice
from ark_extensions.usecases.recharges import RechargeView
from ark_extensions.usecases.views import Sentence, WalletView
from ark_extensions.web.frame import around

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIRST = date(2026, 11, 1)
EVIL = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("micros", "top"), [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (49, 50), (51, 100), (999_999, 1_000_000), (1_000_001, 2_000_000)]
)
def test_an_axis_ends_at_a_round_amount(micros: int, top: int) -> None:
    assert plots.round_up(micros) == top


def test_bars_stack_up_to_what_was_spent() -> None:
    days = {FIRST: {"a": 30, "b": 10}, date(2026, 11, 3): {"b": 80}, date(2026, 12, 1): {"a": 999}}
    drawn = plots.plot(days, FIRST, 30)
    assert drawn.series == (("b", 90), ("a", 30))
    assert (drawn.top_micros, drawn.total_micros, len(drawn.columns)) == (100, 120, 30)
    assert [(p.series, p.micros, p.height) for p in drawn.columns[0].pieces] == [(0, 10, 10), (1, 30, 30)]
    assert drawn.columns[0].pieces[1].y == 60, "the second stands on the first"
    assert [c.total_micros for c in drawn.columns[:3]] == [40, 0, 80]
    assert plots.plot({}, FIRST, 7).series == ()


def test_small_series_are_drawn_together_and_nothing_is_lost() -> None:
    drawn = plots.plot({FIRST: {f"w{n}": 100 - n for n in range(20)}}, FIRST, 1)
    assert [key for key, _ in drawn.series] == ["w0", "w1", "w2", "w3", "w4", plots.OTHERS]
    assert drawn.total_micros == sum(100 - n for n in range(20)) == sum(p.micros for p in drawn.columns[0].pieces)
    assert {p.series for p in drawn.columns[0].pieces} == set(range(6))


def line(subject: str, hour: int, **changes: Any) -> BillLine:
    at = datetime(2026, 11, 2, hour, tzinfo=UTC)
    values: dict[str, Any] = {
        "key": f"{subject}:{hour}", "at": at, "kind": "charge_compute", "subject": subject, "workspace": "ws1", "offer": "CPU",
        "from_at": at - timedelta(hours=1), "until_at": at, "quantity": 3600, "unit_micros": 5, "per": "hour", "price_version_id": "v1",
        "amount_micros": 5, "closed_because": None, **changes,
    }  # fmt: skip
    return BillLine(**values)


def test_the_settlements_of_a_run_are_one_line_of_the_page() -> None:
    lines = [line("run:a", 5), line("run:b", 9), line("run:a", 6), line("run:a", 7, price_version_id="v2", amount_micros=7)]
    groups = bills.grouped(lines)
    assert [(g.first.subject, g.first.price_version_id, g.quantity, g.amount_micros, g.settlements) for g in groups] == [
        ("run:b", "v1", 3600, 5, 1),
        ("run:a", "v2", 3600, 7, 1),
        ("run:a", "v1", 7200, 10, 2),
    ]
    assert (groups[2].from_at.hour, groups[2].until_at.hour) == (4, 6)
    assert sum(g.amount_micros for g in groups) == sum(one.amount_micros for one in lines)


def test_a_plot_by_workspace_shows_what_belongs_to_none_by_its_kind() -> None:
    lines = [line("run:a", 5), line("term:x", 5, workspace=None, kind="charge_term", amount_micros=50)]
    assert bills.by_day(lines, "workspace") == {date(2026, 11, 2): {"ws1": 5, "charge_term": 50}}
    assert bills.by_day(lines, "kind") == {date(2026, 11, 2): {"charge_compute": 5, "charge_term": 50}}


@pytest.mark.parametrize(
    ("kind", "quantity", "said"),
    [("charge_compute", 3661, "1:01:01"), ("charge_term", 2, "2 months"), ("charge_netdisk", 3 * 1024**3, "3.0 GiB")],
)
def test_a_charge_says_how_much_of_what_it_was_for(kind: str, quantity: int, said: str) -> None:
    env = look.environment("en", "CNY")
    charged = line("x:1", 5, kind=kind, quantity=quantity, workspace=None, offer=None, per="day")
    lines = env.get_template("_bill_lines.html").render(lines=[charged], events=[])
    assert f">{said}</td>" in lines
    about = {"theme": "auto", "section": "bills", "xsrf": "x", "here": "/", "notices": [], "now": NOW, "me": "alice", "admin": False}
    page = env.get_template("bills.html").render(
        **around(WalletView(5, 0, None), admin=False), **about, bill=bills_of(charged), charges=bills.grouped([charged]), hidden=0,
        month=FIRST, before=FIRST, after=None, stack="kind", plot=bills.month_plot([charged], FIRST, "kind"), months=[FIRST],
    )  # fmt: skip
    assert f">{said}</td>" in page
    assert ("/ GiB and day" in page) == (kind == "charge_netdisk")


def test_the_netdisks_price_has_a_name_and_is_on_sale_for_a_gib_and_day() -> None:
    env = look.environment("en", "CNY")
    price = PriceVersion("v1", "netdisk", "day", 20_000, NOW)
    about = {"theme": "auto", "section": "admin-money", "xsrf": "x", "here": "/", "notices": [], "now": NOW, "me": "root", "admin": True}
    row = {"subject": "netdisk", "name": operators.subject_name("netdisk", {}), "plan": "", "on_sale": operators.is_on_sale("netdisk", {})}
    page = env.get_template("admin_prices.html").render(
        **around(WalletView(5, 0, None), admin=True),
        **about,
        tab="prices",
        rows=[{**row, "now": price, "next": None, "versions": (price,)}],
    )
    assert "Netdisk</th>" in page and "/ GiB and day" in page and "not on sale" not in page
    dialog = env.get_template("_price.html").render(subject="netdisk", name="", current=price)
    assert "Price of Netdisk" in dialog and "Price of a GiB and day, in CNY" in dialog


def bills_of(*lines: BillLine) -> Bill:
    return Bill(FIRST, lines, sum(one.amount_micros for one in lines), (), (), ())


def test_a_bill_escapes_what_people_named() -> None:
    env = look.environment("en", "CNY")
    html = env.get_template("_bill_lines.html").render(lines=[line(f"run:{EVIL}", 5, workspace="ws1")], events=[])
    assert "<script>" not in html and "run:" in html


def asset(bought: datetime, months: int, **changes: Any) -> AssetView:
    offer = Offer("m", "CPU", Plan.MONTHLY, Quantities(1, 1024, 10))
    ends = assets.add_months(bought, months)
    values: dict[str, Any] = {
        "id": "1", "offer": offer, "bought_at": bought, "expires_at": ends, "ended_at": None, "auto_renew": False, "used_by": None,
        "paid_micros": 5, "renewal_micros_per_month": 5, **changes,
    }  # fmt: skip
    return AssetView(**values)


def test_a_renewal_is_counted_from_the_terms_beginning_so_the_31st_stays() -> None:
    bought = datetime(2027, 1, 31, tzinfo=UTC)
    term = asset(bought, 1)
    assert term.expires_at.date() == date(2027, 2, 28) and assets.months_paid(term) == 1
    offered = assets.choices(100, bought, assets.months_paid(term), bought + timedelta(days=20))
    assert (offered[0].months, offered[0].total_micros, offered[0].ends_at.date()) == (1, 100, date(2027, 3, 31))
    assert offered[-1].months == 12


def test_no_more_months_are_offered_than_a_term_may_have() -> None:
    assert [c.months for c in assets.choices(1, NOW, 20, NOW)] == [1, 2, 3, 4]
    assert assets.choices(1, NOW, 24, NOW) == []


def test_how_much_of_a_term_has_passed() -> None:
    term = asset(NOW - timedelta(days=15), 1)
    assert (
        assets.passed(term, NOW) == 50
        and assets.passed(term, NOW - timedelta(days=20)) == 0
        and assets.passed(term, NOW + timedelta(days=99)) == 100
    )


def test_what_was_told_stays_and_leads_somewhere_but_a_low_wallet_is_said_by_the_balance_itself() -> None:
    stored = [
        Notice(n, NOW, kind, severity, Sentence("x"))
        for n, (kind, severity) in enumerate([("wallet_low", "warning"), ("arrears", "warning"), ("recharged", "info")], 1)
    ]
    assert [(n.id, n.tone, n.place) for n in notices.told(stored)] == [(2, "warning", "recharge"), (3, "info", "wallet")]
    html = look.environment("en", "CNY").get_template("_notices.html").render(notices=notices.told(stored))
    assert 'data-path="notices/2"' in html and "/services/console/recharge" in html


def recharge_page(providers: list[str], recharges: list[RechargeView]) -> str:
    frame: dict[str, Any] = {
        "wallet": WalletView(5, 0, None), "wallet_level": "", "notices": [], "theme": "auto", "navigation": (), "groups": {},
        "grouped": (), "section": "recharge", "xsrf": "", "here": "", "workspaces": None, "now": NOW, "me": "alice", "admin": False,
    }  # fmt: skip
    about = {
        "providers": providers,
        "recharges": recharges,
        "presets": (20_000_000,),
        "instructions": EVIL,
        "reference": transfer_reference,
    }
    return look.environment("en", "CNY").get_template("recharge.html").render(**frame, **about)


def test_an_installation_without_payments_says_how_money_comes() -> None:
    html = recharge_page([], [])
    assert "takes no payments online" in html and "administrator" in html
    assert 'data-path="wallet/vouchers"' in html and 'data-path="wallet/recharges"' not in html


def test_a_recharge_says_what_is_to_be_done() -> None:
    def view(provider: str, status: str, pay_url: str | None) -> RechargeView:
        return RechargeView("0123456789abcdef", "alice", provider, 20_000_000, status, pay_url, NOW, None)

    by_transfer = recharge_page(["manual"], [view("manual", "pending", None)])
    assert "0123456789AB" in by_transfer and "<script>alert" not in by_transfer
    assert 'href="https://pay.example/x"' in recharge_page(["stripe"], [view("stripe", "pending", "https://pay.example/x")])
    assert "did not answer" in recharge_page(["stripe"], [view("stripe", "pending", None)])
    assert 'data-send="DELETE"' not in recharge_page(["manual"], [view("manual", "paid", None)])
