"""A long list of workspaces: its first part, the rest on demand, search and state, and what starts elsewhere comes to the top.

And what opens from it speaks the language of the console.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert, select

from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, tables
from tests.browser.conftest import Visitor
from tests.platform import Platform

Visit = Callable[..., Visitor]
MANY = 57


def fill(platform: Platform, owner: str) -> None:
    """Stopped workspaces, the oldest first, written into the database: to order them one by one takes minutes."""
    storage = Storage(Settings(state_dir=platform.state_dir).resolved_database_url)
    now = datetime.now(UTC) - timedelta(days=1)
    try:
        with storage.write() as connection:
            offer = connection.execute(select(tables.offers.c.id).where(tables.offers.c.plan == "payg")).scalars().first()
            image = connection.execute(select(tables.images.c.id)).scalars().first()
            rows = [
                {
                    "id": f"{owner}{number:03d}", "owner": owner, "name": f"w{number:03d}", "display_name": f"第{number:03d}号实验",
                    "state": "failed" if number == 7 else "stopped", "state_since": now, "offer_id": offer, "image_id": image,
                    "data_disk_gib": 0, "warned": [], "created_at": now + timedelta(minutes=number), "disk_since": now,
                }
                for number in range(MANY)
            ]  # fmt: skip
            connection.execute(insert(tables.workspaces), rows)
    finally:
        storage.close()


@pytest.fixture
def crowded(visit: Visit) -> Visitor:
    visitor = visit()
    fill(visitor.platform, visitor.name)
    return visitor


def test_a_long_list_shows_its_first_part_and_the_rest_on_demand(crowded: Visitor) -> None:
    page = crowded.open("workspaces")
    rows = page.locator("tbody.ws")
    expect(rows).to_have_count(50)
    expect(rows.first).to_have_attribute("data-name", "w056")
    page.get_by_role("button", name=f"Show more of {MANY}").click()
    expect(rows).to_have_count(MANY)
    expect(page.locator("#ws-w006 [data-why]")).to_be_focused()
    expect(page.locator(".ws-more")).to_have_count(0)
    page.locator("#ws-w003 [data-why]").click()
    expect(page.locator("#why-w003")).to_contain_text("no compute is charged")


def test_every_workspace_is_found_by_its_name_or_state(crowded: Visitor) -> None:
    page = crowded.open("workspaces")
    rows = page.locator("tbody.ws")
    page.get_by_label("Name, compute or image").fill("007号")
    expect(rows).to_have_count(1)
    expect(rows).to_have_attribute("data-name", "w007")
    assert "q=" in page.url
    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_label("Name, compute or image").fill("没有")
    expect(page.get_by_role("heading", name="No workspace matches")).to_be_visible()
    page.get_by_role("link", name="clear the filters").click()
    page.wait_for_url(re.compile(r"/workspaces$"))
    page.get_by_label("State", exact=True).select_option("failed")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text=f"1 of {MANY} workspaces")).to_be_visible()


def test_what_starts_elsewhere_comes_to_the_top_without_a_reload(crowded: Visitor) -> None:
    page = crowded.open("workspaces")
    expect(page.locator("#ws-w001")).to_have_count(0)
    page.evaluate("window.stayed = true")
    answer = crowded.platform.api("POST", "/workspaces/w001/start", {}, user=crowded.name)
    assert answer.status == 202, answer.text
    first = page.locator("tbody.ws").first
    expect(first).to_have_attribute("data-name", "w001")
    expect(first).to_have_attribute("data-state", "running", timeout=60_000)
    assert page.evaluate("window.stayed") is True
    expect(page.locator("#ws-w001 time").first).to_have_text(re.compile("second|minute"))
    crowded.platform.api("POST", "/workspaces/w001/stop", user=crowded.name)
    expect(first).to_have_attribute("data-state", "stopped", timeout=60_000)


def test_the_dialog_before_a_stop_says_how_much_is_lost(crowded: Visitor) -> None:
    platform, page = crowded.platform, crowded.open("workspaces")
    platform.api("POST", "/workspaces/w000/start", {}, user=crowded.name)
    row = page.locator("#ws-w000")
    expect(row).to_have_attribute("data-state", "running", timeout=60_000)
    (platform.state_dir / "runs" / f"{crowded.name}000" / "tmp" / "big").write_bytes(os.urandom(3 * 1024 * 1024))
    page.locator("#ws-w000 [data-events]").click()
    expect(page.locator("#events-body")).to_contain_text("Starting on this machine")
    page.locator("#events-close").click()
    row.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#dialog")).to_contain_text(re.compile(r"Lost: 3\.\d MiB of files outside /home/user"))
    page.locator("#dialog").get_by_role("button", name="Stop").click()
    expect(row).to_have_attribute("data-state", "stopped", timeout=60_000)


def test_jupyterlab_opens_in_the_language_of_the_console_and_can_be_given_another(visit: Visit) -> None:
    visitor = visit(locale="zh-CN")
    fill(visitor.platform, visitor.name)
    platform, page = visitor.platform, visitor.open("workspaces")
    assert platform.api("GET", "/me", user=visitor.name).json["language"] == "zh", "the browser's, until another is chosen"
    platform.api("POST", "/workspaces/w001/start", {}, user=visitor.name)
    row = page.locator("#ws-w001")
    expect(row).to_have_attribute("data-state", "running", timeout=60_000)
    lab = page.context.new_page()
    lab.goto(f"{platform.address}/user/{visitor.name}/w001/lab")
    menu = lab.get_by_role("menubar")
    expect(menu.get_by_role("menuitem", name="文件", exact=True)).to_be_visible(timeout=90_000)
    menu.get_by_role("menuitem", name="设置", exact=True).click()
    expect(lab.locator(".lm-Menu-itemLabel", has_text=re.compile("^语言$"))).to_be_visible()  # the server translates menus
    saved = lab.evaluate(
        """async () => {
          const base = JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl;
          const xsrf = decodeURIComponent(document.cookie.match(/_xsrf=([^;]*)/)[1]);
          const raw = JSON.stringify({ locale: "en" });
          const body = JSON.stringify({ raw });
          const answer = await fetch(`${base}lab/api/settings/@jupyterlab/translation-extension:plugin`,
            { method: "PUT", body, headers: { "X-XSRFToken": xsrf, "Content-Type": "application/json" } });
          return answer.status;
        }"""
    )
    assert saved == 204
    lab.reload()
    expect(menu.get_by_role("menuitem", name="File", exact=True)).to_be_visible(timeout=90_000)
    lab.close()
    platform.api("POST", "/workspaces/w001/stop", user=visitor.name)
    expect(row).to_have_attribute("data-state", "stopped", timeout=60_000)
