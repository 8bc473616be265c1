"""Built environments: whole or not there, built once, and VS Code never in the way of a start."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT, Environments, environments, fingerprint
from hub_config.bootstrap import builds
from hub_config.bootstrap.progress import StepFailed, Steps

PYTHON = Path("/usr/bin/python3")


@pytest.fixture
def built(tmp_path: Path) -> Environments:
    return environments(tmp_path / "cache")


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(3, log_dir=tmp_path / "logs")


def test_an_interrupted_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    place = tmp_path / "hub-123"
    with pytest.raises(KeyboardInterrupt), builds.unfinished(place) as draft:
        draft.mkdir()
        (draft / "half").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_a_killed_build_is_not_built_upon(tmp_path: Path) -> None:
    place = tmp_path / "hub-123"
    (tmp_path / "hub-123.building").mkdir()
    (tmp_path / "hub-123.building/stale").touch()
    with builds.unfinished(place) as draft:
        assert not draft.exists()
        draft.mkdir()
    assert place.is_dir() and not (place / "stale").exists()


def test_what_is_built_is_not_built_again(built: Environments) -> None:
    built.npm.mkdir(parents=True)
    assert builds.missing(built, ["npm", "code_server"]) == ["code_server"]


def test_an_environment_of_a_python_that_is_gone_is_built_anew(built: Environments) -> None:
    (built.hub / "bin").mkdir(parents=True)
    (built.hub / "bin/python").symlink_to(built.hub / "gone")
    assert builds.missing(built, ["hub"]) == ["hub"]


def test_node_comes_before_what_is_built_with_it(built: Environments) -> None:
    assert builds.missing(built, ["code_server", "npm", "node"]) == ["node", "npm", "code_server"]


def test_a_vs_code_that_cannot_be_built_is_told_and_does_not_stop_the_rest(
    built: Environments, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def fails(*arguments: object) -> None:
        raise StepFailed("no compiler", "make: g++: not found")

    monkeypatch.setitem(builds._BUILDERS, "code_server", fails)
    monkeypatch.setitem(builds._BUILDERS, "npm", lambda name, draft, *rest: draft.mkdir())
    (warning,) = builds.build(["code_server", "npm"], built, steps, PYTHON)
    assert "JupyterLab only" in warning and "no compiler" in warning
    assert built.npm.is_dir() and not built.code_server.exists()
    assert "g++: not found" in built.code_server_problem.read_text()


def test_another_environment_that_cannot_be_built_stops_the_start(
    built: Environments, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise StepFailed("no network", "")

    monkeypatch.setitem(builds._BUILDERS, "npm", fails)
    with pytest.raises(StepFailed):
        builds.build(["npm"], built, steps, PYTHON)


def test_a_failed_command_shows_the_end_of_its_log(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    steps.begin("Proxy")
    with pytest.raises(StepFailed) as failure:
        steps.run(["sh", "-c", "echo it is broken; exit 3"], log_name="x")
    assert "it is broken" in failure.value.tail and "Proxy" in str(failure.value)


def test_a_changed_lock_is_a_new_environment(tmp_path: Path) -> None:
    lock = tmp_path / "hub.txt"
    lock.write_text("a==1")
    before = fingerprint(lock)
    lock.write_text("a==2")
    assert fingerprint(lock) != before and len(before) == 12


@pytest.mark.parametrize("lock", ["hub", "dev", "workspace", "pytorch", "node", "uv"])
def test_a_lock_has_every_dependency_that_is_declared(lock: str) -> None:
    """A dependency that is declared and not locked is missing on the next machine: run `make lock`."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = list(project["project"]["dependencies"]) if lock in ("hub", "dev") else []
    for line in groups.get(lock, []):
        wanted += groups[line["include-group"]] if isinstance(line, dict) else [line]
    names = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in wanted}
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (PROJECT / "locks" / f"{lock}.txt").read_text(), re.MULTILINE))
    assert not names - locked


def test_the_locks_name_no_host_and_pin_every_hash() -> None:
    for lock in (PROJECT / "locks").glob("*.txt"):
        text = lock.read_text()
        assert "http://" not in text and "https://" not in text, f"{lock.name} names a host"
        assert text.count("==") <= text.count("--hash=sha256:"), f"{lock.name} has a package without a hash"
    for place in builds.PINS.values():
        pinned = json.loads((place / "package-lock.json").read_text())["packages"]
        assert not [name for name, package in pinned.items() if "resolved" in package], f"{place} names a host"
        assert all("integrity" in package for name, package in pinned.items() if name), f"{place} has a package without a hash"
