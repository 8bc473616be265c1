"""The page that says which test holds which sentence names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`((?:[a-z]+/[a-z_]+\.py)?)(?:::(test_\w+))?`")


def named(page: str) -> list[tuple[str, str]]:
    """(file, function or "") of each test that a page names; ``::name`` alone is in the file named before it on the line."""
    found = []
    for line in (ROOT / "docs" / page).read_text().splitlines():
        file = ""
        for path, function in TEST.findall(line):
            file = path or file
            if path or function:
                found.append((file, function))
    return found


@pytest.mark.parametrize("page", ["sentences.md", "doubts.md"])
def test_each_test_that_is_named_is_there(page: str) -> None:
    missing = []
    for file, function in named(page):
        place = next((home / file for home in (ROOT / "tests", ROOT) if (home / file).is_file()), None)
        if not file or place is None or (function and not re.search(rf"def {function}\b", place.read_text())):
            missing.append(f"{file}::{function}")
    assert missing == []
    assert len(named(page)) > 30
