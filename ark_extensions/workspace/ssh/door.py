"""SSH inside a workspace: started before the workspace's server, it answers on a socket that the platform made.

`python door.py --socket FD --files DIR -- PROGRAM …` leaves a door keeper behind and becomes PROGRAM. The keeper takes
each connection from the socket and gives it to an `sshd -i` of its own, as the workspace's user: no port is opened, and
the socket's name lies outside the sandbox, where only the platform's gateway can reach it.

`python door.py --port N -- PROGRAM …` does the same in a pod, where the gateway comes over the network: it listens on the port, and each
connection must begin with a line that only the gateway can write (`ARK-SSH TOKEN LENGTH`, then so many bytes: the keys that the
workspace takes now). Token and host key come in the environment, and PROGRAM does not inherit them.

It promises: its own death or a missing sshd never harms PROGRAM; every sshd it starts is reaped; sessions see the environment that
a terminal in JupyterLab sees.
Standard library only: it runs on whatever Python the image has.
"""

from __future__ import annotations

import ctypes
import hmac
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

SSHD = "/usr/sbin/sshd"
MAX_CONNECTIONS = 512
#: what belongs to one process or terminal, and is not for sessions
NOT_FOR_SESSIONS = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "TERM", "HOME", "USER", "LOGNAME", "SHELL", "ARK_SSH_SERVER"})
#: of the environment, in a pod: what the gateway must know, and the workspace's host key (PEM)
TOKEN, HOST_KEY = "ARK_SSH_DOOR", "ARK_SSH_HOST_KEY"
GREETING_SECONDS = 10.0
GREETING_LINE_MAX, KEYS_MAX = 200, 1 << 20
ENDED_BY = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)

CONFIG = """\
HostKey {files}/host_key
AuthorizedKeysFile {files}/authorized_keys
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
UsePAM no
StrictModes no
PermitUserEnvironment no
PidFile none
AllowAgentForwarding yes
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
GatewayPorts no
X11Forwarding no
PermitTunnel no
PrintMotd no
PrintLastLog no
UseDNS no
LoginGraceTime 30
MaxAuthTries 10
MaxSessions 100
ClientAliveInterval 60
ClientAliveCountMax 15
LogLevel ERROR
Subsystem sftp internal-sftp
"""


def quoted(name: str, value: str) -> str:
    """``NAME=value`` as one word of sshd's configuration."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}={escaped}"'


def session_environment(environment: dict[str, str]) -> dict[str, str]:
    """What a session gets: all of the workspace's environment but what is one process's own."""
    return {
        name: value
        for name, value in environment.items()
        if name not in NOT_FOR_SESSIONS and name.replace("_", "a").isalnum() and value.isprintable()
    }


def configuration(files: Path, environment: dict[str, str]) -> str:
    words = [quoted(name, value) for name, value in sorted(session_environment(environment).items())]
    # the first SetEnv line is the one that counts
    return CONFIG.format(files=files) + (f"SetEnv {' '.join(words)}\n" if words else "")


def end_with_parent() -> None:
    """Where there is no sandbox whose end would end us."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def greeting(connection: socket.socket, token: str) -> bytes | None:
    """The keys that the gateway brings; None for whoever is not the gateway. Takes not a byte of what follows."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > GREETING_LINE_MAX:
            return None
        line += byte
    words = line.split()
    if len(words) != 3 or words[0] != b"ARK-SSH" or not words[2].isdigit() or not hmac.compare_digest(bytes(words[1]), token.encode()):
        return None
    wanted = int(words[2])
    keys = bytearray()
    while len(keys) < wanted <= KEYS_MAX:
        part = connection.recv(wanted - len(keys))
        if not part:
            return None
        keys += part
    return bytes(keys) if wanted <= KEYS_MAX else None


class Keeper:
    def __init__(self, listener: socket.socket, config: Path, greet: Callable[[socket.socket], bool] | None = None) -> None:
        """``greet``: called in a process of the connection's own; False turns it away."""
        self._listener, self._config, self._greet = listener, config, greet
        self._children: set[int] = set()
        self._ending = False

    def run(self) -> None:
        """Until the workspace ends."""
        wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(wakeup, selectors.EVENT_READ)
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._ending:
                for key, _ in ready.select():
                    if key.fileobj == wakeup:
                        os.read(wakeup, 4096)
                    else:
                        self._accept()
                self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _end(self, number: int, frame: object) -> None:
        self._ending = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            if len(self._children) >= MAX_CONNECTIONS:
                return
            connection.setblocking(True)
            self._reap()
            number = connection.fileno()
            if self._greet is not None:
                self._children.add(self._fork(connection, self._greet))
                return
            actions = [(os.POSIX_SPAWN_DUP2, number, 0), (os.POSIX_SPAWN_DUP2, number, 1)]
            try:
                pid = os.posix_spawn(
                    SSHD,
                    ["sshd", "-i", "-e", "-f", str(self._config)],
                    {"PATH": "/usr/bin:/bin"},
                    file_actions=actions,
                    setsigdef=ENDED_BY,
                )
            except OSError as error:
                print(f"sshd could not be started: {error}", file=sys.stderr, flush=True)
                return
            self._children.add(pid)

    def _fork(self, connection: socket.socket, greet: Callable[[socket.socket], bool]) -> int:
        """A process that hears who comes, and becomes sshd for the gateway."""
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for number in ENDED_BY:
                signal.signal(number, signal.SIG_DFL)
            connection.settimeout(GREETING_SECONDS)
            if greet(connection):
                connection.setblocking(True)
                os.dup2(connection.fileno(), 0)
                os.dup2(connection.fileno(), 1)
                os.execve(SSHD, ["sshd", "-i", "-e", "-f", str(self._config)], {"PATH": "/usr/bin:/bin"})
        except OSError as error:
            print(f"A connection could not be served: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._children.clear()
                return
            if pid == 0:
                return
            self._children.discard(pid)


def runtime_directory() -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / "ssh"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return runtime


def write(place: Path, content: bytes) -> None:
    """Readable by this user only; whole or not at all for who reads it meanwhile."""
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(place)


def keep(listener: socket.socket, files: Path | None, host_key: str = "", token: str = "") -> None:
    """``files`` None: in a pod."""
    runtime = runtime_directory()
    config = runtime / "sshd_config"
    write(config, configuration(files or runtime, dict(os.environ)).encode())
    if files is not None:
        Keeper(listener, config).run()
        return
    write(runtime / "host_key", host_key.rstrip("\n").encode() + b"\n")

    def greet(connection: socket.socket) -> bool:
        keys = greeting(connection, token)
        if keys is not None:
            write(runtime / "authorized_keys", keys)
        return keys is not None

    Keeper(listener, config, greet).run()


def listening(port: int) -> socket.socket:
    """On all addresses of the pod, of both families where it has both."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=256)
    except OSError:
        return socket.create_server(("", port), backlog=256)


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    options = dict(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    program = arguments[split + 1 :]
    token, host_key = os.environ.pop(TOKEN, ""), os.environ.pop(HOST_KEY, "")
    number = int(options["--socket"]) if "--socket" in options else None
    files = Path(options["--files"]) if number is not None else None
    parent = os.getpid()
    if os.path.exists(SSHD) and (number is not None or (token and host_key)) and os.fork() == 0:
        status = 1
        try:
            end_with_parent()
            if os.getppid() == parent:
                with socket.socket(fileno=number) if number is not None else listening(int(options["--port"])) as listener:
                    os.set_inheritable(listener.fileno(), False)
                    keep(listener, files, host_key, token)
            status = 0
        except BaseException as error:
            print(f"The SSH door has closed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    if number is not None:
        os.close(number)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
