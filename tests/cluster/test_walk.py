"""The user's guide, walked in the browser against workspaces that are pods: the very test that walks it on one machine."""

from __future__ import annotations

from tests.browser.conftest import chromium, visit
from tests.browser.test_walk import test_the_guide_from_its_first_line_to_its_last

__all__ = ["chromium", "test_the_guide_from_its_first_line_to_its_last", "visit"]
