"""The user's guide, walked in the browser against workspaces that are pods: the very test that walks it on one machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import chromium, visit
from tests.browser.test_walk import test_the_guide_from_its_first_line_to_its_last
from tests.cluster.conftest import Cluster
from tests.cluster.platform_stage import ClusterPlatform

__all__ = ["chromium", "test_the_guide_from_its_first_line_to_its_last", "visit"]


@pytest.fixture(scope="module")
def platform(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[ClusterPlatform]:
    made = ClusterPlatform(cluster)
    try:
        made.start()
        yield made
    finally:
        made.close(keep_logs=request.session.testsfailed > 0)
