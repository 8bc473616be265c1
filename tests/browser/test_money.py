"""Money as people meet it in the console: monthly compute, vouchers, transfers, budgets, bills, and the operator's pages."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visitor
from tests.platform import Platform

Visit = Callable[..., Visitor]
START_MS = 60_000
PAGES = ("wallet", "recharge", "bills", "bills?by=workspace", "assets", "disks", "marketplace?plan=monthly", "workspaces/new")
ADMIN_PAGES = (
    "admin/users",
    "admin/users/admin",
    "admin/money",
    "admin/money?days=365",
    "admin/money/recharges",
    "admin/money/recharges?status=all",
    "admin/money/vouchers",
    "admin/money/prices",
    "admin/money/acts",
)


@pytest.fixture(scope="module")
def platform(selling: Platform) -> Platform:
    return selling


@pytest.fixture
def admin(visit: Visit, platform: Platform) -> Visitor:
    return visit(user="admin", password=platform.admin_password)


def choose(page: Page, scope: str, label: str) -> None:
    page.locator(f"{scope} label", has_text=label).click()


def test_monthly_compute_is_bought_worked_on_and_stands_in_the_bill(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("marketplace?plan=monthly")
    page.get_by_role("button", name="Buy CPU · 1 vCPU").first.click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("It is reserved for you from now on")
    one_month = dialog.locator("[data-term-total]").inner_text()
    dialog.get_by_label("Months").select_option("12")
    expect(dialog.locator("[data-term-after]")).to_have_class(re.compile("red"))
    dialog.get_by_role("button", name="Buy").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Your wallet holds")
    expect(dialog.get_by_role("link", name="Recharge")).to_be_visible()
    dialog.get_by_label("Months").select_option("1")
    expect(dialog.locator("[data-term-total]")).to_have_text(one_month)
    dialog.get_by_role("button", name="Buy").click()
    page.wait_for_url(re.compile(r"/assets$"))
    row = page.locator("#terms tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("not used yet")
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as saved:
        row.get_by_role("switch").check()
    assert saved.value.ok
    page.reload()
    expect(row.get_by_role("switch")).to_be_checked()
    _renew(page, one_month)
    row.get_by_role("link", name="Create a workspace").click()
    name = _create_on_it(page)
    _budget_disk_and_stop(page, name)
    _stands_in_the_bill(visitor, one_month)


def _renew(page: Page, one_month: str) -> None:
    """A month too many for the wallet: nothing is charged, and the dialog says why."""
    page.get_by_role("button", name="Renew").click()
    dialog = page.locator("#dialog")
    expect(dialog.locator("[data-term-total]")).to_have_text(one_month)
    dialog.get_by_role("button", name="Renew").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Your wallet holds")
    page.keyboard.press("Escape")


def _create_on_it(page: Page) -> str:
    expect(page.locator("[data-quote=per_hour]")).to_have_text("¥0.00")
    expect(page.locator("[data-quote-asset]")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("by the month")
    page.get_by_label("For each run").fill("abc")
    page.locator("#create-button").click()
    expect(page.locator("#error-budget")).to_contain_text("plain decimal number")
    page.get_by_label("For each run").fill("5")
    page.locator("#create-button").click()
    page.wait_for_url(re.compile(r"/workspaces$"))
    row = page.locator(".ws", has_text="by the month")
    expect(row).to_have_attribute("data-state", "running", timeout=START_MS)
    expect(row).to_contain_text("paid by the month")
    expect(row.locator(".budget")).to_contain_text("¥5.00 a run")
    return str(row.get_attribute("data-name"))


def _budget_disk_and_stop(page: Page, name: str) -> None:
    row, dialog = page.locator(f"#ws-{name}"), page.locator("#dialog")
    row.locator(".budget").click()
    dialog.get_by_label("In total").fill("20.50")
    page.keyboard.press("Enter")
    expect(row.locator(".budget")).to_contain_text("¥20.50 in all")
    row.locator("[data-menu=more]").click()
    row.get_by_role("menuitem", name="Larger data disk…").click()
    choose(page, "#dialog", "200 GiB")
    dialog.get_by_role("button", name="Grow").click()
    expect(row).to_contain_text("200 GiB")
    row.get_by_role("button", name="Stop", exact=True).click()
    expect(dialog).to_contain_text(re.compile(r"While stopped it costs ¥[\d.]+ a day, for its data disk of 200 GiB"))
    expect(dialog).to_contain_text("Its monthly compute stays yours")
    dialog.get_by_role("button", name="Stop").click()
    expect(row).to_have_attribute("data-state", "stopped", timeout=START_MS)
    row.locator("[data-menu=more]").click()
    row.get_by_role("menuitem", name="Start with other compute…").click()
    expect(dialog.locator("input[value^='asset:']")).to_be_checked()
    page.keyboard.press("Escape")


def _stands_in_the_bill(visitor: Visitor, one_month: str) -> None:
    page = visitor.open("assets")
    expect(page.locator("#terms tbody tr")).to_contain_text("used it last")
    page = visitor.open("disks")
    expect(page.locator("#disks tbody tr")).to_contain_text("200 GiB")
    page = visitor.open("bills")
    term = page.locator(".bill", has_text="Monthly compute")
    expect(term).to_contain_text(one_month)
    term.get_by_role("button", name="Show its 1 lines").click()
    expect(term.locator(".bill-lines code").first).to_contain_text("term:")
    page.get_by_role("link", name="Workspace", exact=True).click()
    expect(page.locator(".plot-bars")).to_be_visible()
    text = page.request.get(page.url.split("/bills")[0] + "/bills.csv").text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["amount"] for line in lines if line["kind"] == "charge_term"] == [one_month.removeprefix("¥")]
    total = sum(Decimal(line["amount"]) for line in lines)
    assert Decimal(page.locator(".bill-total").inner_text().removeprefix("¥")) == total


def pay_in(platform: Platform, name: str, amount: str) -> None:
    begun = platform.api("POST", "/wallet/recharges", {"request_id": f"paid-in-{name}", "provider": "manual", "amount": amount}, user=name)
    platform.ark("transfer", "confirm", begun.json["id"], "--reason", "seen")


def fact(dialog: Locator, name: str) -> Decimal:
    shown = dialog.locator(".facts div", has=dialog.page.get_by_text(name, exact=True)).locator("dd").inner_text()
    return Decimal(shown.removeprefix("¥").replace(",", ""))


def test_the_rest_of_a_term_is_given_up_and_what_the_dialog_promised_comes_back(visit: Visit, platform: Platform) -> None:
    visitor = visit()
    pay_in(platform, visitor.name, "500")
    page, dialog = visitor.open("marketplace?plan=monthly"), visitor.page.locator("#dialog")
    page.get_by_role("button", name="Buy CPU · 1 vCPU").first.click()
    dialog.get_by_label("Months").select_option("3")
    dialog.get_by_role("button", name="Buy").click()
    page.wait_for_url(re.compile(r"/assets$"))
    row = page.locator("#terms tbody tr")
    ask = row.get_by_role("button", name=re.compile("^Give up CPU"))
    ask.click()
    expect(dialog.get_by_role("heading")).to_have_text(re.compile(r"^Give .* up\?$"))
    expect(dialog).to_contain_text("what was paid with credit does not")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(row).not_to_contain_text("given up")
    balance = Decimal(page.locator("#balance").inner_text().removeprefix("¥").replace(",", ""))
    _look_at_the_question(visit, visitor)
    ask.click()
    back, paid, lost = (fact(dialog, name) for name in ("Comes back to your wallet", "Paid for them", "Is lost"))
    assert back > 0 and lost > 0 and back + lost == paid
    visitor.shot("give-up-1440-light-en")
    dialog.get_by_role("button", name="Give it up").click()
    expect(row).to_contain_text("given up at")
    expect(row.get_by_role("link", name="Buy again")).to_be_visible()
    page.reload()
    expect(page.locator("#notices .notice", has_text="came back to your wallet")).to_be_visible()
    visitor.shot("given-up-1440-light-en")
    page = visitor.open("wallet")
    shown = Decimal(re.sub(r"[^\d.]", "", page.locator("#balance").inner_text()))
    assert shown == (balance + back).quantize(Decimal("0.01"), rounding=ROUND_DOWN), "what the dialog said is what came"


def _look_at_the_question(visit: Visit, visitor: Visitor) -> None:
    """On a small dark screen the whole question and both answers are there, and nothing is cut off."""
    small = visit(user=visitor.name, password=visitor.password, width=360, color_scheme="dark", has_touch=True)
    page = small.open("assets")
    page.get_by_role("button", name=re.compile("^Give up CPU")).click()
    dialog = page.locator("#dialog")
    for name in ("Keep it", "Give it up"):
        expect(dialog.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
    over = dialog.evaluate("d => Math.max(d.scrollWidth - d.clientWidth, document.documentElement.scrollWidth - innerWidth)")
    assert over <= 0
    small.shot("give-up-360-dark-en")
    page.keyboard.press("Escape")


def test_a_voucher_is_made_once_seen_and_once_used(visit: Visit, admin: Visitor) -> None:
    page = admin.open("admin/money/vouchers")
    page.get_by_label("Amount of each").fill("12.50")
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Make").click()
    expect(page.locator("#error-expires_at")).not_to_be_empty()
    page.get_by_label("Can be redeemed until").fill("2099-01-01T00:00")
    page.get_by_label("Reason").fill("<b>summer school</b>")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("heading", name="The codes")).to_be_visible()
    codes = page.locator("#codes-text").input_value().split()
    assert len(codes) == 2
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text().split() == codes
    batch = page.locator("#batches tr", has_text="<b>summer school</b>")
    expect(batch).to_contain_text("0 of 2")
    page.reload()
    expect(page.locator("#codes")).to_be_hidden()

    user = visit()
    mine = user.open("recharge")
    mine.get_by_label("Code").fill(f" {codes[0].lower()} ")
    mine.get_by_role("button", name="Redeem").click()
    expect(mine.locator("#toasts")).to_contain_text("¥12.50")
    expect(mine.locator("#balance")).to_contain_text("¥112.50")
    mine.get_by_label("Code").fill(codes[0])
    mine.get_by_role("button", name="Redeem").click()
    expect(mine.locator("#error-code")).to_contain_text("used already")
    user.open("wallet")
    expect(mine.locator("#movements tr").first).to_contain_text("<b>summer school</b>")
    page.reload()
    expect(batch).to_contain_text("1 of 2")


def test_a_transfer_is_announced_confirmed_and_told(visit: Visit, admin: Visitor) -> None:
    user = visit()
    page = user.open("recharge")
    page.get_by_label("Amount in CNY").fill("0.5")
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#error-amount")).to_contain_text("between 1 and")
    choose(page, ".presets", "¥50.00")
    page.get_by_role("button", name="Pay").click()
    row = page.locator("#recharges tbody tr").first
    expect(row).to_contain_text("Account 6222 0000")
    reference = row.locator("code").inner_text()
    page.get_by_label("Amount in CNY").fill("33")
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#recharges tbody tr")).to_have_count(2)
    page.locator("#recharges tr", has_text="¥33.00").get_by_role("button", name="Cancel").click()
    expect(page.locator("#recharges tr", has_text="¥33.00")).to_contain_text("Cancelled")

    desk = admin.open("admin/money/recharges")
    waiting = desk.locator("#waiting tr", has_text=user.name)
    expect(waiting).to_have_count(1)
    expect(waiting).to_contain_text(reference)
    waiting.get_by_role("button", name="Confirm").click()
    desk.get_by_role("button", name="Confirm", exact=True).click()
    expect(desk.locator("#error-reason")).not_to_be_empty()
    desk.get_by_label("What you saw").fill("statement 7")
    desk.keyboard.press("Enter")
    expect(waiting).to_have_count(0)

    page.reload()
    expect(page.locator("#balance")).to_contain_text("¥150.00")
    expect(page.locator("#recharges tr", has_text="¥50.00")).to_contain_text("Paid")
    notice = page.locator("#notices .notice", has_text="¥50.00 arrived in your wallet")
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)
    page.reload()
    expect(notice).to_have_count(0)


def test_a_price_is_announced_before_it_counts(visit: Visit, admin: Visitor) -> None:
    page = admin.open("admin/money/prices")
    row = page.locator("#prices tr", has_text="1 vCPU").filter(has_text="Pay as you go")
    row.get_by_role("button", name="Change").click()
    page.get_by_label("Price an hour").fill("9.99")
    page.get_by_label("From, in your time zone").fill("2020-01-01T00:00")
    page.get_by_label("Reason").fill("electricity")
    page.keyboard.press("Enter")
    expect(page.locator("#error-valid_from")).to_contain_text("the past does not change")
    page.get_by_label("From, in your time zone").fill("2098-01-01T08:00")
    page.get_by_role("button", name="Set").click()
    expect(row).to_contain_text("¥9.99")
    expect(row).to_contain_text("2 versions")
    market = visit().open("marketplace")
    expect(market.locator(".offer-card", has_text="1 vCPU")).to_contain_text("¥9.99 from 2098-01-01 08:00 on")


def test_an_operator_acts_on_a_wallet_and_each_act_is_recorded(visit: Visit, admin: Visitor) -> None:
    user = visit()
    page = admin.open(f"admin/users/{user.name}")
    dialog = page.locator("#dialog")
    page.get_by_role("button", name="Correct").click()
    page.get_by_label("Amount in CNY").fill("-5")
    page.get_by_label("Reason").fill("typed twice")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("does not hold that much")
    page.get_by_label("Amount in CNY").fill("5")
    page.keyboard.press("Enter")
    expect(page.locator("#movements tr").first).to_contain_text("+¥5.0000")
    page.get_by_role("button", name="Freeze").click()
    page.get_by_label("Reason").fill("under review")
    page.keyboard.press("Enter")
    expect(page.locator("#purse")).to_contain_text("It was frozen for this reason: under review")
    mine = user.open("wallet")
    expect(mine.locator("main")).to_contain_text("Your wallet is frozen: under review")
    user.open("marketplace?plan=monthly")
    mine.get_by_role("button", name="Buy CPU · 1 vCPU").first.click()
    mine.locator("#dialog").get_by_role("button", name="Buy").click()
    expect(mine.locator("#dialog").get_by_role("alert")).to_contain_text("frozen")
    page.get_by_role("button", name="Free").click()
    page.get_by_label("Reason").fill("all right")
    page.keyboard.press("Enter")
    expect(page.locator("#purse")).not_to_contain_text("It was frozen")
    admin.open("admin/money/acts")
    expect(page.locator("tbody tr", has_text=user.name)).to_have_count(3)
    admin.open("admin/money")
    page.get_by_role("button", name="Check the books now").click()
    expect(page.locator("#books")).to_contain_text("The books add up: difference 0.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_money_page_is_wider_than_360_pixels(visit: Visit, platform: Platform, scheme: str) -> None:
    visitor = visit(user="admin", password=platform.admin_password, width=360, color_scheme=scheme, has_touch=True, locale="zh-CN")
    for path in (*PAGES, *ADMIN_PAGES):
        page = visitor.open(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{path} is {over} px too wide"
