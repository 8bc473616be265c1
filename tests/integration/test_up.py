"""`make up` and `make down` as a newcomer types them, with the real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ark_extensions.cli import processes
from ark_extensions.environments import PROJECT
from tests.platform import Platform, wait_until

Make = Callable[..., Platform]
SERVICES = (*processes.FIRST, *processes.LOOPS)


def make(platform: Platform, *words: str, seconds: float = 200.0) -> subprocess.CompletedProcess[str]:
    command = ["make", *words, f"DIR={platform.state_dir}"]
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=platform.environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_first_start_second_start_and_stop(make_platform: Make) -> None:
    platform = make_platform()
    first = make(platform, "up", "BACKGROUND=1", f"PORT={platform.port}")
    assert first.returncode == 0, first.stdout + first.stderr + platform.logs()
    assert platform.address in first.stdout
    assert platform.admin_password in first.stdout
    platform.add_user("li")
    stopped = make(platform, "down")
    assert stopped.returncode == 0 and platform.processes() == []

    began = time.monotonic()
    second = make(platform, "up", "BACKGROUND=1", f"PORT={platform.port}")
    took = time.monotonic() - began
    assert second.returncode == 0, second.stdout + second.stderr
    print(f"the second start took {took:.1f} s")
    assert platform.admin_password in second.stdout, "the password is the same, and told again"
    assert "li" in platform.ark("user", "list").stdout, "users are as they were"
    again = make(platform, "up", f"PORT={platform.port}")
    assert again.returncode != 0 and "already runs" in again.stdout and "make down" in again.stdout
    assert make(platform, "down").returncode == 0
    assert platform.processes() == []
    assert make(platform, "down").returncode == 0, "stopping what does not run is no error"


def test_ctrl_c_leaves_no_process(make_platform: Make) -> None:
    platform = make_platform()
    command = ["make", "up", f"DIR={platform.state_dir}", f"PORT={platform.port}"]
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=platform.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(platform.answers, seconds=120, every=0.3)
        # what a terminal does: the signal goes to everything in its foreground group
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=90)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
    assert "Ark has stopped" in said
    assert platform.processes() == []


def test_a_taken_port_is_told_before_anything_is_changed(make_platform: Make, tmp_path: Path) -> None:
    platform = make_platform(tmp_path / "not-there-yet")
    platform.state_dir.rmdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", platform.port))
        listener.listen()
        said = make(platform, "up", f"PORT={platform.port}")
    assert said.returncode != 0
    assert f"Port {platform.port} on 127.0.0.1 is taken" in said.stdout and "make up PORT=" in said.stdout
    assert not platform.state_dir.exists()


@pytest.mark.parametrize("port", ["0", "65536", "eight", "-1"])
def test_a_port_that_is_none_is_refused(make_platform: Make, port: str) -> None:
    said = make(make_platform(), "up", f"PORT={port}")
    assert said.returncode != 0 and "1 to 65535" in said.stdout + said.stderr
    assert "Traceback" not in said.stderr


def test_a_start_that_fails_in_the_background_shows_why_and_leaves_nothing(make_platform: Make) -> None:
    platform = make_platform(prot=8000)
    said = make(platform, "up", "BACKGROUND=1", f"PORT={platform.port}")
    assert said.returncode != 0
    assert "`prot`" in said.stdout + said.stderr and "ark.yaml" in said.stdout + said.stderr
    assert platform.processes() == []


def test_two_installations_run_side_by_side(platform: Platform, make_platform: Make) -> None:
    other = make_platform()
    other.start()
    other.add_user("only-there")
    assert platform.answers() and other.answers()
    assert "only-there" not in platform.ark("user", "list").stdout
    assert set(platform.processes()).isdisjoint(other.processes())
    refused = platform.request("GET", "/services/console/api/v1/me", token=other.token("only-there"))
    assert refused.status in (401, 403), "a token of one is nothing to the other"
    other.stop()
    assert platform.answers()


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_comes_back(platform: Platform, name: str) -> None:
    wait_until(lambda: set(SERVICES) <= set(platform.status()["processes"]))
    before = platform.kill(name)
    pid = wait_until(lambda: now if (now := platform.status()["processes"].get(name, before)) != before else None, seconds=60)
    wait_until(platform.answers, seconds=60)
    assert platform.api("GET", "/me").status == 200
    assert platform.pid(name) == pid, "it came back once"


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(make_platform: Make) -> None:
    platform = make_platform()
    platform.start()
    platform.kill("supervisor")
    wait_until(lambda: platform.processes() == [])
    assert platform.status()["running"] is False
    platform.start()
    assert platform.answers()


def test_doctor_and_status_of_a_running_platform(platform: Platform) -> None:
    wait_until(lambda: platform.ark("doctor", check=False).returncode == 0, seconds=60, every=1.0)
    status = json.loads(platform.ark("status", "--json").stdout)
    assert status["running"] and status["answering"] and status["address"] == platform.address
    assert set(status["processes"]) >= set(SERVICES)


def test_a_token_for_a_script_is_alone_on_stdout_and_acts_as_its_user(platform: Platform) -> None:
    platform.add_user("scripter")
    said = platform.ark("token", "scripter", "--expires", "5m")
    token = said.stdout.strip()
    assert said.stdout == f"{token}\n" and " " not in token
    me = platform.request("GET", "/services/console/api/v1/me", token=token)
    assert me.status == 200 and me.json["name"] == "scripter"
