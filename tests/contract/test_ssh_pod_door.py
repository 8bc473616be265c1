"""SSH as in a cluster: the real door on a port with a real sshd as uid 1000, dialled by the connector that asks the cluster's API."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from ark_extensions.cluster_api import Access, ClusterApi
from ark_extensions.domain.cluster import door_token, labels, pod_name
from ark_extensions.settings import Kubernetes
from ark_extensions.ssh import connector as connecting
from ark_extensions.ssh.connector import ClusterConnector
from ark_extensions.usecases.ssh_sessions import Target
from ark_extensions.workspace.ssh import door
from tests.api_stand_in import StandIn, stand_in
from tests.platform import wait_until
from tests.ports import free_port

SECRET = "the gateway's own"
pytestmark = pytest.mark.skipif(
    not (shutil.which("sshd", path="/usr/sbin:/sbin") and shutil.which("bwrap")), reason="sshd and bubblewrap are needed"
)


@dataclass
class Pod:
    port: int
    host_key: asyncssh.SSHKey
    process: subprocess.Popen[bytes]


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """The door as a pod starts it, in a sandbox without anything of the cluster."""
    port, key = free_port(), asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "passwd").write_text("user:x:1000:1000::/home/user:/bin/bash\nroot:x:0:0::/root:/bin/sh\n")
    (tmp_path / "home").mkdir(mode=0o777)
    (tmp_path / "home").chmod(0o777)
    binds = ["--dev-bind", "/", "/", "--tmpfs", "/home", "--bind", str(tmp_path / "home"), "/home/user", "--tmpfs", "/run/user"]
    binds += ["--ro-bind", str(tmp_path / "passwd"), "/etc/passwd", "--ro-bind", os.path.realpath(door.__file__), "/run/user/door.py"]
    sandbox = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--proc", "/proc", "--die-with-parent", *binds]
    environment = {
        "PATH": "/usr/bin:/bin",
        "XDG_RUNTIME_DIR": "/home/user",
        "GREETING": "hello from the pod",
        door.TOKEN: door_token(SECRET, workspace_id="w1", launch_id="l1"),
        door.HOST_KEY: key.export_private_key().decode(),
    }
    program = [
        "/usr/bin/python3",
        "-I",
        "-S",
        "/run/user/door.py",
        "--port",
        str(port),
        "--",
        "/bin/sh",
        "-c",
        "env > /home/user/env; sleep 600",
    ]
    process = subprocess.Popen([*sandbox, "--", *program], env=environment)
    wait_until(lambda: (tmp_path / "home/env").exists() and (tmp_path / "home/ssh/host_key").exists())
    inherited = (tmp_path / "home/env").read_text()
    assert "hello from the pod" in inherited and door.TOKEN not in inherited and door.HOST_KEY not in inherited
    yield Pod(port, key, process)
    process.kill()
    process.wait()


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as state:
        yield state


def reached(server: StandIn, pod: Pod, monkeypatch: pytest.MonkeyPatch, secret: str = SECRET) -> ClusterConnector:
    monkeypatch.setattr(connecting, "SSH_PORT", pod.port)
    marks = {**labels("ark", workspace_id="w1", owner="alice"), "ark/launch": "l1"}
    server.add("pods", pod_name("w1"), labels=marks, status={"podIP": "127.0.0.1"})
    return ClusterConnector(ClusterApi(Access(server.url, None, lambda: None)), Kubernetes(), secret)


class Tunnel(asyncio.Protocol):
    """A connection whose bytes go to and from a socket that a client holds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        self.received.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.received.put_nowait(b"")


async def session(connector: ClusterConnector, key: asyncssh.SSHKey, host_key: asyncssh.SSHKey, keys: str) -> str:
    """One command in the workspace, through the connector; its output."""
    tunnel = await connector.dial(Target("w1", "l1", keys), Tunnel)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)

    async def inward() -> None:
        while data := await tunnel.received.get():
            writer.write(data)
        writer.close()

    async def outward() -> None:
        while data := await reader.read(65536):
            tunnel.transport.write(data)  # type: ignore[attr-defined]
        tunnel.transport.close()

    pumps = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    try:
        known = asyncssh.import_known_hosts(f"* {host_key.export_public_key().decode()}")
        async with asyncssh.connect("ws1", sock=ours, username="user", client_keys=[key], known_hosts=known, config=None) as client:
            ran = await client.run('echo "$GREETING; uid $(id -u)"', check=True, timeout=20)
            return str(ran.stdout).strip()
    finally:
        for pump in pumps:
            pump.cancel()
        writer.close()
        tunnel.transport.close()  # type: ignore[attr-defined]


async def test_a_session_runs_with_the_keys_of_this_very_moment(server: StandIn, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = reached(server, pod, monkeypatch)
    key, other = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    line = key.export_public_key().decode()
    assert await session(connector, key, pod.host_key, line) == "hello from the pod; uid 1000"
    with pytest.raises(asyncssh.PermissionDenied):
        await session(connector, other, pod.host_key, line)
    assert await session(connector, other, pod.host_key, line + other.export_public_key().decode()) == "hello from the pod; uid 1000"
    with pytest.raises(asyncssh.PermissionDenied):
        await session(connector, key, pod.host_key, "")
    assert len([call for call in server.calls if "/pods" in call[1]]) == 1, "the address is asked for once a launch"


async def test_who_is_not_the_gateway_is_turned_away_without_a_word(server: StandIn, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = reached(server, pod, monkeypatch, secret="guessed")
    tunnel = await liar.dial(Target("w1", "l1", ""), Tunnel)
    assert await asyncio.wait_for(tunnel.received.get(), 10) == b""
    for said in (b"SSH-2.0-OpenSSH\r\n", b"ARK-SSH x 5\nabcde", b"\n", b"x" * 5000, b"ARK-SSH \xff\xfe 0\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
        writer.write(said)
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionResetError:
            pass  # it hung up on what it did not read
        writer.close()


async def test_a_launch_without_a_pod_is_no_address(server: StandIn, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = reached(server, pod, monkeypatch)
    with pytest.raises(OSError):
        await connector.dial(Target("w1", "an older launch", ""), Tunnel)
    with pytest.raises(OSError):
        await connector.dial(Target("another", "l1", ""), Tunnel)


def test_the_programs_death_ends_the_door(pod: Pod) -> None:
    pod.process.terminate()
    pod.process.wait(10)
    wait_until(lambda: not listens(pod.port))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_without_secrets_the_door_stays_shut_and_the_program_runs(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-I", "-S", str(door.__file__), "--port", str(port), "--", "/bin/echo", "ran"]
    assert subprocess.run(command, env={}, capture_output=True, text=True, timeout=20).stdout == "ran\n"
    assert not listens(port)
