"""What a person meets when things go wrong: a session that ends, a network that is lost or slow, a second tab, an empty wallet."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import CONSOLE, Visitor
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
    told = second.locator("#dialog [data-form-error], #toasts, #alerts").filter(has_text=re.compile(r"\w"))
    expect(told.first).to_be_visible()  # either it says what it is now, or that it stops: never a silent button
    second.keyboard.press("Escape")
    second.goto(f"{visitor.platform.address}{CONSOLE}/workspaces")
    expect(second.locator(f"#ws-{name}")).to_have_attribute("data-state", "stopped")
    visitor.platform.api("DELETE", f"/workspaces/{name}", {"confirm": name}, user=visitor.name)
    second.evaluate(f"""htmx.ajax("GET", "{CONSOLE}/workspaces/no-such/dialog/stop", {{target: "#dialog-body", source: document.body}})""")
    refused = second.locator("#dialog")
    expect(refused.get_by_role("heading")).to_have_text("That did not work")  # a dialog that cannot be had is one too
    expect(refused.get_by_role("button", name="Back")).to_be_focused()
    second.keyboard.press("Enter")
    expect(refused).to_be_hidden()
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
