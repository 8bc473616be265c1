"""Without a mouse: from the sign-in into a running workspace's menu, and out of it again by Stop."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import CONSOLE, Visitor

Visit = Callable[..., Visitor]
START_MS = 90_000
#: where the eye sees that the caret is: on the control itself, or on the choice around it
SEEN = "(() => { const e = document.activeElement; return getComputedStyle(e.closest('.choice') ?? e).outlineStyle; })()"


def tab_to(page: Page, selector: str, *, most: int = 90) -> None:
    """Press Tab until the caret is there; each place on the way can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        if here.startswith("<body"):
            continue
        assert page.evaluate(SEEN) != "none", f"the caret cannot be seen on {here}"
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def test_from_the_sign_in_to_a_running_workspace_and_its_end_with_the_keyboard_alone(visit: Visit) -> None:
    visitor = visit(sign_in=False)
    page = visitor.page
    page.goto(f"{visitor.platform.address}{CONSOLE}/")
    expect(page.locator("#username_input")).to_be_focused()
    page.keyboard.type(visitor.name)
    tab_to(page, "#password_input")
    page.keyboard.type(visitor.password)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"{CONSOLE}/marketplace"))
    tab_to(page, "a[href*='/workspaces/new']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/workspaces/new"))
    tab_to(page, "#create-button")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/workspaces$"))
    row = page.locator(".ws")
    expect(row).to_have_attribute("data-state", "running", timeout=START_MS)
    expect(page.locator("#events-body .event").first).to_be_visible()
    tab_to(page, "[data-menu=enter]")
    page.keyboard.press("Enter")
    lab = row.get_by_role("menuitem", name="JupyterLab")
    expect(lab).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(lab).to_be_focused()
    page.keyboard.press("Escape")
    expect(lab).to_have_count(0)
    tab_to(page, "[hx-get$='/dialog/stop']")
    page.keyboard.press("Enter")
    dialog = page.locator("#dialog")
    expect(dialog.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(row.get_by_role("button", name="Stop", exact=True)).to_be_focused()  # one goes on from where one was
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("data-state", "stopped", timeout=START_MS)
    assert page.evaluate("document.querySelector('.ws').contains(document.activeElement)"), "the caret is still in the row"
