"""A connection's life: keys that come and go, sign-off, stops, restarts, activity, many sessions at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ark_extensions.storage.types import from_micros
from ark_extensions.usecases import launches, ssh_keys, ssh_sessions, workspaces
from ark_extensions.usecases.views import Sentence
from tests.integration.ssh_stage import Place, Stage, can_run, end, now, staged, until

pytestmark = pytest.mark.skipif(not can_run(), reason="bubblewrap and OpenSSH are needed")
#: the promise for what must end
SECONDS = 5.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path / "stage") as stage:
        yield stage


def ssh(config: Path, *words: str, seconds: float = 40) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh", "-F", str(config), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)


def session(config: Path, name: str = "ws1") -> subprocess.Popen[bytes]:
    """An open session that has said that it is in."""
    process = subprocess.Popen(
        ["ssh", "-F", str(config), name, "echo in; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> None:
    """End it; its jump, a process of ssh's own that has the same pipes, may take a moment longer."""
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> float:
    begun = time.monotonic()
    process.wait(seconds)
    return time.monotonic() - begun


def keys(stage: Stage, user: str = "alice") -> list[ssh_keys.KeyView]:
    return ssh_keys.list_keys(stage.storage, user=user)


def test_a_key_works_the_moment_it_is_added_and_ends_what_it_opened_when_deleted(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    stage.workspace("bob", name="his")
    bobs = session(stage.config("bob", stage.key("bob")), "his")
    first = stage.config("alice", stage.key("alice"))
    assert ssh(first, "ws1", "echo in").stdout == "in\n"
    second = stage.config("alice", stage.key("alice", name="second"))
    assert ssh(second, "ws1", "echo in").stdout == "in\n", "without a wait: the workspace took it too"
    stays, goes = session(first), session(second)
    gone = next(
        key for key in keys(stage) if key.name == "alice@laptop" and key.public_key in (stage.directory / "alice-second.pub").read_text()
    )
    ssh_keys.delete_key(stage.storage, user="alice", key_id=gone.id, now=now())
    ended_within(goes, SECONDS)
    assert stays.poll() is None and bobs.poll() is None
    done = ssh(second, "ws1", "id")
    assert done.returncode == 255 and "Permission denied" in done.stderr
    files = stage.volumes.find_run_dir(place.id)
    assert files is not None
    until(lambda: gone.public_key not in (files / "ssh/authorized_keys").read_text(), SECONDS, "the key's end inside")
    for process in (stays, bobs, goes):
        finish(process)


def test_signing_off_ends_everything_and_keys_go_on_working(stage: Stage) -> None:
    stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    open_ones = [session(config) for _ in range(3)]
    ssh_keys.sign_off(stage.storage, user="alice", actor="root", now=now())
    for process in open_ones:
        ended_within(process, SECONDS)
        finish(process)
    assert ssh(config, "ws1", "echo in").stdout == "in\n"


def test_last_use_and_sessions_are_recorded(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    process = session(config)
    until(lambda: keys(stage)[0].last_used_at is not None, 6, "the record of the use")
    row = stage.storage
    with row.read() as connection:
        [found] = connection.exec_driver_sql("SELECT workspace_id, owner, address, fingerprint, closed_at FROM ssh_sessions").all()
    assert tuple(found) == (place.id, "alice", "127.0.0.1", keys(stage)[0].fingerprint, None)
    finish(process)

    def closed() -> bool:
        with stage.storage.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM ssh_sessions WHERE closed_at IS NULL").scalar() == 0

    until(closed, 6, "the record of the end")


def test_a_stopped_workspace_says_how_to_start_it_and_one_that_is_restarted_has_its_host_key(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    process = session(config)
    stage.stop(place)
    ended_within(process, SECONDS)
    finish(process)
    done = ssh(config, "ws1", "id")
    assert done.returncode == 255
    assert "Workspace ws1 is stopped. Start it in the console, then connect again: http://" in done.stderr
    launches.request_start(stage.storage, owner="alice", name="ws1", actor="alice", now=now())
    assert "is starting. Connect again in a minute" in ssh(config, "ws1", "id").stderr
    spec = launches.authorize_launch(stage.storage, owner="alice", server_name="ws1", workspace_id=place.id, now=now())
    again, home = stage.sandbox(spec, ("/bin/sleep", "600"))
    launches.record_ready(stage.storage, workspace_id=place.id, launch_id=spec.launch_id, now=now())
    stage.places.append(Place("alice", "ws1", place.id, spec.launch_id, again, home))
    strict = ["-o", "StrictHostKeyChecking=yes"]
    assert ssh(config, *strict, "ws1", "echo in").stdout == "in\n", "its key is the one that is known"
    told = [line for line in (stage.directory / "known_hosts").read_text().splitlines() if line.startswith("ws1 ")]
    assert told == [f"ws1 {ssh_sessions.host_public_keys(stage.storage, owner='alice')['ws1']}"]


def test_a_workspace_without_a_door_is_a_sentence(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    end(place.process)
    done = ssh(stage.config("alice", stage.key("alice")), "ws1", "id")
    assert done.returncode == 255 and "Workspace ws1 does not take SSH now" in done.stderr


def test_a_restarted_gateway_has_the_same_key_and_forgets_no_session(stage: Stage) -> None:
    stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    process = session(config)
    until(lambda: open_sessions(stage) == 1, 6, "the record")
    assert stage.gateway is not None
    os.kill(stage.gateway.pid, signal.SIGKILL)
    stage.gateway.wait(10)
    ended_within(process, SECONDS)
    finish(process)
    stage.start_gateway()
    assert open_sessions(stage) == 0
    assert ssh(config, "-o", "StrictHostKeyChecking=yes", "ws1", "echo in").stdout == "in\n"
    secret = stage.state_dir / "secrets" / "ssh_host_key"
    assert secret.stat().st_mode & 0o777 == 0o600 and secret.parent.stat().st_mode & 0o777 == 0o700


def open_sessions(stage: Stage) -> int:
    with stage.storage.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM ssh_sessions WHERE closed_at IS NULL").scalar() or 0)


def test_work_over_ssh_puts_the_idle_stop_off_and_being_connected_does_not(tmp_path: Path) -> None:
    with staged(tmp_path / "idle", ssh_activity_seconds=2) as stage:
        stage.workspace("alice", name="busy", idle_minutes=30)
        stage.workspace("alice", name="quiet", idle_minutes=30)
        config = stage.config("alice", stage.key("alice"), "ServerAliveInterval 60")
        quiet, busy = session(config, "quiet"), session(config, "busy")
        begun = now()
        assert busy.stdin is not None
        try:
            while (spread := idle_stop_at(stage, "busy") - idle_stop_at(stage, "quiet")) < timedelta(seconds=5):
                assert now() - begun < timedelta(seconds=30), spread
                busy.stdin.write(b"x" * 400)
                busy.stdin.flush()
                time.sleep(0.3)
            assert any("SSH sessions open" in sentence.msgid for sentence in why(stage, "busy"))
        finally:
            finish(busy)
            finish(quiet)
        until(lambda: len(why(stage, "busy")) == len(why(stage, "quiet")) == 4, 10, "the end of the sentence")


def why(stage: Stage, name: str) -> tuple[Sentence, ...]:
    return workspaces.get_workspace(stage.storage, owner="alice", name=name, now=now()).why


def idle_stop_at(stage: Stage, name: str) -> datetime:
    with stage.storage.read() as connection:
        return from_micros(connection.exec_driver_sql("SELECT idle_stop_at FROM workspaces WHERE name = ?", (name,)).scalar_one())


def test_two_hundred_sessions_at_once(stage: Stage) -> None:
    stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    open_ones: list[subprocess.Popen[bytes]] = []
    try:
        while len(open_ones) < 200:
            batch = [
                subprocess.Popen(["ssh", "-F", str(config), "ws1", "echo in; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for _ in range(10)
            ]
            open_ones += batch
            for process in batch:
                assert process.stdout is not None and process.stdout.readline() == b"in\n", stage.log()[-3000:]
        for number, process in enumerate(open_ones):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"%d\n" % number)
            process.stdin.flush()
            assert process.stdout.readline() == b"%d\n" % number
        metrics = stage.state_dir / "runtime" / "ssh.prom"
        until(lambda: re.search(r"ark_ssh_open_sessions 200\b", metrics.read_text()), 15, "the metrics")
    finally:
        for process in open_ones:
            process.kill()
        for process in open_ones:
            process.communicate(timeout=20)


def test_sessions_of_one_user_are_limited(tmp_path: Path) -> None:
    with staged(tmp_path / "small", ssh_sessions_per_user=2) as stage:
        stage.workspace("alice", name="ws1")
        stage.workspace("bob", name="his")
        config = stage.config("alice", stage.key("alice"))
        open_ones = [session(config), session(config)]
        done = ssh(config, "ws1", "id")
        assert done.returncode == 255 and "You have 2 SSH sessions open, which is the limit" in done.stderr
        open_ones.append(session(stage.config("bob", stage.key("bob")), "his"))
        for process in open_ones:
            finish(process)
        until(lambda: ssh(config, "ws1", "echo in").stdout == "in\n", 10, "room again")
