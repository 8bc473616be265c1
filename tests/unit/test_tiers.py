"""`make test` says which tier it cannot run here, and why."""

from __future__ import annotations

import pytest

from tests import tiers
from tests.kubernetes import build


def test_a_machine_without_what_a_cluster_needs_is_told_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(build, "problems", lambda: ["a cluster needs root", "there is no /dev/kmsg"])
    assert tiers.cannot_run("cluster") == "The cluster tier cannot run: a cluster needs root; there is no /dev/kmsg."


def test_somebody_elses_cluster_needs_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "somewhere")
    monkeypatch.setattr(build, "problems", lambda: ["a cluster needs root"])
    assert tiers.cannot_run("cluster") == "" and tiers.build_cluster() == ""


def test_the_cluster_comes_last_and_alone() -> None:
    assert list(tiers.TIERS)[-1] == "cluster" and tiers.LAST == ("cluster",)


def test_what_is_built_is_named_by_its_version_and_its_sources() -> None:
    built = build.programs()
    assert built.control.name.startswith(f"kubernetes-{build.version('control', 'k8s.io/kubernetes')}-")
    assert build.version("control", "k8s.io/kubernetes").startswith("v1.36.")
