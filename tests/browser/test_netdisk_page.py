"""The netdisk's page in a real browser before the real platform: upload by button, folder and drop, a conflict, large files that go
on after the service was killed, rename, move, trash, preview, tokens, keyboard, a small screen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from ark_extensions.volumes.local_dir import LocalDirVolumes
from tests.browser.conftest import Visitor

Visit = Callable[..., Visitor]
MIB = 1024 * 1024


def tree(visitor: Visitor) -> Path:
    return LocalDirVolumes(visitor.platform.state_dir).netdisk(visitor.name)


def netdisk(visitor: Visitor) -> Page:
    page = visitor.page
    page.goto(f"{visitor.platform.address}/services/netdisk/")
    expect(page.locator("#nd-note")).not_to_be_empty()
    return page


def row(page: Page, name: str) -> Any:
    named = page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("button", name=name, exact=True))
    return page.locator("#nd-rows tr", has=named)


def act(page: Page, name: str, what: str) -> None:
    row(page, name).get_by_role("button", name=re.compile("^Actions on")).click()
    row(page, name).get_by_role("button", name=what, exact=True).click()


def upload(page: Page, *files: dict[str, Any] | str | Path) -> None:
    page.locator("#nd-pick-files").set_input_files(list(files))


def test_the_navigation_leads_to_the_netdisk(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("marketplace")
    page.get_by_role("link", name="Netdisk").click()
    expect(page).to_have_url(re.compile(r"/services/netdisk/$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Netdisk")
    expect(page.locator("#nd-used")).to_contain_text("the first 10.0 GiB cost nothing")
    visitor.shot("netdisk-empty")
    assert not visitor.problems


def test_upload_conflict_rename_trash_and_restore(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    one = {"name": "数据.txt", "mimeType": "text/plain", "buffer": b"one"}
    upload(page, one, {"name": "b.txt", "mimeType": "text/plain", "buffer": b"two"})
    expect(row(page, "数据.txt")).to_be_visible()
    assert (tree(visitor) / "数据.txt").read_bytes() == b"one"
    upload(page, {"name": "b.txt", "mimeType": "text/plain", "buffer": b"three"})
    page.get_by_role("button", name="Keep both").click()
    expect(row(page, "b (2).txt")).to_be_visible()
    assert (tree(visitor) / "b.txt").read_bytes() == b"two" and (tree(visitor) / "b (2).txt").read_bytes() == b"three"
    act(page, "b (2).txt", "Rename")
    page.get_by_label("New name").fill("c.txt")
    page.keyboard.press("Enter")
    expect(row(page, "c.txt")).to_be_visible()
    page.get_by_role("button", name="New folder").click()
    page.get_by_label("Name of the folder").fill("folder")
    page.keyboard.press("Enter")
    expect(row(page, "folder")).to_be_visible()
    act(page, "c.txt", "Move")
    page.get_by_label("Into which folder? Empty: the top.").fill("folder")
    page.keyboard.press("Enter")
    expect(row(page, "c.txt")).to_have_count(0)
    page.get_by_role("link", name="folder", exact=True).click()
    expect(row(page, "c.txt")).to_be_visible()
    act(page, "c.txt", "Delete")
    expect(row(page, "c.txt")).to_have_count(0)
    page.get_by_role("button", name="Trash", exact=True).click()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#toasts")).to_contain_text("folder/c.txt is back")
    assert (tree(visitor) / "folder/c.txt").read_bytes() == b"three"
    visitor.shot("netdisk-list")
    assert not visitor.problems


def test_a_folder_goes_up_as_a_folder(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    page = netdisk(visitor)
    for name in ("photos/daisy/1.jpg", "photos/rose/2.jpg", "photos/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    page.locator("#nd-pick-folder").set_input_files(tmp_path / "photos")
    expect(row(page, "photos")).to_be_visible()
    expect(page.locator("#nd-tray-state")).to_have_text("3 of 3 done")
    assert (tree(visitor) / "photos/rose/2.jpg").read_text() == "photos/rose/2.jpg"
    with page.expect_download() as started:
        act(page, "photos", "Download as zip")
    assert started.value.suggested_filename == "photos.zip"
    assert not visitor.problems


def slow_down(page: Page, bytes_a_second: int) -> None:
    """So that there is time to act on an upload while it runs; -1: as fast as it goes."""
    limits = {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", limits)


def test_a_large_upload_pauses_and_goes_on_after_the_service_was_killed(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    page = netdisk(visitor)
    data = os.urandom(MIB) * 160
    (tmp_path / "big.bin").write_bytes(data)
    slow_down(page, 12 * MIB)
    upload(page, tmp_path / "big.bin")
    expect(page.locator(".nd-tray li")).to_contain_text(re.compile(r"[1-9]\d* % · "))
    visitor.shot("netdisk-transfer")
    page.get_by_role("button", name="Pause: big.bin").click()
    expect(page.locator(".nd-tray li")).to_contain_text("paused at")
    visitor.platform.kill("netdisk")
    slow_down(page, -1)
    page.get_by_role("button", name="Resume: big.bin").click()
    expect(row(page, "big.bin")).to_be_visible(timeout=60_000)
    assert (tree(visitor) / "big.bin").read_bytes() == data
    assert not visitor.problems


def test_a_large_file_beside_another_is_shown_under_the_name_that_it_got(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    page = netdisk(visitor)
    (tree(visitor) / "big.bin").write_bytes(b"there already")
    data = os.urandom(MIB) * 17
    (tmp_path / "big.bin").write_bytes(data)
    upload(page, tmp_path / "big.bin")
    page.get_by_role("button", name="Keep both").click()
    expect(page.locator(".nd-tray li").filter(has_text="big (2).bin")).to_be_visible(timeout=60_000)
    expect(row(page, "big (2).bin")).to_be_visible()
    assert (tree(visitor) / "big (2).bin").read_bytes() == data and (tree(visitor) / "big.bin").read_bytes() == b"there already"
    assert not visitor.problems


def test_another_language_is_of_the_same_folder_and_an_ended_session_leads_to_sign_in(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    (tree(visitor) / "数据" / "below").mkdir(parents=True)
    (tree(visitor) / "数据" / "here.txt").write_text("here")
    page.reload()
    page.get_by_role("link", name="数据", exact=True).click()
    expect(row(page, "here.txt")).to_be_visible()
    page.get_by_role("button", name="切换到中文").click()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    expect(row(page, "here.txt")).to_be_visible()
    page.get_by_role("button", name="EN: Switch to English").click()
    expect(row(page, "here.txt")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("link", name="below", exact=True).click()
    alert = page.locator("#alerts")
    expect(alert).to_contain_text("Your session has ended.")
    alert.get_by_role("link", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/hub/login"))


def test_an_upload_goes_on_after_the_tab_was_closed(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    page = netdisk(visitor)
    data = os.urandom(MIB) * 150
    (tmp_path / "big.bin").write_bytes(data)
    slow_down(page, 20 * MIB)
    upload(page, tmp_path / "big.bin")
    expect(page.locator(".nd-tray li")).to_contain_text(re.compile(r"(4[4-9]|[5-8]\d) % · "), timeout=60_000)
    page.close(run_before_unload=False)
    visitor.page = page = visitor.page.context.new_page()
    netdisk(visitor)
    expect(page.get_by_role("button", name=re.compile("1 unfinished uploads hold"))).to_be_visible()
    offsets: list[int] = []
    page.on("request", lambda sent: offsets.append(int(sent.headers["upload-offset"])) if sent.method == "PATCH" else None)
    upload(page, tmp_path / "big.bin")
    expect(row(page, "big.bin")).to_be_visible(timeout=60_000)
    assert (tree(visitor) / "big.bin").read_bytes() == data
    assert offsets and offsets[0] >= 64 * MIB, "it went on where it was"


def test_files_and_folders_are_dropped(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["dropped"], "dropped.txt", {type: "text/plain"}));
          for (const kind of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }"""
    )
    expect(row(page, "dropped.txt")).to_be_visible()
    assert (tree(visitor) / "dropped.txt").read_text() == "dropped"


def test_in_chinese_and_in_the_dark(visit: Visit) -> None:
    visitor = visit(locale="zh-CN")
    (tree(visitor) / "报告.txt").write_text("x")
    page = netdisk(visitor)
    expect(page.get_by_role("heading", level=1)).to_have_text("网盘")
    expect(page.locator("#nd-note")).to_have_text("1 项")
    page.locator("button[name=theme]").first.click()
    page.locator("button[name=theme]").first.click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.get_by_role("button", name="命令行").click()
    expect(page.locator("#nd-dialog")).to_contain_text("生成令牌")
    visitor.shot("netdisk-zh-dark")


def test_previews_show_and_run_nothing(visit: Visit) -> None:
    visitor = visit()
    (tree(visitor) / "page.html").write_text("<script>document.title='owned'</script><h1>hello</h1>")
    (tree(visitor) / "book.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "print(1)", "outputs": []}]}')
    page = netdisk(visitor)
    page.get_by_role("button", name="page.html", exact=True).click()
    expect(page.locator("#nd-dialog pre")).to_contain_text("<script>")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="book.ipynb", exact=True).click()
    expect(page.frame_locator("#nd-dialog iframe").locator("pre")).to_have_text("print(1)")
    assert page.title() != "owned" and page.locator("#nd-dialog iframe").get_attribute("sandbox") == ""
    assert not visitor.problems


def test_a_token_for_the_command_line_is_made_used_and_revoked(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    page.get_by_role("button", name="Command line").click()
    page.get_by_label("Name of the computer").fill("my laptop")
    page.get_by_role("button", name="Make a token").click()
    line = page.locator("#nd-dialog code", has_text="rclone config create").inner_text()
    token = re.search(r"pass=(\S+)", line).group(1)  # type: ignore[union-attr]
    visitor.shot("netdisk-command-line")
    dav = "/services/netdisk/dav/"
    assert visitor.platform.request("PROPFIND", dav, token=token, headers={"Depth": "0"}).status == 207
    assert visitor.platform.request("GET", "/services/console/api/v1/me", token=token).status == 403, "it opens nothing else"
    assert visitor.platform.request("POST", f"/hub/api/users/{visitor.name}/tokens", {}, token=token).status in (403, 404)
    expect(page.locator("#nd-dialog")).to_contain_text("my laptop")
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#toasts")).to_contain_text("revoked")
    assert visitor.platform.request("PROPFIND", dav, token=token, headers={"Depth": "0"}).status == 401
    assert not visitor.problems


@pytest.mark.parametrize("width", [360])
def test_a_small_screen(visit: Visit, width: int) -> None:
    visitor = visit()
    (tree(visitor) / ("a-very-long-name-" * 8 + ".txt")).write_text("x")
    visitor.page.set_viewport_size({"width": width, "height": 740})
    page = netdisk(visitor)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.shot("netdisk-small")


def test_a_script_of_another_page_cannot_call_with_the_cookie_alone(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    visitor.open("marketplace")
    status = page.evaluate("fetch('/services/netdisk/api/v1/list', {credentials: 'same-origin'}).then((r) => r.status)")
    assert status == 403
    status = page.evaluate("fetch('/services/netdisk/api/v1/folders', {method: 'POST', body: '{\"path\":\"x\"}'}).then((r) => r.status)")
    assert status == 403 and not (tree(visitor) / "x").exists()


def test_a_dataset_is_imported_by_a_button(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    page.locator("#nd-import").click()
    dialog = page.locator("#nd-dialog")
    line = dialog.locator(".nd-item").first
    expect(line).to_contain_text(re.compile(r"\d+ files"))
    visitor.shot("netdisk-import")
    line.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Copied to")
    [imported] = [entry for entry in tree(visitor).iterdir() if entry.is_dir()]
    expect(row(page, imported.name)).to_be_visible()
    assert any(path.is_file() for path in imported.rglob("*"))
    assert visitor.problems == []


def test_the_page_says_that_there_is_more_than_the_limit(visit: Visit) -> None:
    visitor = visit()
    page = netdisk(visitor)
    expect(page.locator("#nd-over")).to_be_hidden()
    page.route("**/api/v1/usage", over_limit)
    page.reload()
    expect(page.locator("#nd-over")).to_contain_text("Uploads are refused")
    visitor.shot("netdisk-over")


def over_limit(route: Route) -> None:
    """The service's own answer, with the one fact changed that takes a full disk to come about."""
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "over_limit": True})
