"""The console as a person uses it: sign-in, marketplace, order, the live list, events, language and theme, keyboard, small screens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor

Visit = Callable[..., Visitor]
PAGES = (
    "marketplace",
    "marketplace?view=rows",
    "marketplace?plan=monthly",
    "workspaces",
    "workspaces?events=x",
    "workspaces/new",
    "wallet",
    "bills",
    "datasets",
    "models",
)
START_MS = 60_000


def order(visitor: Visitor, title: str) -> str:
    """Order the first offer under that title, and return the workspace's name when its row stands in the list."""
    page = visitor.open("workspaces/new")
    page.get_by_label("Name", exact=True).fill(title)
    page.locator("#create-button").click()
    page.wait_for_url(re.compile(r"/workspaces$"))
    row = page.locator(".ws", has_text=title)
    expect(row).to_have_count(1)
    return str(row.get_attribute("data-name"))


def state(page: Page, name: str) -> Any:
    return expect(page.locator(f"#ws-{name}"))


def test_a_newcomer_signs_in_and_begins_in_the_marketplace(visit: Visit) -> None:
    visitor = visit(sign_in=False)
    visitor.sign_in()
    expect(visitor.page).to_have_url(re.compile(r"/services/console/marketplace$"))
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Marketplace")
    expect(visitor.page.locator("#balance")).to_contain_text("¥")


def test_filters_stand_in_the_address_and_the_view_is_remembered(visit: Visit) -> None:
    page = visit().open("marketplace")
    every = page.locator(".offer-card").count()
    assert every > 0
    page.get_by_label("Price at most, an hour").fill("0.000001")
    expect(page.get_by_role("heading", name="No offer matches")).to_be_visible()
    assert "price=0.000001" in page.url and "gpu_model" not in page.url
    page.reload()
    expect(page.get_by_label("Price at most, an hour")).to_have_value("0.000001")
    page.get_by_role("link", name="Clear the filters", exact=True).click()
    expect(page.locator(".offer-card")).to_have_count(every)
    page.get_by_role("link", name="Rows", exact=True).click()
    expect(page.locator(".offers-table tbody tr")).to_have_count(every)
    page.goto(page.url.split("?")[0])
    expect(page.locator(".offers-table tbody tr")).to_have_count(every)
    page.get_by_role("link", name="Monthly").click()
    expect(page.get_by_text("Compute for whole months")).to_be_visible()
    expect(page.locator(".offers-table tbody tr").first).to_contain_text("/ month")
    expect(page.locator(".offers-table tbody tr", has_text="/ hour")).to_have_count(0)


def test_a_wrong_field_is_marked_and_everything_typed_stays(visit: Visit) -> None:
    page = visit().open("workspaces/new")
    expect(page.locator("[data-quote=per_hour]")).to_contain_text("¥")
    page.get_by_label("Name", exact=True).fill("花卉 <b>分类</b>")
    page.get_by_label("Minutes without work").fill("3")
    page.locator("input[name=data_disk_gib][value='200']").check()
    page.locator("#create-button").click()
    expect(page.locator("#error-idle_stop_minutes")).to_contain_text("between 10 and")
    expect(page.get_by_label("Minutes without work")).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value("花卉 <b>分类</b>")
    expect(page.locator("input[name=data_disk_gib][value='200']")).to_be_checked()
    page.locator("input[name=idle_on]").uncheck()
    page.get_by_label("Time at which it stops, in your time zone").fill("2020-01-01T00:00")
    expect(page.locator("#error-auto_stop")).to_contain_text("in the past")
    page.locator("summary").click()
    page.get_by_role("textbox", name="Name in addresses").fill("Not A Name")
    page.locator("input[name=auto_stop_kind][value=never]").check()
    page.locator("#create-button").click()
    expect(page.locator("#error-name")).to_contain_text("lower-case")


def test_the_quote_follows_what_is_chosen(visit: Visit) -> None:
    page = visit().open("workspaces/new")
    expect(page.locator("[data-quote=per_day_stopped]")).to_have_text("nothing")
    page.locator("input[name=data_disk_gib][value='200']").check()
    expect(page.locator("[data-quote=per_day_stopped]")).to_contain_text("¥")
    expect(page.locator("[data-quote=runway]")).to_contain_text(re.compile(r"\d+ (h|d|min)"))


def test_a_double_click_is_one_order_and_the_row_goes_live_without_a_reload(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("workspaces/new")
    page.get_by_label("Name", exact=True).fill("double")
    page.locator("#create-button").dblclick()
    page.wait_for_url(re.compile(r"/workspaces$"))
    page.evaluate("window.stayed = true")
    row = page.locator(".ws", has_text="double")
    expect(row).to_have_count(1)
    name = str(row.get_attribute("data-name"))
    state(page, name).to_have_attribute("data-state", "running", timeout=START_MS)
    expect(page.locator("#events-body .event").first).to_be_visible()
    assert page.evaluate("window.stayed") is True, "the page was not loaded again"
    assert len(visitor.platform.api("GET", "/workspaces", user=visitor.name).json["items"]) == 1
    first = page.locator(f"#ws-{name} .cost").inner_text()
    expect(page.locator(f"#ws-{name} .cost")).not_to_have_text(first)
    page.locator(f"#ws-{name} [data-why]").click()
    expect(page.locator(f"#why-{name}")).to_contain_text("It has run since")
    page.locator(f"#ws-{name} [data-menu=enter]").click()
    links = [link.get_attribute("href") for link in page.locator(f"#ws-{name} .dropdown-menu a").all()]
    assert links == [f"/user/{visitor.name}/{name}/lab", f"/user/{visitor.name}/{name}/vscode/?folder=/home/user"]
    page.keyboard.press("Escape")
    _extend_rename_stop_release(page, name)


def _extend_rename_stop_release(page: Page, name: str) -> None:
    row = page.locator(f"#ws-{name}")
    row.locator("[data-menu=auto-stop]").click()
    row.locator("[data-extend='60']").click()
    expect(row).to_have_attribute("data-auto-stop", re.compile(r"T.*Z"))
    expect(row.locator("time[data-form=left]")).to_be_visible()
    row.hover()
    row.locator("[data-rename]").click()
    row.locator(".rename-input").fill('<img src=x onerror="alert(1)">')
    page.keyboard.press("Enter")
    expect(row.locator(".name")).to_have_text('<img src=x onerror="alert(1)">')
    row.get_by_role("button", name="Stop").click()
    expect(page.locator("#dialog")).to_contain_text("Kept: everything in /home/user")
    expect(page.locator("#dialog")).to_contain_text("Lost: files outside /home/user, such as in /tmp")
    page.locator("#dialog").get_by_role("button", name="Stop").click()
    expect(row).to_have_attribute("data-state", "stopped", timeout=START_MS)
    row.locator("[data-menu=more]").click()
    row.locator("[data-dialog=release]").click()
    page.locator("#d-confirm").fill("something else")
    page.keyboard.press("Enter")
    expect(page.locator("#error-confirm")).to_contain_text(name)
    page.locator("#d-confirm").fill(name)
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("data-state", "released")
    row.get_by_role("button", name="Restore").click()
    expect(row).to_have_attribute("data-state", "stopped")


def test_events_show_plain_sentences_and_more_in_the_advanced_mode(visit: Visit) -> None:
    visitor = visit()
    name = order(visitor, "watched")
    page = visitor.page
    state(page, name).to_have_attribute("data-state", "running", timeout=START_MS)
    page.reload()
    page.locator(f"#ws-{name} [data-events]").click()
    expect(page.locator(".event").first).to_be_visible()
    expect(page.locator(".event-raw")).to_have_count(0)
    switch = page.get_by_label("Advanced", exact=True)
    head, box = page.locator(".events-head").bounding_box(), switch.bounding_box()
    assert head and box and box["x"] > head["x"] + head["width"] / 2, "the switch stands at the right of the window's head"
    switch.check()
    expect(page.locator(".event-raw").first).to_be_visible()
    before = page.locator("#events-panel").evaluate("e => e.offsetHeight")
    page.locator("#events-grip").focus()
    page.keyboard.press("ArrowUp")
    assert page.locator("#events-panel").evaluate("e => e.offsetHeight") > before
    page.keyboard.press("Escape")
    expect(page.locator("#events-panel")).to_be_hidden()
    visitor.platform.api("POST", f"/workspaces/{name}/stop", user=visitor.name)
    state(page, name).to_have_attribute("data-state", "stopped", timeout=START_MS)


def test_language_and_theme_are_remembered_and_never_flash(visit: Visit) -> None:
    visitor = visit(color_scheme="dark")
    page = visitor.open("wallet")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark", "auto follows the system"
    page.get_by_role("button", name="切换到中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("钱包")
    page.wait_for_load_state()
    assert page.url.endswith("/wallet"), "one stays where one was"
    page.get_by_role("button", name="主题：跟随系统。切换到浅色").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    visitor.open("marketplace")
    expect(page.get_by_role("heading", level=1)).to_have_text("算力市场")
    source = page.request.get(page.url).text()
    assert 'data-bs-theme="light"' in source and 'lang="zh-CN"' in source, "the server writes it: nothing flashes"
    page.goto(f"{visitor.platform.address}/hub/home")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    expect(page.get_by_role("heading", level=1)).to_have_text("工作空间在控制台中创建和管理", use_inner_text=True)
    page.get_by_role("button", name="切换深色或浅色").click()
    visitor.open("wallet")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_a_workspace_can_be_ordered_with_the_keyboard_alone(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("workspaces/new")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.name || ''"))
        if seen[-1] == "c-name":
            page.keyboard.type("by keyboard")
        if seen[-1] == "create-button":
            break
        outline = page.evaluate(
            "(() => { const e = document.activeElement; const c = e.closest('.choice') ?? e; return getComputedStyle(c).outlineStyle; })()"
        )
        assert outline != "none", f"the focus on {seen[-1]} is visible"
    assert {"offer", "image", "data_disk_gib", "c-name", "create-button"} <= set(seen), seen
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/workspaces$"))
    expect(page.locator(".ws", has_text="by keyboard")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_at_360_pixels_and_the_drawer_opens(visit: Visit, scheme: str) -> None:
    visitor = visit(width=360, color_scheme=scheme, has_touch=True)
    for path in PAGES:
        page = visitor.open(path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{path} is {over} px too wide"
    page = visitor.open("marketplace")
    expect(page.locator(".brand")).to_have_accessible_name("Ark")  # what is too wide to be seen is said all the same
    page.get_by_role("button", name="Navigation").click()
    page.get_by_role("link", name="Wallet", exact=True).click()
    page.wait_for_url(re.compile(r"/wallet$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Wallet")
    page.get_by_role("button", name="Navigation").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Navigation")).to_be_focused()


def test_an_administrator_credits_a_user_who_sees_it_at_once(visit: Visit) -> None:
    user = visit()
    admin = visit(user="admin", password=user.platform.admin_password)
    page = admin.open("admin/users")
    page.get_by_role("row", name=user.name).get_by_role("button").click()
    page.get_by_label("Reason, shown to the user").fill("<i>for testing</i>")
    page.get_by_label("Amount in CNY").fill("abc")
    page.keyboard.press("Enter")
    expect(page.locator("#error-amount")).to_contain_text("plain decimal number")
    page.get_by_label("Amount in CNY").fill("12.34")
    page.keyboard.press("Enter")
    expect(page.locator("#dialog")).to_be_hidden()
    mine = user.open("wallet")
    expect(mine.locator("#movements tr").first).to_contain_text("+¥12.34")
    expect(mine.locator("#movements tr").first).to_contain_text("<i>for testing</i>")
    mine.goto(mine.url.replace("/wallet", "/admin/users"))
    expect(mine.get_by_role("heading", level=1)).to_have_text("Not for this account")


def test_an_unknown_address_says_where_to_go(visit: Visit) -> None:
    page = visit().open("no/such/page")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing here")
    page.get_by_role("link", name="To the console").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Marketplace")
