"""A real browser before a real platform: one Chromium for the session, a user and a signed-in page of its own for each test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ark_extensions.environments import PROJECT
from tests.platform import Platform

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CONSOLE = "/services/console"
#: two cores run the browser, the platform and JupyterLab at once
expect.set_options(timeout=15_000)
SHOTS = PROJECT / "test-results" / "screenshots"


@pytest.fixture(scope="module", autouse=True)
def room(platform: Platform) -> None:
    """Each module begins with the whole machine: what the one before left running is stopped."""
    platform.make_room()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def selling(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A second installation: it sells the machine's compute by the month, takes it back and takes transfers."""
    payments = {"providers": ["manual"], "manual_instructions": "Account 6222 0000, Bank of Testing"}
    made = Platform(settings={"payments": payments, "term_conversion_percent": 80})
    try:
        made.start()
        yield made
    finally:
        made.close(keep_logs=request.session.testsfailed > 0)


@dataclass
class Visitor:
    """A person at the browser. ``problems``: what the page's console complained of, but for answers that were refused."""

    platform: Platform
    name: str
    password: str
    page: Page
    problems: list[str]

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.platform.address}{CONSOLE}/{path}")
        return self.page

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def sign_in(self) -> None:
        """As a person does: open the console, be asked who one is, come back to it."""
        self.page.goto(f"{self.platform.address}{CONSOLE}/")
        self.page.locator("#username_input").fill(self.name)
        self.page.locator("#password_input").fill(self.password)
        self.page.locator("#login_submit").click()
        self.page.wait_for_url(re.compile(rf"{CONSOLE}/(marketplace|workspaces)"))


def listen(page: Page, problems: list[str]) -> None:
    page.on("pageerror", lambda error: problems.append(str(error)))
    refused = ("Failed to load resource", "Response Status Error Code")
    page.on(
        "console", lambda said: problems.append(said.text) if said.type == "error" and not any(r in said.text for r in refused) else None
    )


@pytest.fixture
def visit(platform: Platform, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors; at the end each page must have had no error of its own."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def make(
        *, user: str | None = None, password: str | None = None, width: int = 1440, sign_in: bool = True, platform: Platform = platform,
        **options: Any,
    ) -> Visitor:  # fmt: skip
        name = user or f"u{secrets.token_hex(4)}"
        password = password or platform.add_user(name)
        options = {"locale": "en-US", "timezone_id": "Asia/Shanghai", **options}
        context = chromium.new_context(viewport={"width": width, "height": 900 if width > 500 else 780}, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        problems: list[str] = []
        page = context.new_page()
        listen(page, problems)
        visitor = Visitor(platform, name, password, page, problems)
        visitors.append(visitor)
        if sign_in:
            visitor.sign_in()
        return visitor

    yield make
    failed = request.session.testsfailed
    for number, visitor in enumerate(visitors):
        if failed and not visitor.page.is_closed():
            visitor.shot(f"end-{request.node.name[:60]}-{number}")
    for context in contexts:
        context.close()
    assert [visitor.problems for visitor in visitors if visitor.problems] == []
