"""SSH keys in the browser: a pasted private key never leaves it, a key is added and deleted, the list's column shows and copies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.test_console import order

Visit = Callable[..., Visitor]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """(private, public)"""
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "my laptop", "-f", str(path)], check=True, timeout=30)
    return path.read_text(), path.with_suffix(".pub").read_text()


def test_from_no_key_to_a_copied_command_and_back(visit: Visit, pair: tuple[str, str]) -> None:
    visitor = visit()
    name = order(visitor, "Reach me")
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    row = page.locator(f"#ws-{name}")
    row.get_by_role("link", name="Add a key").click()
    page.wait_for_url(re.compile(r"/ssh-keys$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("SSH keys")
    expect(page.get_by_role("heading", name="You have no key yet")).to_be_visible()
    page.get_by_label("Public key").fill(pair[1])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#ssh-keys tbody tr")).to_have_count(1)
    expect(page.locator("#ssh-keys")).to_contain_text("my laptop")
    expect(page.locator("#ssh-keys")).to_contain_text("SHA256:")
    expect(page.get_by_label("Public key")).to_have_value("")
    visitor.shot("ssh-keys")
    visitor.open("workspaces")
    expect(row.locator(".ssh-text")).to_have_text("ssh ••••••••")
    row.get_by_role("button", name="Show the SSH command").click()
    command = f"ssh -J {visitor.name}@127.0.0.1:{visitor.platform.ssh_port} user@{name}"
    expect(row.locator(".ssh-text")).to_have_text(command)
    visitor.shot("ssh-column")
    row.get_by_role("button", name="Copy the SSH command").click()
    assert page.evaluate("navigator.clipboard.readText()") == command
    visitor.open("ssh-keys")
    page.get_by_role("button", name="Delete the key my laptop").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="You have no key yet")).to_be_visible()


@pytest.mark.parametrize("way", ["pasted", "file"])
def test_a_private_key_never_leaves_the_browser(visit: Visit, pair: tuple[str, str], tmp_path: Path, way: str) -> None:
    visitor = visit()
    page = visitor.open("ssh-keys")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.method} {request.url} {request.post_data or ''}"))
    if way == "pasted":
        page.get_by_label("Public key").fill(pair[0])
        page.get_by_role("button", name="Add", exact=True).click()
    else:
        page.get_by_label("or its file").set_input_files(tmp_path / "id")
    expect(page.locator("#error-public_key")).to_contain_text("This is a private key, and it was not sent")
    expect(page.get_by_label("Public key")).to_have_value("")
    assert not [line for line in sent if "POST" in line or "PRIVATE" in line]


def test_a_file_is_read_and_a_bad_key_is_marked_at_its_field(visit: Visit, pair: tuple[str, str], tmp_path: Path) -> None:
    page = visit().open("ssh-keys")
    page.get_by_label("Public key").fill("ssh-dss AAAA")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#error-public_key")).to_contain_text("ssh-keygen -t ed25519")
    page.get_by_label("or its file").set_input_files(tmp_path / "id.pub")
    expect(page.get_by_label("Public key")).to_have_value(pair[1])
    page.get_by_label("Name").fill("From a file")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#ssh-keys")).to_contain_text("From a file")
    page.get_by_label("Public key").fill(pair[1])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".form-alert[data-form-error]:visible")).to_contain_text("You have added this key before")


def test_the_page_and_the_list_fit_every_width(visit: Visit, pair: tuple[str, str]) -> None:
    visitor = visit()
    page = visitor.open("ssh-keys")
    page.get_by_label("Public key").fill(pair[1])
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#ssh-keys tbody tr")).to_have_count(1)
    order(visitor, "A workspace with quite a long name")
    for width in (390, 768, 1100, 1280, 1366, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        for path in ("ssh-keys", "workspaces"):
            visitor.open(path)
            if path == "workspaces":
                page.get_by_role("button", name="Show the SSH command").click()
            visitor.shot(f"{path}-{width}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{path} at {width}"
