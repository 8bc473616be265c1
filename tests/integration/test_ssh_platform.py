"""SSH through the whole platform: a key added by the API, a workspace ordered by the API, OpenSSH on the line it copies."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ark_extensions.storage import Storage
from ark_extensions.storage.types import from_micros
from tests.integration.crash_stage import Someone
from tests.integration.ssh_stage import can_run
from tests.integration.test_signin import Browser
from tests.platform import Platform, wait_until

pytestmark = pytest.mark.skipif(not can_run(), reason="bubblewrap and OpenSSH are needed")


@dataclass
class Laptop:
    """A computer with a key and the two files that the console gives."""

    someone: Someone
    directory: Path

    def make_key(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / "id")], check=True, timeout=30)
        self.someone.api("POST", "/ssh-keys", {"public_key": (self.directory / "id.pub").read_text(), "name": "laptop"})

    def fetch(self) -> None:
        for path, name in (("/ssh-config", "config"), ("/ssh-known-hosts", "known_hosts")):
            answer = self.someone.platform.api("GET", path, user=self.someone.name)
            assert answer.status == 200
            (self.directory / name).write_bytes(answer.body)

    def ssh(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """With the downloaded configuration, and every host key known from the downloaded lines alone."""
        own = ["-i", str(self.directory / "id"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        strict = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.directory / 'known_hosts'}"]
        both = " ".join([*own, *strict])
        config = self.directory / "both"
        lines = [f"Host *\n    {both_line}" for both_line in _as_lines(both)]
        config.write_text((self.directory / "config").read_text() + "\n".join(lines) + "\n")
        return subprocess.run(["ssh", "-F", str(config), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)


def _as_lines(options: str) -> list[str]:
    words = shlex.split(options)
    found = [f"IdentityFile {words[1]}"]
    found += [word.replace("=", " ", 1) for word in words[2:] if word != "-o"]
    return found


@pytest.fixture(scope="module")
def laptop(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    someone = Someone.on(platform)
    made = Laptop(someone, tmp_path_factory.mktemp("laptop"))
    made.make_key()
    someone.running("ws1", idle_stop_minutes=60)
    made.fetch()
    yield made


def test_the_downloaded_files_are_enough_for_the_short_name(laptop: Laptop) -> None:
    done = laptop.ssh("ws1", "id -un; pwd; hostname")
    assert done.returncode == 0, done.stderr + laptop.someone.platform.logs()[-3000:]
    assert done.stdout.split() == ["user", "/home/user", "ws1"]


def test_the_environment_is_that_of_the_workspaces_own_server(laptop: Laptop) -> None:
    server = next(pid for pid in laptop.someone.processes("ws1") if b"jupyterhub-singleuser" in Path(f"/proc/{pid}/cmdline").read_bytes())
    raw = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    theirs = dict(item.decode().split("=", 1) for item in raw if b"=" in item)
    told = laptop.ssh("ws1", "env -0").stdout.split("\0")
    ours = dict(item.split("=", 1) for item in told if "=" in item)
    different = {name for name in theirs if ours.get(name) != theirs[name]} - {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert not different
    assert laptop.ssh("ws1", "python -c 'import numpy, sys; print(sys.prefix)'").stdout.strip() == os.path.dirname(
        os.path.dirname(laptop.ssh("ws1", "command -v python").stdout.strip())
    )


def test_files_are_the_same_by_ssh_and_in_jupyterlab(laptop: Laptop) -> None:
    assert laptop.ssh("ws1", "echo hello > ~/by-ssh.txt").returncode == 0
    platform, user = laptop.someone.platform, laptop.someone.name
    answer = platform.request("GET", f"/user/{user}/ws1/api/contents/by-ssh.txt", user=user)
    assert answer.status == 200 and answer.json["content"] == "hello\n"


def test_the_command_that_is_copied_is_the_one_that_works(laptop: Laptop) -> None:
    command = laptop.someone.api("GET", "/workspaces/ws1/access")["ssh"]["command"]
    words = shlex.split(command)
    assert words[:2] == ["ssh", "-J"] and words[3] == "user@ws1"
    assert words[2] == f"{laptop.someone.name}@127.0.0.1:{laptop.someone.platform.ssh_port}"


def test_why_it_runs_tells_of_the_session(laptop: Laptop) -> None:
    process = subprocess.Popen(["ssh", "-F", str(laptop.directory / "both"), "ws1", "echo in; sleep 60"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        wait_until(lambda: any("SSH" in sentence for sentence in laptop.someone.api("GET", "/workspaces/ws1")["why"]))
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_a_stop_ends_the_session_and_the_next_start_has_the_same_host_key(laptop: Laptop) -> None:
    process = subprocess.Popen(["ssh", "-F", str(laptop.directory / "both"), "ws1", "echo in; sleep 600"], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    laptop.someone.api("POST", "/workspaces/ws1/stop", {})
    laptop.someone.wait_for("stopped", name="ws1")
    process.communicate(timeout=60)
    done = laptop.ssh("ws1", "id")
    assert done.returncode == 255 and "Workspace ws1 is stopped. Start it in the console" in done.stderr
    laptop.someone.api("POST", "/workspaces/ws1/start", {})
    laptop.someone.wait_for("running", name="ws1")
    assert laptop.ssh("ws1", "echo back").stdout == "back\n"


def test_a_connection_starts_a_stopped_workspace_where_its_owner_allowed_that(laptop: Laptop) -> None:
    laptop.someone.api("POST", "/workspaces/ws1/stop", {})
    laptop.someone.wait_for("stopped", name="ws1")
    assert laptop.someone.api("GET", "/ssh-settings") == {"start_on_connect": False}
    laptop.someone.api("PATCH", "/ssh-settings", {"start_on_connect": True})
    assert laptop.ssh("ws1", "echo started by this", seconds=120).stdout == "started by this\n"
    assert laptop.someone.state("ws1") == "running"
    events = laptop.someone.api("GET", "/workspaces/ws1/events")["items"]
    assert any(event["kind"] == "start_requested" and event["actor"] == laptop.someone.name for event in events)


def test_a_strangers_key_does_not_reach_it(laptop: Laptop, tmp_path: Path) -> None:
    stranger = Laptop(Someone.on(laptop.someone.platform), tmp_path)
    stranger.make_key()
    stranger.someone.order(f"other-{uuid.uuid4().hex[:4]}")
    stranger.fetch()
    alias = f"ark-127-0-0-1-{laptop.someone.platform.ssh_port}"
    done = stranger.ssh("-J", alias, "user@ws1", "id")
    assert done.returncode == 255 and "You have no workspace ws1" in done.stderr
    done = stranger.ssh("-J", f"{laptop.someone.name}@{alias}", "user@ws1", "id")
    assert done.returncode == 255 and "Permission denied" in done.stderr


def open_session(laptop: Laptop) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["ssh", "-F", str(laptop.directory / "both"), "ws1", "echo in; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"in\n"
    return process


def ended_within_five_seconds(laptop: Laptop, process: subprocess.Popen[bytes], asked_at: datetime) -> None:
    """By the gateway's own record: what the client sees may come late on a busy machine."""
    process.wait(60)
    process.communicate(timeout=60)
    with closing(Storage(f"sqlite:///{laptop.someone.platform.state_dir / 'ark.sqlite'}")) as storage:

        def end() -> int | None:
            with storage.read() as connection:
                newest = "SELECT closed_at FROM ssh_sessions WHERE owner = ? ORDER BY opened_at DESC LIMIT 1"
                return connection.exec_driver_sql(newest, (laptop.someone.name,)).scalar()

        assert from_micros(wait_until(end, seconds=30)) - asked_at < timedelta(seconds=5)


def test_signing_out_of_the_hub_ends_open_sessions_and_the_key_works_on(laptop: Laptop) -> None:
    platform, user = laptop.someone.platform, laptop.someone.name
    password = platform.ark("user", "password", user).stdout.strip()
    browser = Browser(platform)
    assert browser.sign_in(user, password)[0] == 302
    laptop.ssh("ws1", "true")
    process = open_session(laptop)
    asked_at = datetime.now(UTC)
    browser.go("GET", "/hub/logout")
    ended_within_five_seconds(laptop, process, asked_at)
    assert laptop.ssh("ws1", "echo again").stdout == "again\n"


def test_a_sign_out_of_nobody_ends_nothing(laptop: Laptop) -> None:
    process = open_session(laptop)
    status, _, _ = Browser(laptop.someone.platform).go("GET", "/hub/logout")
    assert status in (200, 302)
    assert process.stdin is not None and process.stdout is not None
    time.sleep(3)  # longer than the gateway's rounds
    process.stdin.write(b"still here\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"still here\n"
    process.kill()
    process.communicate(timeout=60)


def test_a_user_whom_an_administrator_deletes_has_no_session_no_key_and_no_password(laptop: Laptop) -> None:
    platform, user = laptop.someone.platform, laptop.someone.name
    password = platform.ark("user", "password", user).stdout.strip()
    process = open_session(laptop)
    operator = (platform.state_dir / "secrets/operator_token").read_text().strip()
    asked_at = datetime.now(UTC)
    assert platform.request("DELETE", f"/hub/api/users/{user}", token=operator, seconds=90).status == 204
    ended_within_five_seconds(laptop, process, asked_at)
    done = laptop.ssh("ws1", "id")
    assert done.returncode == 255 and "Permission denied" in done.stderr
    assert Browser(platform).sign_in(user, password)[0] in (401, 403)
    lines = [line for line in platform.api("GET", "/admin/ssh-audit?limit=500").json["items"] if line["user"] == user]
    assert {"signed_off", "key_deleted"} <= {line["kind"] for line in lines}
