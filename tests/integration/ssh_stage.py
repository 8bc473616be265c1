"""A stage for SSH: the real gateway, real sandboxes with the real door in them, and a database; no Hub.

Used by the tests and the bench of SSH. A workspace here is `sleep` in a sandbox with the door before it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from ark_extensions.domain.money import MICROS
from ark_extensions.domain.offers import Node
from ark_extensions.domain.workspaces import LaunchSpec
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import launches, market, orders, ssh_keys, ssh_sessions, users
from ark_extensions.usecases.views import WorkspaceOrder
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_spawner import disks, identity, sandbox, ssh
from ark_spawner.local_run import root_links
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = ROOT / "ark_extensions" / "workspace"
CATALOG = {
    "offers": [
        {"id": "cpu", "name": "CPU", "plan": "payg", "vcpu": 1, "memory_mib": 1024, "system_disk_gib": 1, "price": "1", "per": "hour"}
    ],
    "images": [{"id": "python-cpu", "name": "Python", "reference": "python-cpu"}],
}
ENVIRONMENT = {
    "PATH": "/opt/image/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/home/user",
    "USER": "user",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "PIP_INDEX_URL": "http://mirror.test/simple",
    "CUDA_VISIBLE_DEVICES": "-1",
    "ODD": 'a "quoted" \\ $HOME value',
}


def now() -> datetime:
    return datetime.now(UTC)


def until(condition: object, seconds: float = 60.0, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


@dataclass
class Place:
    """A running sandbox."""

    owner: str
    name: str
    id: str
    launch_id: str
    process: subprocess.Popen[bytes]
    home: Path


@dataclass
class Stage:
    directory: Path
    storage: Storage
    port: int
    gateway: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    idle: socket.socket | None = None
    idle_since: float = 0.0

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def volumes(self) -> LocalDirVolumes:
        return LocalDirVolumes(self.state_dir)

    # the platform's side

    def start_gateway(self) -> None:
        environment = os.environ | {"ARK_STATE_DIR": str(self.state_dir), "ARK_SSH_PORT": str(self.port), "PYTHONPATH": str(ROOT)}
        log = open(self.directory / "gateway.log", "ab")
        self.gateway = subprocess.Popen(
            [sys.executable, "-m", "ark_extensions.ssh"], env=environment | self.settings, stdout=log, stderr=log, cwd=self.directory
        )
        log.close()
        until(self.answers, 20, "the gateway's first answer")

    def answers(self) -> bool:
        assert self.gateway is not None and self.gateway.poll() is None, self.log()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(8).startswith(b"SSH-2.0")
        except OSError:
            return False

    def stop_gateway(self) -> None:
        if self.gateway is not None:
            self.gateway.terminate()
            try:
                self.gateway.wait(10)
            except subprocess.TimeoutExpired:
                self.gateway.kill()
                self.gateway.wait(5)
            self.gateway = None

    def log(self) -> str:
        return (self.directory / "gateway.log").read_text(errors="replace")

    def workspace(
        self,
        owner: str = "alice",
        *,
        name: str | None = None,
        idle_minutes: int | None = None,
        program: tuple[str, ...] = ("/bin/sleep", "7200"),
    ) -> Place:
        """Order it, pass the gate, start a sandbox, say it is ready."""
        order = WorkspaceOrder(f"{owner}-{name}-{len(self.places)}", "cpu", "python-cpu", name=name, idle_stop_minutes=idle_minutes)
        view = orders.place_order(self.storage, user=owner, order=order, now=now())
        spec = launches.authorize_launch(self.storage, owner=owner, server_name=view.name, workspace_id=view.id, now=now())
        process, home = self.sandbox(spec, program)
        launches.record_ready(self.storage, workspace_id=view.id, launch_id=spec.launch_id, now=now())
        place = Place(owner, view.name, view.id, spec.launch_id, process, home)
        self.places.append(place)
        return place

    def sandbox(self, spec: LaunchSpec, program: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], Path]:
        run, home, netdisk = self.volumes.run_dir(spec.workspace_id), self.volumes.data_disk(spec.workspace_id), self.volumes.netdisk("x")
        uid = identity.host_uid(spec.owner)
        disks.give_to(home, uid)
        disks.give_to(netdisk, uid)
        disks.prepare_mount_points(home, uid)
        disks.prepare_run(run, workspace_name=spec.workspace_name, uid=uid)
        host_key = ssh_sessions.host_key(self.storage, workspace_id=spec.workspace_id, secret="the stage's", now=now())
        keys = ssh_sessions.authorized_keys(self.storage, owner=spec.owner)
        files = ssh.prepare(run, ssh.SshFiles(host_key.private, keys), uid=uid)
        paths = sandbox.HostPaths(
            home=home,
            netdisk=netdisk,
            tmp=run / "tmp",
            var_tmp=run / "var-tmp",
            runtime=run / "runtime",
            etc=run / "etc",
            platform=PLATFORM,
            root_links=root_links(),
            ssh=files,
        )
        namespace = identity.user_namespace(uid)
        listener = ssh.listening_socket(run)
        options = os.memfd_create("sandbox")
        os.write(options, b"".join(os.fsencode(word) + b"\0" for word in sandbox.arguments(spec, paths, user_namespace=namespace)))
        os.lseek(options, 0, os.SEEK_SET)
        inside = ssh.program(PurePosixPath("/usr/bin/python3"), PurePosixPath("/opt/ark/workspace"), listener, list(program))
        passed = [number for number in (namespace, listener, options) if number is not None]
        log = open(run / "server.log", "ab")
        process = subprocess.Popen(
            sandbox.command(inside, args_fd=options, user_namespace=namespace),
            env=ENVIRONMENT,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        for number in passed:
            os.close(number)
        return process, home

    def stop(self, place: Place) -> None:
        """As the platform does: the sandbox ends, then the books say so."""
        end(place.process)
        self.volumes.remove_run_dir(place.id)
        launches.record_stop(self.storage, workspace_id=place.id, launch_id=place.launch_id, now=now(), exit_code=0, was_ready=True)

    # a person's side

    def key(self, user: str, *, name: str = "id", kind: str = "ed25519", register: bool = True) -> Path:
        path = self.directory / f"{user}-{name}"
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{user}@laptop", "-f", str(path)], check=True, timeout=60)
        if register:
            ssh_keys.add_key(self.storage, user=user, public_key=path.with_suffix(".pub").read_text(), now=now())
        return path

    def config(self, user: str, key: Path, *more: str, jump_user: str | None = None) -> Path:
        """An ssh configuration with the gateway as `gw` and every workspace of the stage reached through it."""
        path = self.directory / f"config-{user}-{key.name}-{jump_user or ''}"
        common = (
            f"IdentityFile {key}",
            "IdentitiesOnly yes",
            "BatchMode yes",
            "StrictHostKeyChecking no",
            f"UserKnownHostsFile {self.directory}/known_hosts",
            "LogLevel INFO",
            "ConnectTimeout 20",
            *more,
        )
        lines = [
            "Host gw",
            " ProxyJump none",
            " HostName 127.0.0.1",
            f" Port {self.port}",
            f" User {jump_user or user}",
            *(f" {line}" for line in common),
        ]
        lines += ["Host * !gw", " User user", " ProxyJump gw", *(f" {line}" for line in common)]
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)
        return path


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)


def can_run() -> bool:
    return all(shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") for name in ("bwrap", "sshd", "ssh", "ssh-keygen", "scp", "sftp"))


@contextlib.contextmanager
def staged(directory: Path, *, people: tuple[str, ...] = ("alice", "bob"), **settings: object) -> Iterator[Stage]:
    """A gateway over a fresh database; everything is ended at the end."""
    (directory / "state").mkdir(parents=True)
    url = f"sqlite:///{directory / 'state' / 'ark.sqlite'}"
    migrate(url)
    storage = Storage(url)
    market.set_nodes(storage, nodes=[Node("local", 256, 1 << 20, ())])
    market.seed_catalog(storage, catalog=CATALOG, now=now())
    for name in people:
        users.ensure_user(storage, name=name, admin=False, opening_credit_micros=100 * MICROS, now=now())
    stage = Stage(directory, storage, free_port(), settings={f"ARK_{key.upper()}": str(value) for key, value in settings.items()})
    try:
        stage.start_gateway()
        yield stage
    finally:
        stage.stop_gateway()
        for place in stage.places:
            end(place.process)
        storage.close()


__all__ = ["Place", "Stage", "can_run", "end", "now", "staged", "until"]
