"""What people try at an open port, against the real gateway: nothing is reached that is not theirs, and it goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from ark_extensions.usecases import ssh_sessions
from tests.integration.ssh_stage import Stage, can_run, now, staged, until

pytestmark = pytest.mark.skipif(not can_run(), reason="bubblewrap and OpenSSH are needed")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("abuse") / "stage", ssh_attempts_per_minute=600) as stage:
        stage.key("alice")
        stage.key("bob")
        stage.workspace("alice", name="ws1")
        stage.workspace("bob", name="bobs")
        stage.idle = socket.create_connection(("127.0.0.1", stage.port), 5)
        stage.idle_since = time.monotonic()
        yield stage
        stage.idle.close()


def ssh(config: Path, *words: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ssh", "-F", str(config), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)


def alice(stage: Stage) -> Path:
    return stage.config("alice", stage.directory / "alice-id")


def refusals(stage: Stage) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in ssh_sessions.audit_log(stage.storage, since=now().replace(hour=0, minute=0)):
        if row["kind"] == "refused":
            found[row["reason"]] = found.get(row["reason"], 0) + row["count"]
    return found


def test_a_key_that_nobody_has_added(stage: Stage) -> None:
    key = stage.key("mallory", register=False)
    done = ssh(stage.config("mallory", key, jump_user="alice"), "ws1", "id")
    assert done.returncode == 255 and "Permission denied (publickey)" in done.stderr and "uid" not in done.stdout
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key) + ".pub"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()[1]
    until(lambda: told in {r["fingerprint"] for r in ssh_sessions.audit_log(stage.storage, since=now().replace(hour=0, minute=0))})
    assert f"refused unknown_key: user='alice' address=127.0.0.1 key={told}" in stage.log()


def test_bobs_key_under_alices_name(stage: Stage) -> None:
    done = ssh(stage.config("bob", stage.directory / "bob-id", jump_user="alice"), "ws1", "id")
    assert done.returncode == 255 and "Permission denied" in done.stderr
    until(lambda: refusals(stage).get("foreign_key"), 10)


def test_another_owners_workspace_is_as_unknown_as_one_that_is_not(stage: Stage) -> None:
    told = [ssh(alice(stage), name, "id") for name in ("bobs", "nosuch")]
    assert all(done.returncode == 255 and not done.stdout for done in told)
    sentences = [re.search(r"You have no workspace (\S+)\. Yours are: ws1\.", done.stderr) for done in told]
    assert [found and found.group(1) for found in sentences] == ["bobs", "nosuch"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "169.254.169.254", "gw", "ws1.", "..", "%2e", "ws1\u0000"])
def test_another_host(stage: Stage, host: str) -> None:
    async def attempt() -> str:
        async with connection(stage, "alice") as made:
            with pytest.raises(asyncssh.ChannelOpenError) as refused:
                await made.open_connection(host, 22)
            return refused.value.reason

    assert "You have no workspace" in asyncio.run(attempt())


def connection(stage: Stage, user: str, key: str | None = None) -> asyncssh.SSHClientConnection:
    return asyncssh.connect(
        "127.0.0.1", stage.port, username=user, client_keys=[str(stage.directory / (key or f"{user}-id"))], known_hosts=None, config=[]
    )


@pytest.mark.parametrize("port", [0, 1, 80, 2222, 8081, 65535])
def test_another_port(stage: Stage, port: int) -> None:
    async def attempt() -> str:
        async with connection(stage, "alice") as made:
            with pytest.raises(asyncssh.ChannelOpenError) as refused:
                await made.open_connection("ws1", port)
            return refused.value.reason

    assert "Only port 22" in asyncio.run(attempt())


def test_a_shell_a_command_a_file_and_a_listener_on_the_jump_host(stage: Stage) -> None:
    for words in (["gw"], ["gw", "id"], ["-s", "gw", "sftp"], ["-tt", "gw"]):
        done = ssh(alice(stage), *words)
        assert done.returncode == 255 and "This is a gateway, not a workspace" in done.stderr, words
    done = ssh(alice(stage), "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "gw")
    assert done.returncode == 255 and "remote port forwarding failed" in done.stderr
    done = ssh(alice(stage), "-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{stage.directory}/evil:127.0.0.1:1", "gw")
    assert done.returncode == 255 and not (stage.directory / "evil").exists()

    async def sockets() -> None:
        async with connection(stage, "alice") as made:
            for path in ("/var/run/docker.sock", str(stage.state_dir / "runs")):
                with pytest.raises(asyncssh.ChannelOpenError):
                    await made.open_unix_connection(path)

    asyncio.run(sockets())


def test_a_chain_of_jumps_goes_on_only_from_inside_the_workspace(stage: Stage) -> None:
    """`-J gw,ws1` is a person's own workspace as a jump host: what it reaches is what the workspace reaches. A chain through
    the gateway twice, to leave it for a third host, is refused at the gateway."""
    done = ssh(alice(stage), "-J", f"alice@127.0.0.1:{stage.port},alice@127.0.0.1:{stage.port}", "ws1", "id")
    assert done.returncode == 255 and "uid" not in done.stdout


def test_the_workspace_itself_takes_only_its_owners_keys(stage: Stage) -> None:
    """Even somebody who could reach the socket: the session is end to end, and the workspace checks for itself."""
    place = stage.places[0]
    directory = stage.volumes.find_run_dir(place.id)
    bridge = f"{stage.directory}/alice-bridge.py"
    Path(bridge).write_text(
        "import os, socket, sys, threading\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect('{directory}/ssh.sock')\n"
        "t = threading.Thread(target=lambda: [os.write(1, d) for d in iter(lambda: s.recv(65536), b'')]); t.start()\n"
        "[s.sendall(d) for d in iter(lambda: os.read(0, 65536), b'')]\n"
        "s.shutdown(socket.SHUT_WR)\n"  # else sshd waits for us, and we for sshd
    )
    for user, works in (("alice", True), ("bob", False)):
        done = subprocess.run(
            ["ssh", "-F", "none", "-o", f"ProxyCommand=python3 {bridge}", "-o", "StrictHostKeyChecking=no"]
            + ["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
            + ["-i", str(stage.directory / f"{user}-id"), "user@ws1", "echo in"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert ("in" in done.stdout) is works


def test_the_socket_and_the_keys_of_a_neighbour_are_not_there_inside(stage: Stage) -> None:
    done = ssh(
        alice(stage),
        "ws1",
        f"ls -la {stage.state_dir} ; find / -name ssh.sock 2>/dev/null ; echo x >> /run/ark/ssh/authorized_keys ; echo done",
    )
    assert done.stdout == "done\n"
    listening = ssh(alice(stage), "ws1", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null").stdout
    assert f":{22:04X} " not in listening, "no workspace listens on port 22"


@pytest.mark.parametrize(
    "user", ["", " alice", "Alice", "alice\n", "alice\x00", "../alice", "alice' OR '1'='1", "%s%n", "аlice", "x" * 300, "root", "\x1b[2J"]
)
def test_forged_names(stage: Stage, user: str) -> None:
    async def attempt() -> None:
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.DisconnectError, ValueError, OSError)):
            async with connection(stage, user, "alice-id"):
                pass

    asyncio.run(attempt())
    assert stage.answers()


def test_a_client_that_offers_keys_without_end(stage: Stage) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(30)]

    async def attempt() -> None:
        with pytest.raises((asyncssh.DisconnectError, OSError)):
            await asyncssh.connect("127.0.0.1", stage.port, username="alice", client_keys=keys, known_hosts=None, config=[])

    asyncio.run(attempt())
    until(lambda: refusals(stage).get("too_many_keys"), 10)


def test_offering_somebodys_public_key_without_being_able_to_sign(stage: Stage) -> None:
    """The key is known, the signature is not: nothing was opened, and it is noted."""
    pub = (stage.directory / "alice-id.pub").read_text()

    public, private = asyncssh.import_public_key(pub), asyncssh.generate_private_key("ssh-ed25519")
    pair = asyncssh.load_keypairs([private])[0]
    pair.public_data = public.public_data

    async def attempt() -> None:
        with pytest.raises((asyncssh.PermissionDenied, asyncssh.DisconnectError)):
            await asyncssh.connect("127.0.0.1", stage.port, username="alice", client_keys=[pair], known_hosts=None, config=[])

    before = count_sessions(stage)
    asyncio.run(attempt())
    until(lambda: refusals(stage).get("no_signature"), 10)
    assert count_sessions(stage) == before


def count_sessions(stage: Stage) -> int:
    with stage.storage.read() as database:
        return int(database.exec_driver_sql("SELECT count(*) FROM ssh_sessions").scalar() or 0)


GARBAGE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ssh1": b"SSH-1.5-old\r\n",
    "no end": b"SSH-2.0-" + b"x" * 50_000,
    "noise": b"SSH-2.0-x\r\n" + os.urandom(4000),
    "huge packet": b"SSH-2.0-x\r\n" + b"\x7f\xff\xff\xff" + b"\x00" * 100,
    "odd version": b"SSH-2.0-\xff\xfe\r\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_not_ssh(stage: Stage, kind: str) -> None:
    with socket.create_connection(("127.0.0.1", stage.port), 5) as raw:
        raw.settimeout(10)
        try:
            raw.sendall(GARBAGE[kind])
            if kind != "nothing":
                while raw.recv(4096):
                    pass
        except ConnectionError:
            pass
    assert ssh(alice(stage), "ws1", "echo fine").stdout == "fine\n"


def test_who_says_nothing_is_sent_away(stage: Stage) -> None:
    assert stage.idle is not None
    stage.idle.settimeout(max(45 - (time.monotonic() - stage.idle_since), 1))
    with contextlib.suppress(ConnectionError):
        while stage.idle.recv(1000):
            pass


def test_nothing_in_the_log_is_a_stack_trace(stage: Stage) -> None:
    log = stage.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:3000]
    for line in log.splitlines():
        assert re.match(r"20\d\d-\d\d-\d\dT[\d:]+[+-]\d{4} (INFO|WARNING) ", line), line


def test_ten_thousand_bad_connections(tmp_path: Path) -> None:
    """They end at the door, cost little memory, and a person signs in during them from another address and after them from this one."""
    with staged(tmp_path / "stage", ssh_attempts_per_minute=120) as stage:
        stage.key("alice")
        stage.workspace("alice", name="ws1")
        assert stage.gateway is not None
        before = rss_mib(stage.gateway.pid)
        elsewhere = stage.directory / "elsewhere"
        elsewhere.write_text(alice(stage).read_text().replace(" ProxyJump none", " ProxyJump none\n BindAddress 127.0.0.9"))
        begun = time.monotonic()
        during = []
        for n in range(10_000):
            with socket.socket() as raw:
                raw.settimeout(10)
                raw.connect(("127.0.0.1", stage.port))
                if n % 3 == 0:
                    raw.sendall(b"SSH-2.0-bad\r\n" + b"\x00\x00\x00\x0c" + os.urandom(12))
            if n % 2500 == 1000:
                during.append(ssh(elsewhere, "ws1", "echo in").stdout)
        assert during == ["in\n"] * 4
        assert time.monotonic() - begun < 300
        grown = rss_mib(stage.gateway.pid) - before
        assert grown < 25, f"{grown} MiB"
        until(lambda: refusals(stage).get("rate", 0) > 9000, what="the record of the refusals")
        rows = ssh_sessions.audit_log(stage.storage, since=now().replace(hour=0, minute=0), limit=10_000)
        assert len(rows) < 100, "counted by the minute, not one by one"
        metrics = stage.state_dir / "runtime" / "ssh.prom"
        until(lambda: metrics.exists() and 'reason="rate"' in metrics.read_text(), what="the metrics")


def rss_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024
