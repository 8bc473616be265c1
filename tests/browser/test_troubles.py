"""What a person meets when things go wrong: a session that ends, a network that is lost or slow, a second tab, an empty wallet."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from decimal import Decimal

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import CONSOLE, Visitor
from tests.browser.furnished import KEY, made
from tests.platform import Platform, wait_until

Visit = Callable[..., Visitor]
MakePlatform = Callable[..., Platform]
START_MS = 90_000
#: a network of one answer in two seconds
SLOW = {"offline": False, "latency": 2000, "downloadThroughput": -1, "uploadThroughput": -1}


def order(visitor: Visitor, title: str, **changes: object) -> str:
    """A workspace, ordered without the form; its name."""
    offers = visitor.platform.api("GET", "/offers?plan=payg", user=visitor.name).json["items"]
    image = visitor.platform.api("GET", "/images", user=visitor.name).json["items"][0]["id"]
    cheapest = min(offers, key=lambda offer: offer["vcpu"])["id"]
    body = {"request_id": secrets.token_hex(8), "offer": cheapest, "image": image, "display_name": title, **changes}
    answer = visitor.platform.api("POST", "/workspaces", body, user=visitor.name)
    assert answer.status in (201, 202), answer.text
    return str(answer.json["name"])


def state_of(visitor: Visitor, name: str) -> str:
    return str(visitor.platform.api("GET", f"/workspaces/{name}", user=visitor.name).json["state"])


def slow(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW)


def test_an_ended_session_leaves_the_page_and_leads_back_to_it(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("workspaces/new")
    page.get_by_label("Name", exact=True).fill("typed before")
    page.evaluate("window.stayed = true")
    visitor.page.context.clear_cookies()
    page.evaluate("document.body.dispatchEvent(new Event('ark:changed'))")  # what the frame does each minute
    alert = page.locator("#alerts")
    expect(alert).to_contain_text("Your session has ended")
    expect(page.get_by_label("Name", exact=True)).to_have_value("typed before")
    page.locator("#create-button").click()
    expect(page.locator("[data-form-error], [data-quote-error]").filter(has_text="session has ended").first).to_be_visible()
    assert page.evaluate("window.stayed") is True, "nothing that was typed is taken away"
    alert.get_by_role("link", name="Sign in").click()
    page.locator("#username_input").fill(visitor.name)
    page.locator("#password_input").fill(visitor.password)
    page.locator("#login_submit").click()
    page.wait_for_url(re.compile(rf"{CONSOLE}/workspaces/new$"))


def test_a_lost_network_is_said_and_what_happened_meanwhile_is_shown_after(visit: Visit) -> None:
    visitor = visit()
    name = order(visitor, "far away")
    page = visitor.open("workspaces")
    row = page.locator(f"#ws-{name}")
    expect(row).to_have_attribute("data-state", "running", timeout=START_MS)
    lost = page.locator("#list-lost")
    expect(lost).to_be_empty()
    page.evaluate("window.stayed = true")
    page.context.set_offline(True)
    expect(lost).to_have_text("Connection lost. Reconnecting…")
    row.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#alerts")).to_contain_text("No answer from the platform")
    visitor.platform.api("POST", f"/workspaces/{name}/stop", user=visitor.name)
    wait_until(lambda: state_of(visitor, name) == "stopped", seconds=60)
    page.context.set_offline(False)
    expect(lost).to_be_empty(timeout=30_000)
    expect(row).to_have_attribute("data-state", "stopped")
    assert page.evaluate("window.stayed") is True
    visitor.problems[:] = [
        said for said in visitor.problems if not said.startswith("htmx:")
    ]  # it notes each request that did not get through


def test_on_a_slow_network_a_button_says_that_it_is_at_work_and_sends_once(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("workspaces/new")
    page.get_by_label("Name", exact=True).fill("slowly")
    expect(page.locator("[data-quote=per_hour]")).to_contain_text("¥")
    slow(page)
    button = page.locator("#create-button")
    button.dblclick()
    expect(button).to_have_attribute("data-busy", "Sending…")
    expect(button).to_be_disabled()
    page.wait_for_url(re.compile(r"/workspaces$"))
    expect(page.locator(".ws")).to_have_count(1)
    name = str(page.locator(".ws").get_attribute("data-name"))
    expect(page.locator(f"#ws-{name}")).to_have_attribute("data-state", "running", timeout=START_MS)
    page.locator(f"#ws-{name}").get_by_role("button", name="Stop", exact=True).click()
    dialog = page.locator("#dialog")
    expect(dialog).to_have_text("One moment…")
    expect(dialog).to_contain_text("Kept: everything in /home/user")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.locator(f"#ws-{name}").get_by_role("button", name="Stop", exact=True).click()
    expect(dialog).to_have_text("One moment…")
    with page.expect_response(re.compile("dialog/stop")):
        page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()  # who closed it meanwhile does not get it after all
    assert len(visitor.platform.api("GET", "/workspaces", user=visitor.name).json["items"]) == 1
    visitor.platform.api("POST", f"/workspaces/{name}/stop", user=visitor.name)


def test_on_a_slow_network_the_netdisk_does_once_what_is_pressed_twice(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    page.goto(f"{visitor.platform.address}/services/netdisk/")
    expect(page.locator("#nd-note")).not_to_be_empty()
    page.locator("#nd-command").click()
    expect(page.locator("#nd-dialog")).to_contain_text("You have no tokens")
    slow(page)
    page.get_by_role("button", name="Make a token").dblclick()
    expect(page.locator("#toasts")).to_have_text("Sending…")
    expect(page.locator("#nd-dialog")).to_contain_text("This is shown once")
    revoke = page.get_by_role("button", name="Revoke")
    expect(revoke).to_have_count(1)
    revoke.dblclick()
    expect(page.locator("#nd-dialog")).to_contain_text("You have no tokens")
    expect(page.locator("#alerts")).to_be_empty()  # the second press was none
    page.keyboard.press("Escape")
    page.locator("[data-sort=size]").click()
    expect(page.locator("#nd-table")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#nd-table")).not_to_have_attribute("aria-busy", "true")


def said(page: Page) -> Locator:
    """What a page answers: in its dialog, as a toast, or as an alert. Never a silent button."""
    return page.locator("#dialog [data-form-error], #toasts, #alerts").filter(has_text=re.compile(r"\w")).first


def test_two_tabs_do_not_fight_over_a_workspace(visit: Visit) -> None:
    visitor = visit()
    name = order(visitor, "shared")
    first = visitor.open("workspaces")
    expect(first.locator(f"#ws-{name}")).to_have_attribute("data-state", "running", timeout=START_MS)
    second = first.context.new_page()
    second.goto(first.url)
    for page in (first, second):
        page.locator(f"#ws-{name}").get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator("#dialog")).to_contain_text("Kept: everything")
    first.locator("#dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(second.locator(f"#ws-{name}")).to_have_attribute("data-state", "stopped", timeout=START_MS)
    second.locator("#dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(said(second)).to_be_visible()  # either it says what it is now, or that it stops
    second.keyboard.press("Escape")
    _grown_and_released_elsewhere(visitor, second, name)
    second.goto(f"{visitor.platform.address}{CONSOLE}/workspaces")
    expect(second.locator(f"#ws-{name}")).to_have_attribute("data-state", "released")
    second.evaluate(f"""htmx.ajax("GET", "{CONSOLE}/workspaces/no-such/dialog/stop", {{target: "#dialog-body", source: document.body}})""")
    refused = second.locator("#dialog")
    expect(refused.get_by_role("heading")).to_have_text("That did not work")  # a dialog that cannot be had is one too
    expect(refused.get_by_role("button", name="Back")).to_be_focused()
    second.keyboard.press("Enter")
    expect(refused).to_be_hidden()
    second.close()


def _grown_and_released_elsewhere(visitor: Visitor, page: Page, name: str) -> None:
    """The tab asks; meanwhile another tab did it; then the tab sends."""
    row, dialog, api = page.locator(f"#ws-{name}"), page.locator("#dialog"), visitor.platform.api
    row.locator("[data-menu=more]").click()
    row.get_by_role("menuitem", name="Larger data disk…").click()
    dialog.locator("label", has_text="200 GiB").click()
    made(api("POST", f"/workspaces/{name}/disk", {"data_disk_gib": 200}, user=visitor.name))
    dialog.get_by_role("button", name="Grow").click()
    expect(page.locator("#error-data_disk_gib").or_(said(page)).first).to_have_text(re.compile(r"\w"))
    assert api("GET", f"/workspaces/{name}", user=visitor.name).json["data_disk_gib"] == 200
    page.keyboard.press("Escape")
    row.locator("[data-menu=more]").click()
    row.locator("[data-dialog=release]").click()
    page.locator("#d-confirm").fill(name)
    made(api("DELETE", f"/workspaces/{name}", {"confirm": name}, user=visitor.name))
    page.keyboard.press("Enter")
    expect(said(page)).to_be_visible()
    page.keyboard.press("Escape")
    released = [event for event in api("GET", "/events", user=visitor.name).json["items"] if event["kind"] == "released"]
    assert len(released) == 1


def test_a_key_and_a_token_that_are_gone_are_said_to_be(visit: Visit) -> None:
    visitor = visit()
    api, page = visitor.platform.api, visitor.page
    key = made(api("POST", "/ssh-keys", {"public_key": KEY, "name": "laptop"}, user=visitor.name))
    visitor.open("ssh-keys").get_by_role("button", name="Delete the key laptop").click()
    expect(page.locator("#dialog h2")).to_contain_text("laptop")
    made(api("DELETE", f"/ssh-keys/{key['id']}", user=visitor.name))
    page.locator("#dialog").get_by_role("button", name="Delete").click()
    expect(said(page)).to_contain_text("no such key")
    second = page.context.new_page()
    for tab in (page, second):
        tab.goto(f"{visitor.platform.address}/services/netdisk/")
        tab.locator("#nd-command").click()
        if tab is page:
            tab.get_by_role("button", name="Make a token").click()
        expect(tab.get_by_role("button", name="Revoke")).to_be_visible()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#nd-dialog")).to_contain_text("You have no tokens")
    second.get_by_role("button", name="Revoke").click()
    expect(second.locator("#alerts")).to_contain_text("This token is not there any more")
    expect(second.locator("#nd-dialog")).to_contain_text("You have no tokens")
    second.close()


def test_an_empty_wallet_is_said_wherever_something_costs_with_the_way_to_recharge(visit: Visit, make_platform: MakePlatform) -> None:
    poor = make_platform(opening_credit="0.00")
    poor.start()
    visitor = visit(platform=poor)
    page = visitor.open("workspaces/new")
    expect(page.locator("#balance .red")).to_be_visible()
    expect(page.locator("#notices")).to_contain_text("The balance is used up")
    expect(page.locator("#notices").get_by_role("link", name="Recharge")).to_be_visible()
    page.locator("#create-button").click()
    expect(page.locator("form .form-alert").get_by_role("link", name="Recharge")).to_be_visible()
    page = visitor.open("marketplace?plan=monthly")
    page.get_by_role("button", name=re.compile("^Buy")).first.click()
    page.locator("#dialog").get_by_role("button", name="Buy").click()
    page.locator("#dialog").get_by_role("link", name="Recharge").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recharge")
    _nothing_left_for_what_there_is(visitor)
    _one_wallet_in_two_tabs(visitor)


def fill_up(visitor: Visitor, amount: str) -> None:
    """Bring the balance to ``amount``, as an operator who corrects it."""
    balance = Decimal(visitor.platform.api("GET", "/wallet", user=visitor.name).json["balance"]["amount"])
    body = {"request_id": secrets.token_hex(8), "amount": str(Decimal(amount) - balance), "reason": "for the test"}
    made(visitor.platform.api("POST", f"/admin/users/{visitor.name}/correct", body))


def _nothing_left_for_what_there_is(visitor: Visitor) -> None:
    """To start, to grow a disk and to renew: each answers with a sentence where it was asked, and the way to recharge."""
    api, page, dialog = visitor.platform.api, visitor.page, visitor.page.locator("#dialog")
    fill_up(visitor, "200")
    name = order(visitor, "poor")
    wait_until(lambda: state_of(visitor, name) == "running", seconds=60)
    made(api("POST", f"/workspaces/{name}/stop", user=visitor.name))
    monthly = min(api("GET", "/offers?plan=monthly").json["items"], key=lambda offer: offer["vcpu"])["id"]
    made(api("POST", "/assets", {"request_id": secrets.token_hex(8), "offer": monthly, "months": 1}, user=visitor.name))
    wait_until(lambda: state_of(visitor, name) == "stopped", seconds=60)
    fill_up(visitor, "0")
    row = visitor.open("workspaces").locator(f"#ws-{name}")
    row.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#alerts").get_by_role("link", name="Recharge")).to_be_visible()
    row.locator("[data-menu=more]").click()
    row.get_by_role("menuitem", name="Larger data disk…").click()
    dialog.locator("label", has_text="200 GiB").click()
    dialog.get_by_role("button", name="Grow").click()
    expect(dialog.get_by_role("link", name="Recharge")).to_be_visible()
    visitor.open("assets").get_by_role("button", name="Renew").click()
    dialog.get_by_role("button", name="Renew").click()
    expect(dialog.get_by_role("link", name="Recharge")).to_be_visible()
    assert state_of(visitor, name) == "stopped"


def _one_wallet_in_two_tabs(visitor: Visitor) -> None:
    """What one tab has spent, the other does not spend again."""
    visitor.platform.make_room()
    fill_up(visitor, "60")
    first = visitor.open("marketplace?plan=monthly")
    second = first.context.new_page()
    second.goto(first.url)
    for page in (first, second):
        page.get_by_role("button", name="Buy CPU · 1 vCPU").first.click()
        expect(page.locator("#dialog [data-term-after]")).not_to_have_class(re.compile("red"))
    first.locator("#dialog").get_by_role("button", name="Buy").click()
    first.wait_for_url(re.compile(r"/assets$"))
    second.locator("#dialog").get_by_role("button", name="Buy").click()
    expect(second.locator("#dialog").get_by_role("alert")).to_contain_text(re.compile("Your wallet holds|sold out"))
    assert len(visitor.platform.api("GET", "/assets", user=visitor.name).json["items"]) == 2
    second.close()
