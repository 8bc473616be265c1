"""A folder of a hundred thousand files in the browser: it comes up, is searched, and the page does not hold a row for each."""

from __future__ import annotations

import os
import time

from playwright.sync_api import expect

from ark_extensions.volumes.local_dir import LocalDirVolumes
from tests.browser.test_walk import Visit

FILES = 100_000
#: two cores list it, sort it and draw it beside other tests; a page that draws a row for each file takes minutes
PATIENCE_MS = 30_000


def test_a_hundred_thousand_files_stay_usable(visit: Visit) -> None:
    visitor = visit()
    folder = LocalDirVolumes(visitor.platform.state_dir).netdisk(visitor.name) / "many"
    folder.mkdir()
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(FILES):
        os.mknod(f"f{number:06}", 0o644, dir_fd=place)
    os.close(place)
    page = visitor.page
    page.goto(f"{visitor.platform.address}/services/netdisk/")
    began = time.monotonic()
    page.get_by_role("link", name="many", exact=True).click()
    expect(page.locator("#nd-rows")).to_contain_text("f000000", timeout=PATIENCE_MS)
    print(f"| the first rows of {FILES} | {time.monotonic() - began:.1f} s |")
    expect(page.locator("#nd-note")).to_have_text(f"{FILES} items", timeout=PATIENCE_MS)
    assert page.locator("#nd-rows tr").count() <= 800
    page.get_by_label("Search by name").fill("f04999")
    expect(page.locator("#nd-rows tr")).to_have_count(10, timeout=PATIENCE_MS)
    assert not visitor.problems
