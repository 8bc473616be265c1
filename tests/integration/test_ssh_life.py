"""A connection's life: keys that come and go, sign-off, stops, restarts, activity, many sessions at once."""

from __future__ import annotations

import contextlib
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
from ark_spawner.processes import descendants
from tests.integration.ssh_stage import Place, Stage, can_run, end, now, staged, until

pytestmark = pytest.mark.skipif(not can_run(), reason="bubblewrap and OpenSSH are needed")
#: the promise for what must end, held against what the gateway has recorded
AT_ONCE = timedelta(seconds=5)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path / "stage") as stage:
        yield stage


def ssh(config: Path, *words: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh", "-F", str(config), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)


def session(config: Path, name: str = "ws1") -> subprocess.Popen[bytes]:
    """An open session that has said that it is in."""
    process = subprocess.Popen(
        ["ssh", "-F", str(config), name, "echo in; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> None:
    """End it, and its jump with it: a process of ssh's own that has the same pipes."""
    process.kill()
    process.communicate(timeout=10)


def ended_at_once(stage: Stage, process: subprocess.Popen[bytes], asked_at: datetime) -> None:
    """``asked_at``: when that was done which ends it."""
    process.wait(60)
    assert last_end(stage) - asked_at < AT_ONCE


def last_end(stage: Stage) -> datetime:
    """When the session ended that ended last; waits until there is one."""

    def ends() -> int | None:
        with stage.storage.read() as connection:
            return connection.exec_driver_sql("SELECT max(closed_at) FROM ssh_sessions").scalar()

    until(ends, what="the record of the end")
    return from_micros(ends() or 0)


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
    asked_at = now()
    ssh_keys.delete_key(stage.storage, user="alice", key_id=gone.id, now=asked_at)
    ended_at_once(stage, goes, asked_at)
    assert stays.poll() is None and bobs.poll() is None
    done = ssh(second, "ws1", "id")
    assert done.returncode == 255 and "Permission denied" in done.stderr
    files = stage.volumes.find_run_dir(place.id)
    assert files is not None
    until(lambda: gone.public_key not in (files / "ssh/authorized_keys").read_text(), what="the key's end inside")
    for process in (stays, bobs, goes):
        finish(process)


def test_signing_off_ends_everything_and_keys_go_on_working(stage: Stage) -> None:
    stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    open_ones = [session(config) for _ in range(3)]
    asked_at = now()
    ssh_keys.sign_off(stage.storage, user="alice", actor="root", now=asked_at)
    for process in open_ones:
        ended_at_once(stage, process, asked_at)
        finish(process)
    assert ssh(config, "ws1", "echo in").stdout == "in\n"


def test_last_use_and_sessions_are_recorded(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    process = session(config)
    until(lambda: keys(stage)[0].last_used_at is not None, what="the record of the use")
    row = stage.storage
    with row.read() as connection:
        [found] = connection.exec_driver_sql("SELECT workspace_id, owner, address, fingerprint, closed_at FROM ssh_sessions").all()
    assert tuple(found) == (place.id, "alice", "127.0.0.1", keys(stage)[0].fingerprint, None)
    finish(process)

    def closed() -> bool:
        with stage.storage.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM ssh_sessions WHERE closed_at IS NULL").scalar() == 0

    until(closed, what="the record of the end")


def test_a_stopped_workspace_says_how_to_start_it_and_one_that_is_restarted_has_its_host_key(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    config = stage.config("alice", stage.key("alice"))
    process = session(config)
    asked_at = now()
    stage.stop(place)
    ended_at_once(stage, process, asked_at)
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
    until(lambda: open_sessions(stage) == 1, what="the record")
    assert stage.gateway is not None
    os.kill(stage.gateway.pid, signal.SIGKILL)
    stage.gateway.wait(10)
    process.wait(60)
    finish(process)
    stage.start_gateway()
    assert open_sessions(stage) == 0
    assert ssh(config, "-o", "StrictHostKeyChecking=yes", "ws1", "echo in").stdout == "in\n"
    secret = stage.state_dir / "secrets" / "ssh_host_key"
    assert secret.stat().st_mode & 0o777 == 0o600 and secret.parent.stat().st_mode & 0o777 == 0o700


def sockets(stage: Stage) -> int:
    """That the gateway has open now, those of its own included."""
    assert stage.gateway is not None
    found = 0
    for number in Path(f"/proc/{stage.gateway.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(number).startswith("socket:")
    return found


def sshd(place: Place, number: int) -> None:
    """Signal what serves SSH in the workspace."""
    for pid in descendants(place.process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "sshd":
                os.kill(pid, number)


def test_a_session_that_ends_inside_is_over_though_its_client_does_not_hang_up(stage: Stage) -> None:
    """The client is asleep, as on a closed laptop: the gateway keeps nothing for it."""
    place = stage.workspace("alice", name="ws1")
    idle = sockets(stage)
    process = session(stage.config("alice", stage.key("alice")))
    try:
        process.send_signal(signal.SIGSTOP)
        sshd(place, signal.SIGKILL)
        until(lambda: sockets(stage) == idle, 20, "the end of the gateway's sockets")
        until(lambda: open_sessions(stage) == 0, 20, "the record of the end")
    finally:
        finish(process)


def test_a_client_that_ends_is_let_go_though_its_workspace_is_frozen(stage: Stage) -> None:
    place = stage.workspace("alice", name="ws1")
    idle = sockets(stage)
    process = session(stage.config("alice", stage.key("alice")))
    sshd(place, signal.SIGSTOP)
    try:
        finish(process)
        until(lambda: sockets(stage) == idle, 20, "the end of the gateway's sockets")
    finally:
        sshd(place, signal.SIGCONT)


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
                assert now() - begun < timedelta(seconds=60), spread
                busy.stdin.write(b"x" * 400)
                busy.stdin.flush()
                time.sleep(0.3)
            assert any("SSH sessions open" in sentence.msgid for sentence in why(stage, "busy"))
        finally:
            finish(busy)
            finish(quiet)
        until(lambda: len(why(stage, "busy")) == len(why(stage, "quiet")) == 4, what="the end of the sentence")


def why(stage: Stage, name: str) -> tuple[Sentence, ...]:
    return workspaces.get_workspace(stage.storage, owner="alice", name=name, now=now()).why


def idle_stop_at(stage: Stage, name: str) -> datetime:
    with stage.storage.read() as connection:
        return from_micros(connection.exec_driver_sql("SELECT idle_stop_at FROM workspaces WHERE name = ?", (name,)).scalar_one())


def metric(stage: Stage, name: str) -> int:
    path = stage.state_dir / "runtime" / "ssh.prom"
    found = re.search(rf"^ark_ssh_{name} (\d+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return int(found[1]) if found else 0


def test_a_session_in_which_nothing_happens_lives_through_the_keep_alives_of_eight_hours(tmp_path: Path) -> None:
    """480 of the gateway's, at one a minute, are made in seconds; beside them as many as come of the client's own two connections."""
    with staged(tmp_path / "long", ssh_keepalive_seconds=0.05) as stage:
        stage.workspace("alice", name="ws1")
        config = stage.config("alice", stage.key("alice"), "ServerAliveInterval 1", "ServerAliveCountMax 3")
        process = session(config)
        assert process.stdin is not None and process.stdout is not None
        until(lambda: metric(stage, "keepalives_answered_total") >= 480, 120, "the last keep-alive")
        assert open_sessions(stage) == 1 and process.poll() is None
        process.stdin.write(b"still here\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"still here\n"
        finish(process)


def test_a_client_that_has_vanished_is_found_out_by_its_keep_alives(tmp_path: Path) -> None:
    """No end comes from it, as when its network has gone: its jump is asleep and answers nothing."""
    with staged(tmp_path / "gone", ssh_keepalive_seconds=0.5) as stage:
        stage.workspace("alice", name="ws1")
        idle = sockets(stage)
        process = session(stage.config("alice", stage.key("alice")))
        until(lambda: open_sessions(stage) == 1, what="the record of the session")
        jump = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(jump, signal.SIGSTOP)
        try:
            until(lambda: sockets(stage) == idle and open_sessions(stage) == 0, what="the end of the session")
        finally:
            os.kill(jump, signal.SIGCONT)
            finish(process)


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
        until(lambda: re.search(r"ark_ssh_open_sessions 200\b", metrics.read_text()), what="the metrics")
    finally:
        for process in open_ones:
            process.kill()
        for process in open_ones:
            process.communicate(timeout=60)


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
        until(lambda: ssh(config, "ws1", "echo in").stdout == "in\n", what="room again")
