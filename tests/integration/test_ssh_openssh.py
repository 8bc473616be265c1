"""Everything OpenSSH does, through the real gateway into a real sandbox, with OpenSSH's own programs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import MPInt, String
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ark_extensions.usecases import ssh_keys
from ark_spawner.processes import descendants
from tests.integration.ssh_stage import Place, Stage, can_run, now, staged, until
from tests.ports import free_port

pytestmark = pytest.mark.skipif(not can_run(), reason="bubblewrap and OpenSSH are needed")


@dataclass
class Reach:
    """alice's laptop, with ws1 within reach."""

    stage: Stage
    place: Place
    key: Path
    config: Path

    def run(self, *words: str, program: str = "ssh", stdin: bytes = b"", seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([program, "-F", str(self.config), *words], input=stdin, capture_output=True, timeout=seconds)

    def out(self, *words: str, program: str = "ssh", stdin: bytes = b"", seconds: float = 60) -> str:
        done = self.run(*words, program=program, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, done.stderr.decode() + self.stage.log()[-2000:]
        return done.stdout.decode()


@pytest.fixture(scope="module")
def reach(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reach]:
    with staged(tmp_path_factory.mktemp("ssh") / "stage") as stage:
        key = stage.key("alice")
        place = stage.workspace("alice", name="ws1")
        yield Reach(stage, place, key, stage.config("alice", key))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_command_its_output_its_errors_and_its_exit_code(reach: Reach) -> None:
    done = reach.run("ws1", "id -un; hostname; cat; echo oops >&2; exit 42", stdin=b"from here\n")
    assert done.returncode == 42
    assert done.stdout == b"user\nws1\nfrom here\n"
    assert b"oops" in done.stderr


def test_a_program_that_a_signal_ends_is_told_as_such(reach: Reach) -> None:
    assert reach.run("ws1", "kill -TERM $$").returncode == 255


def test_the_environment_is_that_of_the_workspace(reach: Reach) -> None:
    told = dict(line.split("=", 1) for line in reach.out("ws1", "env").splitlines() if "=" in line)
    assert told["PATH"] == "/opt/image/bin:/usr/local/bin:/usr/bin:/bin"
    assert (told["HOME"], told["PIP_INDEX_URL"], told["CUDA_VISIBLE_DEVICES"]) == ("/home/user", "http://mirror.test/simple", "-1")
    assert told["ODD"] == 'a "quoted" \\ $HOME value'
    login = reach.out("-tt", "ws1", "bash -lic 'echo PATH=$PATH'")
    assert "PATH=/opt/image/bin:" in login


def test_home_is_the_data_disk_and_the_rest_of_the_machine_is_not_there(reach: Reach) -> None:
    reach.out("ws1", "echo kept > ~/note")
    assert (reach.place.home / "note").read_text() == "kept\n"
    assert reach.run("ws1", f"ls {reach.stage.directory}").returncode != 0


def test_a_terminal_and_its_size_and_every_change_of_it(reach: Reach) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("ssh", ["ssh", "-F", str(reach.config), "-tt", "ws1"])
    seen = b""

    def wait_for(pattern: bytes) -> re.Match[bytes]:
        nonlocal seen
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern, seen)):
            assert time.monotonic() < deadline, seen
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                raise AssertionError(seen) from None
        return found

    def resize(rows: int, columns: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(pid, signal.SIGWINCH)

    try:
        wait_for(rb"\$ ")
        for rows, columns in ((33, 101), (40, 132)):
            resize(rows, columns)
            # the change travels by itself, so the question is asked until it has arrived
            os.write(
                terminal,
                b"until [ \"$(stty size)\" = '%d %d' ]; do sleep 0.05; done; echo is-%d-$((%d))\n" % (rows, columns, rows, columns),
            )
            wait_for(b"is-%d-%d" % (rows, columns))
        os.write(terminal, b"sh -c 'echo asleep-$((6*7)); exec sleep 1000'\n")
        wait_for(b"asleep-42")
        os.write(terminal, b"\x03")
        wait_for(rb"asleep-42[\s\S]*\$ ")
        os.write(terminal, b"echo back-$((6*7))\n")
        wait_for(b"back-42")
        os.write(terminal, b"exit 5\n")
        wait_for(rb"closed\.")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    finally:
        os.close(terminal)
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@pytest.mark.parametrize("legacy", [False, True], ids=["sftp", "legacy"])
def test_scp_there_and_back(reach: Reach, tmp_path: Path, legacy: bool) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "up").write_bytes(data)
    how = ["-O"] if legacy else []
    there = "ws1:name\\ with\\ space" if legacy else "ws1:name with space"
    reach.out(*how, "-p", str(tmp_path / "up"), there, program="scp")
    assert digest((reach.place.home / "name with space").read_bytes()) == digest(data)
    reach.out(*how, there, str(tmp_path / "down"), program="scp")
    assert (tmp_path / "down").read_bytes() == data


def test_sftp(reach: Reach, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("sftp says hello")
    batch = f"mkdir deep\nput {tmp_path}/f deep/f\nrename deep/f deep/g\nget deep/g {tmp_path}/g\nrm deep/g\nrmdir deep\n"
    reach.out("-b", "-", "ws1", program="sftp", stdin=batch.encode())
    assert (tmp_path / "g").read_text() == "sftp says hello"
    assert not (reach.place.home / "deep").exists()


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is needed")
def test_rsync_sends_what_changed(reach: Reach, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for n in range(30):
        (tree / f"d{n % 3}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{n % 3}" / f"f{n}").write_bytes(os.urandom(2000))
    words = ["rsync", "-a", "--delete", "--stats", "-e", f"ssh -F {reach.config}", f"{tree}/", "ws1:tree/"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    (tree / "d0" / "f0").write_text("changed")
    (tree / "d1" / "f1").unlink()
    told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "Number of regular files transferred: 1" in told
    there = reach.place.home / "tree"
    assert (there / "d0" / "f0").read_text() == "changed" and not (there / "d1" / "f1").exists()


def test_a_large_transfer_is_the_same_on_both_sides(reach: Reach) -> None:
    block = os.urandom(1 << 20)
    data = block * 96
    assert reach.out("ws1", "sha256sum", stdin=data, seconds=120).split()[0] == digest(data)
    back = reach.run("ws1", "head -c 100000000 /dev/zero", seconds=120)
    assert back.returncode == 0 and len(back.stdout) == 100_000_000


def test_many_small_writes_arrive_in_order(reach: Reach) -> None:
    assert reach.out("ws1", "for i in $(seq 3000); do echo $i; done").split() == [str(n) for n in range(1, 3001)]


ECHO = """
import socket, sys
family, where = (socket.AF_UNIX, sys.argv[1]) if sys.argv[1].startswith('/') else (socket.AF_INET, ('127.0.0.1', int(sys.argv[1])))
s = socket.socket(family); s.bind(where); s.listen(8); print('ready', flush=True)
while True:
    c, _ = s.accept(); d = c.recv(100); c.sendall(b'inside ' + d); c.close()
"""


def started(reach: Reach, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["ssh", "-F", str(reach.config), "-o", "ExitOnForwardFailure=yes", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def ask(port: int, hello: bytes = b"you", before: bytes = b"", answer: int = 0) -> bytes:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as connection:
                connection.settimeout(60)
                if before:
                    connection.sendall(b"\x05\x01\x00")
                    assert connection.recv(2) == b"\x05\x00"
                    connection.sendall(before)
                    assert connection.recv(answer)[:2] == b"\x05\x00"
                connection.sendall(hello)
                return connection.recv(100)
        except ConnectionError:
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.05)


@pytest.fixture
def answering(reach: Reach) -> Iterator[None]:
    """Something inside that answers, at a name that only the inside has."""
    process = started(reach, "ws1", f'rm -f /tmp/echo; exec python3 -c "{ECHO}" /tmp/echo')
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    yield
    ended(process)


def test_local_forwarding(reach: Reach, answering: None) -> None:
    port = free_port()
    tunnel = started(reach, "-N", "-L", f"{port}:/tmp/echo", "ws1")
    try:
        assert ask(port) == b"inside you"
        assert ask(port, b"again") == b"inside again"
    finally:
        ended(tunnel)


def test_dynamic_forwarding(reach: Reach) -> None:
    inside, port = free_port(), free_port()
    server = started(reach, "-D", str(port), "ws1", f'exec python3 -c "{ECHO}" {inside}')
    try:
        assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        assert ask(port, before=b"\x05\x01\x00\x01\x7f\x00\x00\x01" + inside.to_bytes(2, "big"), answer=10) == b"inside you"
    finally:
        ended(server)


def test_remote_forwarding(reach: Reach) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"laptop says " + connection.recv(100))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        script = "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/tmp/back'); s.sendall(b'hi'); print(s.recv(100).decode())"
        assert reach.out("-R", f"/tmp/back:127.0.0.1:{port}", "ws1", f'python3 -c "{script}"').strip() == "laptop says hi"
        thread.join(10)


def test_agent_forwarding(reach: Reach, tmp_path: Path) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        until((tmp_path / "agent").exists, what="the agent")
        environment = os.environ | {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
        subprocess.run(["ssh-add", "-q", str(reach.key)], env=environment, check=True, timeout=60)
        mine = subprocess.run(["ssh-add", "-L"], env=environment, check=True, capture_output=True, timeout=60).stdout
        there = subprocess.run(
            ["ssh", "-F", str(reach.config), "-A", "ws1", "ssh-add -L"], env=environment, capture_output=True, timeout=60
        )
        assert there.returncode == 0 and there.stdout == mine
    finally:
        agent.kill()
        agent.wait(10)


def test_x11_is_off(reach: Reach) -> None:
    environment = os.environ | {"DISPLAY": ":77"}
    words = ["ssh", "-F", str(reach.config), "-X", "ws1", "echo [$DISPLAY]"]
    assert subprocess.run(words, env=environment, capture_output=True, timeout=60).stdout == b"[]\n"


def test_no_password_is_ever_asked_for(reach: Reach) -> None:
    how = ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive,hostbased,gssapi-with-mic"]
    for place in ("gw", "ws1"):
        done = reach.run(*how, place, "id")
        assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr


def test_one_connection_carries_many_sessions(reach: Reach, tmp_path: Path) -> None:
    master = started(reach, "-M", "-N", "-S", str(tmp_path / "m"), "ws1")
    try:
        until((tmp_path / "m").exists, 20, "the master connection")
        for n in range(10):
            assert reach.out("-S", str(tmp_path / "m"), "ws1", f"echo {n}").strip() == str(n)
    finally:
        ended(master)


def test_what_is_started_inside_is_reaped_and_the_gateway_lets_go(reach: Reach) -> None:
    for _ in range(8):
        reach.out("ws1", "true")

    def states() -> list[str]:
        found = []
        for pid in descendants(reach.place.process.pid):
            try:
                found.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
        return found

    until(lambda: "Z" not in states() and len(states()) <= 6, what="the end of every sshd")

    def sockets() -> int:
        assert reach.stage.gateway is not None
        descriptors = Path(f"/proc/{reach.stage.gateway.pid}/fd")
        return sum(1 for fd in descriptors.iterdir() if fd.is_symlink() and os.readlink(fd).startswith("socket:"))

    until(lambda: sockets() <= 3, what="the end of the gateway's sockets")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_the_other_kinds_of_keys_sign_in_too(reach: Reach, kind: str) -> None:
    key = reach.stage.key("alice", name=kind, kind=kind)
    config = reach.stage.config("alice", key)
    done = subprocess.run(["ssh", "-F", str(config), "ws1", "echo in"], capture_output=True, timeout=60)
    assert done.stdout == b"in\n", done.stderr


class SecurityKey(asyncssh.SSHKeyPair):
    """A security key's half of OpenSSH's ``sk-…`` types, made of what such a key signs: application, touch, counter, message."""

    def __init__(self, kind: str) -> None:
        self._ed25519 = kind == "ed25519"
        self._key = Ed25519PrivateKey.generate() if self._ed25519 else ec.generate_private_key(ec.SECP256R1())
        name = b"sk-ssh-ed25519@openssh.com" if self._ed25519 else b"sk-ecdsa-sha2-nistp256@openssh.com"
        if isinstance(self._key, Ed25519PrivateKey):
            parts = [self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)]
        else:
            parts = [b"nistp256", self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)]
        self._name, self._counter = name, 0
        super().__init__(name, name, [name], [name], b"".join(map(String, [name, *parts, b"ssh:"])), b"at hand")

    @property
    def line(self) -> str:
        return f"{self._name.decode()} {base64.b64encode(self.public_data).decode()} at hand"

    def sign(self, data: bytes) -> bytes:
        self._counter += 1
        touched = b"\x01" + struct.pack(">I", self._counter)
        message = hashlib.sha256(b"ssh:").digest() + touched + hashlib.sha256(data).digest()
        if isinstance(self._key, Ed25519PrivateKey):
            made = self._key.sign(message)
        else:
            made = b"".join(map(MPInt, decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))))
        return String(self._name) + String(made) + touched


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_security_key_signs_in_at_the_gateway_and_in_the_workspace(reach: Reach, kind: str) -> None:
    key = SecurityKey(kind)
    ssh_keys.add_key(reach.stage.storage, user="alice", public_key=key.line, now=now())

    async def attempt() -> str:
        common: dict[str, Any] = {"client_keys": [key], "known_hosts": None, "config": []}
        async with asyncssh.connect("127.0.0.1", reach.stage.port, username="alice", **common) as gateway:
            async with gateway.connect_ssh("ws1", username="user", **common) as inside:
                return str((await inside.run("id -un", check=True)).stdout)

    assert asyncio.run(attempt()) == "user\n"
