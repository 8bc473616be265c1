"""`make up` looks before it acts: every problem is a sentence with its remedy, and all of them come together."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ark_extensions.environments import environments
from hub_config.bootstrap import commands, machine, preflight
from hub_config.bootstrap.preflight import Facts, Request, packages, problems


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(state_dir=tmp_path / "state", cache=tmp_path / "cache", port=8000)


@pytest.fixture
def good() -> Facts:
    return Facts(
        root=False,
        apt=True,
        python=Path("/usr/bin/python3"),
        uv=True,
        virtual_environments=True,
        bubblewrap=True,
        sandbox_problem=None,
        missing_packages=(),
        running_pid=None,
        running_address=None,
        port_free=True,
        state_dir_writable=True,
        cache_writable=True,
    )


def test_a_good_machine_has_no_problems(request_: Request, good: Facts) -> None:
    assert problems(request_, good) == []


def test_a_taken_port_is_named_with_a_free_one_to_try(request_: Request, good: Facts) -> None:
    (sentence,) = problems(request_, replace(good, port_free=False))
    assert "8000" in sentence and "make up PORT=8100" in sentence


def test_a_nearly_full_disk_is_named_with_what_is_needed(request_: Request, good: Facts) -> None:
    (sentence,) = problems(request_, replace(good, free_gib=((Path("/srv"), 0.4, 6.0),)))
    assert "/srv" in sentence and "0.4 GiB free" in sentence and "6 GiB needed" in sentence and "DIR=" in sentence


def test_enough_disk_is_no_problem(request_: Request, good: Facts) -> None:
    assert problems(request_, replace(good, free_gib=((Path("/srv"), 6.1, 6.0),))) == []


def test_without_root_missing_packages_come_with_the_command_to_type(request_: Request, good: Facts) -> None:
    facts = replace(good, bubblewrap=False, virtual_environments=False, missing_packages=("libkrb5-dev",))
    (sentence,) = problems(request_, facts)
    assert "`sudo apt-get install -y bubblewrap python3-venv libkrb5-dev`" in sentence
    assert "NO_VSCODE=1" in sentence


def test_root_on_debian_installs_missing_packages_itself(request_: Request, good: Facts) -> None:
    facts = replace(good, root=True, bubblewrap=False)
    assert problems(request_, facts) == []
    assert packages(request_, facts) == ["bubblewrap"]


def test_a_sandbox_that_cannot_run_is_refused_until_it_is_waived(request_: Request, good: Facts) -> None:
    facts = replace(good, sandbox_problem="No permissions to create new namespace")
    (sentence,) = problems(request_, facts)
    assert "No permissions to create new namespace" in sentence
    assert "other users" in sentence, "it says what would be lost"
    assert "make up NO_SANDBOX=1" in sentence
    assert problems(replace(request_, sandbox=False), replace(facts, sandbox_problem=None, bubblewrap=True)) == []


def test_a_place_that_cannot_be_written_is_named(request_: Request, good: Facts) -> None:
    (sentence,) = problems(request_, replace(good, state_dir_writable=False))
    assert str(request_.state_dir) in sentence and "DIR=" in sentence


def test_no_python_for_workspaces_is_named(request_: Request, good: Facts) -> None:
    (sentence,) = problems(request_, replace(good, python=None))
    assert "3.11" in sentence and "apt-get install" in sentence


def test_all_problems_come_together(request_: Request, good: Facts) -> None:
    facts = replace(good, port_free=False, state_dir_writable=False, bubblewrap=False, free_gib=((Path("/"), 0.1, 1.0),))
    assert len(problems(request_, facts)) == 4


def test_a_platform_that_runs_is_the_only_problem_told(request_: Request, good: Facts) -> None:
    facts = replace(good, running_pid=7, running_address="http://127.0.0.1:8000", port_free=False)
    (sentence,) = problems(request_, facts)
    assert "already runs" in sentence and "make down" in sentence and "http://127.0.0.1:8000" in sentence


def test_problems_are_told_in_the_terminals_language(request_: Request, good: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    (sentence,) = problems(request_, replace(good, port_free=False))
    assert "已被其他程序占用" in sentence


def test_a_listening_port_is_seen_as_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not machine.port_is_free("127.0.0.1", port)
    assert machine.port_is_free("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_seen_as_taken() -> None:
    assert not machine.port_is_free("203.0.113.1", 8000)


def test_nothing_is_changed_while_a_problem_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "free_gib", lambda path: 0.2)
    monkeypatch.setattr(commands, "install_packages", lambda *arguments: pytest.fail("it installed something"))
    monkeypatch.setattr(commands.builds, "build", lambda *arguments: pytest.fail("it built something"))
    assert commands.main(["up", "--dir", str(tmp_path / "state"), "--port", "1"]) == 1
    said = capsys.readouterr().out
    assert "nearly full" in said and "Nothing was changed" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("missing", "told"), [(["hub", "code_server"], True), (["hub"], False)])
def test_who_does_not_want_to_wait_for_vs_code_is_told_how_to_begin_without(
    missing: list[str], told: bool, request_: Request, good: Facts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "examine", lambda *arguments: good)
    monkeypatch.setattr(commands.builds, "missing", lambda *arguments, **options: missing)
    monkeypatch.setattr(commands.builds, "build", lambda *arguments: [])
    assert commands.set_up(request_, environments(request_.cache), missing) == 0
    assert ("make up NO_VSCODE=1" in capsys.readouterr().out) is told


def test_the_first_start_asks_for_more_disk_than_the_next(request_: Request, tmp_path: Path) -> None:
    environments(tmp_path)
    ((_, _, first),) = preflight._space(request_, ["hub", "workspace"])
    ((_, _, later),) = preflight._space(request_, [])
    assert (first, later) == (6.0, 1.0)


def test_a_place_that_this_account_cannot_even_look_at_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os.path, "exists", lambda path: Path(path) == tmp_path)
    monkeypatch.setattr(Path, "exists", denied)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not machine.is_writable(tmp_path / "hidden" / "state")


def test_the_port_of_the_settings_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "ark.yaml").write_text("# port: 1\nport: 8123  # ours\nhost: '0.0.0.0'\n")
    assert commands._plain_settings(tmp_path / "ark.yaml") == {"port": "8123", "host": "0.0.0.0"}
