"""SSH inside a workspace: started before the workspace's server, it answers on a socket that the platform made.

`python door.py --socket FD --files DIR -- PROGRAM …` leaves a door keeper behind and becomes PROGRAM. The keeper takes
each connection from the socket and gives it to an `sshd -i` of its own, as the workspace's user: no port is opened, and
the socket's name lies outside the sandbox, where only the platform's gateway can reach it. It promises: its own death or a missing sshd
never harms PROGRAM; every sshd it starts is reaped; sessions see the environment that a terminal in JupyterLab sees.
Standard library only: it runs on whatever Python the image has.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

SSHD = "/usr/sbin/sshd"
MAX_CONNECTIONS = 512
#: what belongs to one process or terminal, and is not for sessions
NOT_FOR_SESSIONS = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "TERM", "HOME", "USER", "LOGNAME", "SHELL", "ARK_SSH_SERVER"})

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


class Keeper:
    def __init__(self, listener: socket.socket, config: Path) -> None:
        self._listener, self._config = listener, config
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
            actions = [(os.POSIX_SPAWN_DUP2, number, 0), (os.POSIX_SPAWN_DUP2, number, 1)]
            try:
                pid = os.posix_spawn(
                    SSHD,
                    ["sshd", "-i", "-e", "-f", str(self._config)],
                    {"PATH": "/usr/bin:/bin"},
                    file_actions=actions,
                    setsigdef=[signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ],
                )
            except OSError as error:
                print(f"sshd could not be started: {error}", file=sys.stderr, flush=True)
                return
            self._children.add(pid)

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


def keep(listener: socket.socket, files: Path) -> None:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / "ssh"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = runtime / "sshd_config"
    config.unlink(missing_ok=True)
    with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(configuration(files, dict(os.environ)))
    Keeper(listener, config).run()


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    options = dict(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    program = arguments[split + 1 :]
    number, files = int(options["--socket"]), Path(options["--files"])
    parent = os.getpid()
    if os.path.exists(SSHD) and os.fork() == 0:
        status = 1
        try:
            end_with_parent()
            if os.getppid() == parent:
                with socket.socket(fileno=number) as listener:
                    os.set_inheritable(number, False)
                    keep(listener, files)
            status = 0
        except BaseException as error:
            print(f"The SSH door has closed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(number)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
