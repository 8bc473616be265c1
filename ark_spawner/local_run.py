"""One run of a workspace on this machine: its directory, its first process, its end. Blocking; called in threads.

The run's directory (which the workspace cannot see) holds what a restarted Hub needs: ``launch.json`` is written before
the process is started, and ``process`` by the process itself before it becomes the workspace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from ark_extensions.domain.ssh_access import RUN_FILES
from ark_extensions.domain.workspaces import LaunchSpec, Mount
from ark_extensions.usecases.views import Sentence
from ark_spawner import disks, identity, sandbox, ssh
from ark_spawner import filesystem as fs
from ark_spawner.cgroups import ControlGroups, Group
from ark_spawner.environment import Places
from ark_spawner.failures import DIED, StartFailure
from ark_spawner.processes import (
    JOIN_FAILED,
    MARK_FAILED,
    Mark,
    children,
    descendants,
    is_alive,
    mark_of,
    read_mark,
    send,
    wrapped,
    write_mark,
)

LAUNCH, GROUP, PROCESS, INNER, LOG = "launch.json", "group.json", "process", "inner", "server.log"
LOG_MAX, LOG_KEPT, TAIL = 4 * 1024 * 1024, 256 * 1024, 4000
TERM_SECONDS, KILL_SECONDS, MARK_SECONDS = 6.0, 3.0, 5.0
UNSEEN_PYTHON = Sentence("This image's Python lies where a workspace cannot see it. Tell an operator.")


class Volumes(Protocol):
    """Where disks lie; `ark_extensions.volumes` has the adapter."""

    def data_disk(self, workspace_id: str) -> Path: ...
    def netdisk(self, owner: str) -> Path: ...
    def item(self, mount: Mount) -> Path: ...
    def run_dir(self, workspace_id: str) -> Path: ...
    def find_run_dir(self, workspace_id: str) -> Path | None: ...
    def remove_run_dir(self, workspace_id: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What one start needs beside the disks. ``image``: the directory of its environment."""

    spec: LaunchSpec
    image: Path
    groups: ControlGroups
    sandbox: bool
    platform: Path | None = None
    code_server: Path | None = None
    node: Path | None = None
    ssh: ssh.SshFiles | None = None


@dataclass
class LocalRun:
    directory: Path
    workspace_id: str
    launch_id: str
    port: int
    memory_mib: int
    home: Path
    netdisk: Path
    in_sandbox: bool
    items: tuple[tuple[Mount, Path], ...] = ()
    uid: int = -1
    moved: list[tuple[str, str]] = field(default_factory=list)
    mark: Mark | None = None
    inner: Mark | None = None
    popen: subprocess.Popen[bytes] | None = None
    group: Group | None = None

    @classmethod
    def found(cls, volumes: Volumes, workspace_id: str) -> LocalRun | None:
        """The run that its directory tells of, whether it lives or not; None when there is none."""
        directory = volumes.find_run_dir(workspace_id)
        if directory is None:
            return None
        try:
            told = json.loads((directory / LAUNCH).read_text())
            run = cls(
                directory,
                workspace_id,
                told["launch_id"],
                int(told["port"]),
                int(told["memory_mib"]),
                Path(told["home"]),
                Path(told["netdisk"]),
                told["in_sandbox"] is True,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        run.mark, run.inner = read_mark(directory / PROCESS), read_mark(directory / INNER)
        try:
            run.group = Group.from_state(json.loads((directory / GROUP).read_text()))
        except (OSError, ValueError, KeyError):
            run.group = None
        return run

    @classmethod
    def prepared(cls, volumes: Volumes, spec: LaunchSpec, *, image: Path, port: int, in_sandbox: bool) -> LocalRun:
        """Disks and the run's directory, ready. What an earlier run left is ended and removed first."""
        before = cls.found(volumes, spec.workspace_id)
        if before is not None:
            before.end_at_once()
            before.remove_group()
        volumes.remove_run_dir(spec.workspace_id)
        items = tuple((mount, volumes.item(mount)) for mount in spec.mounts)
        run = cls(
            directory=volumes.run_dir(spec.workspace_id),
            workspace_id=spec.workspace_id,
            launch_id=spec.launch_id,
            port=port,
            memory_mib=spec.quantities.memory_mib,
            home=volumes.data_disk(spec.workspace_id),
            netdisk=volumes.netdisk(spec.owner),
            in_sandbox=in_sandbox,
            items=items,
            uid=identity.host_uid(spec.owner) if in_sandbox else os.geteuid(),
        )
        if in_sandbox:
            for _, source in items:
                disks.open_to_all(source)
        disks.give_to(run.home, run.uid)
        disks.give_to(run.netdisk, run.uid)
        if in_sandbox:
            at_home = [
                path.relative_to(fs.HOME)
                for path in map(PurePosixPath, (image, *interpreter_prefixes(image)))
                if path.is_relative_to(fs.HOME)
            ]
            run.moved = disks.prepare_mount_points(run.home, run.uid, at_home)
        else:
            run.moved = disks.link_mounts(run.home, run.netdisk, items)
        disks.prepare_run(run.directory, workspace_name=spec.workspace_name, uid=run.uid)
        told = {
            "launch_id": spec.launch_id,
            "port": port,
            "memory_mib": run.memory_mib,
            "home": str(run.home),
            "netdisk": str(run.netdisk),
            "in_sandbox": in_sandbox,
        }
        (run.directory / LAUNCH).write_text(json.dumps(told))
        return run

    @property
    def started(self) -> bool:
        return self.popen is not None or self.mark is not None

    def places(self, plan: Plan) -> Places:
        """Where the workspace's processes find things."""
        if plan.sandbox:
            return Places(
                platform=fs.PLATFORM if plan.platform else None,
                code_server=fs.CODE_SERVER if plan.code_server else None,
                node=fs.NODE if plan.node else None,
            )
        return Places(
            home=PurePosixPath(self.home),
            runtime=PurePosixPath(self.directory / "runtime"),
            tmp=PurePosixPath(self.directory / "tmp"),
            platform=_posix(plan.platform),
            code_server=_posix(plan.code_server),
            node=_posix(plan.node),
        )

    def start(self, program: list[str], environment: dict[str, str], plan: Plan) -> None:
        """Start the first process, and wait until it has written its mark (milliseconds)."""
        self.group = group = plan.groups.create(self.workspace_id, plan.spec.quantities)
        (self.directory / GROUP).write_text(json.dumps(group.as_state()))
        if plan.sandbox:
            for tree in (plan.image, plan.platform, plan.code_server and plan.code_server.parent, plan.node):
                if tree is not None:
                    disks.open_to_all(tree)
        descriptors: list[int] = []
        try:
            command = self._sandboxed(program, plan, descriptors) if plan.sandbox else program
            log = os.open(self.directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            descriptors.append(log)
            self.popen = subprocess.Popen(
                wrapped(command, mark=self.directory / PROCESS, join=group.joins),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/" if plan.sandbox else self.home,
                pass_fds=descriptors[:-1],
                start_new_session=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        deadline = time.monotonic() + MARK_SECONDS
        while self.mark is None and self.popen.poll() is None and time.monotonic() < deadline:
            self.mark = read_mark(self.directory / PROCESS)
            time.sleep(0.002)

    def _sandboxed(self, program: list[str], plan: Plan, descriptors: list[int]) -> list[str]:
        """The bubblewrap command; its options travel through a descriptor, so that they show in no process list."""
        namespace = identity.user_namespace(self.uid)
        if namespace is not None:
            descriptors.append(namespace)
        if plan.ssh is not None and plan.platform is not None:
            program = self._with_door(program, plan.image, plan.ssh, descriptors)
        options = os.memfd_create("ark-sandbox")
        descriptors.append(options)
        line = sandbox.arguments(plan.spec, self._host_paths(plan), user_namespace=namespace)
        os.write(options, b"".join(os.fsencode(word) + b"\0" for word in line))
        os.lseek(options, 0, os.SEEK_SET)
        return sandbox.command(program, args_fd=options, user_namespace=namespace)

    def _with_door(self, program: list[str], image: Path, files: ssh.SshFiles, descriptors: list[int]) -> list[str]:
        """The program, and before it the door through which SSH comes in."""
        ssh.prepare(self.directory, files, uid=self.uid)
        listener = ssh.listening_socket(self.directory)
        descriptors.append(listener)
        return ssh.program(PurePosixPath(image / "bin/python"), fs.PLATFORM, listener, program)

    def _host_paths(self, plan: Plan) -> sandbox.HostPaths:
        return sandbox.HostPaths(
            home=self.home,
            netdisk=self.netdisk,
            tmp=self.directory / "tmp",
            var_tmp=self.directory / "var-tmp",
            runtime=self.directory / "runtime",
            etc=self.directory / "etc",
            items=self.items,
            read_only=(plan.image, *interpreter_prefixes(plan.image)),
            platform=plan.platform,
            code_server=plan.code_server,
            node=plan.node,
            ssh=self.directory / RUN_FILES if plan.ssh is not None and plan.platform is not None else None,
            root_links=root_links(),
        )

    def remember_inner(self) -> None:
        """Keep the mark of the sandbox's own first process: it outlives its parent if someone kills that one."""
        if self.in_sandbox and self.inner is None and self.mark is not None:
            for pid in children(self.mark.pid)[:1]:
                self.inner = mark_of(pid)
            if self.inner is not None:
                write_mark(self.directory / INNER, self.inner)

    def poll(self) -> int | None:
        """None while it runs; else its exit code (128 + signal; 0 when another Hub had started it)."""
        if self.popen is not None:
            code = self.popen.poll()
            return code if code is None or code >= 0 else 128 - code
        return None if self.mark is not None and is_alive(self.mark) else 0

    def end(self) -> None:
        """Ask it to end, then end it, within 10 seconds."""
        if self.mark is not None and self.poll() is None:
            # in a sandbox: below bubblewrap, and below the process that reaps inside
            server = [pid for child in children(self.mark.pid) for pid in children(child)] if self.in_sandbox else []
            send(server or [self.mark.pid], signal.SIGTERM)
            self._wait(TERM_SECONDS)
        self.end_at_once()

    def end_at_once(self) -> None:
        """End every process of the run, now."""
        self.mark = self.mark or read_mark(self.directory / PROCESS)
        marks = [mark for mark in (self.mark, self.inner) if mark is not None and is_alive(mark)]
        below = [pid for mark in marks for pid in descendants(mark.pid)]
        send([*below, *(mark.pid for mark in marks)], signal.SIGKILL)
        if self.group is not None:
            self.group.kill()
        self._wait(KILL_SECONDS)

    def remove_group(self) -> None:
        if self.group is not None:
            self.group.remove()

    def oom_kills(self) -> int:
        """How many programs the system has ended in this run because its memory was full."""
        return self.group.oom_kills() if self.group is not None else 0

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (self.poll() is None or (self.inner is not None and is_alive(self.inner))) and time.monotonic() < deadline:
            time.sleep(0.02)

    def died(self, code: int) -> StartFailure:
        """Why its process ended before it answered."""
        log = self.log_tail()
        detail = {"exit_code": code, "log": log}
        if code in (MARK_FAILED, JOIN_FAILED) or "bwrap: " in log:
            return StartFailure(
                "sandbox_failed",
                Sentence("The workspace's sandbox could not be set up on this machine. Tell an operator: `ark doctor` says more."),
                detail=detail,
            )
        return StartFailure(
            "server_died",
            Sentence(DIED.msgid, {"exit_code": code}),
            detail=detail,
        )

    def log_tail(self) -> str:
        """The end of what its server printed."""
        try:
            with open(self.directory / LOG, "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - TAIL, 0))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def cap_log(self) -> None:
        """Keep the log from filling the disk: its end stays."""
        path = self.directory / LOG
        try:
            if path.stat().st_size > LOG_MAX:
                with open(path, "r+b") as file:
                    file.seek(-LOG_KEPT, os.SEEK_END)
                    kept = file.read(LOG_KEPT)
                    file.seek(0)
                    file.write(kept)
                    file.truncate()
        except OSError:
            return


def root_links() -> tuple[tuple[str, str | None], ...]:
    """How this machine's /bin, /lib and so on relate to /usr."""
    found: list[tuple[str, str | None]] = []
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            found.append((name, str(path.readlink()).lstrip("/")))
        elif path.is_dir():
            found.append((name, None))
    return tuple(found)


def interpreter_prefixes(image: Path) -> tuple[Path, ...]:
    """The base Python of an environment, when it is not the system's: it must be visible at its own path too."""
    try:
        lines = (image / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return ()
    homes = [Path(value.strip()) for key, _, value in (line.partition("=") for line in lines) if key.strip() == "home"]
    found: dict[Path, None] = {}
    for home in homes:
        for prefix in (home.parent, home.resolve().parent):
            if not prefix.resolve().is_relative_to("/usr"):
                if len(prefix.parts) < 3:
                    raise StartFailure("image_unusable", UNSEEN_PYTHON)
                found[prefix] = None
    return tuple(found)


def _posix(path: Path | None) -> PurePosixPath | None:
    return PurePosixPath(path) if path is not None else None
