"""ArkLocalSpawner: a workspace is a bubblewrap sandbox on this machine.

Promises: the process is watched from its first moment, and its death is an answer at once, with the end of its log; it
survives the Hub and is found again by what it wrote itself into the run's directory; a stop ends everything it started
within 10 seconds; nothing of the system disk is left after.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port, url_path_join
from traitlets import Bool, Dict, Instance, Integer, List, Unicode
from traitlets import Callable as CallableTrait

from ark_extensions.domain.workspaces import LaunchSpec
from ark_extensions.usecases import ssh_sessions
from ark_extensions.usecases.views import Sentence
from ark_spawner import local_run
from ark_spawner.answering import answers
from ark_spawner.cgroups import ControlGroups
from ark_spawner.environment import Mirrors, workspace_environment
from ark_spawner.failures import NO_ANSWER, StartFailure
from ark_spawner.lifecycle import WorkspaceLifecycle, now
from ark_spawner.local_run import LocalRun, Volumes
from ark_spawner.options import stored_workspace_id
from ark_spawner.ssh import SshFiles, can_serve

MEMORY_FULL = Sentence(
    "The workspace's memory ({memory_gib} GiB) was full, so the system ended a program in it. Use less, or start it with more memory."
)
HERE = Sentence("Starting on this machine: {offer}.")
MOVED = Sentence("“{name}” in the home directory is where the platform mounts your files. What stood there is now “{moved}”.")


class ArkLocalSpawner(WorkspaceLifecycle, LocalProcessSpawner):  # type: ignore[misc]  # jupyterhub has no types
    """Starts workspaces as local processes. Everything it needs to know of the installation is set by hub_config."""

    open_volumes = CallableTrait(help="Called without arguments; returns the installation's Volumes").tag(config=True)
    control_groups = CallableTrait(help="Called without arguments; returns the installation's ControlGroups").tag(config=True)
    images = Dict(help="image reference → directory of its environment").tag(config=True)
    mirrors = Instance(Mirrors, (), help="mirrors that every process of a workspace learns of").tag(config=True)
    sandbox = Bool(True, help="run workspaces in bubblewrap").tag(config=True)
    console_api_url = Unicode(help="where a workspace reaches the platform's API").tag(config=True)
    platform_dir = Unicode(help="directory of the platform's files inside workspaces").tag(config=True)
    code_server_dir = Unicode(help="directory of code-server").tag(config=True)
    node_dir = Unicode(help="directory of the Node that code-server runs on").tag(config=True)
    ssh_secret = CallableTrait(help="Called without arguments; returns the SSH gateway's secret, with which host keys are sealed").tag(
        config=True
    )
    ssh = Bool(False, help="let the SSH gateway into workspaces, where this machine has an sshd").tag(config=True)
    server_args = List(Unicode(), help="further arguments of jupyterhub-singleuser").tag(config=True)
    patience_seconds = Integer(120, help="a server that does not answer by then has failed to start").tag(config=True)

    starting = HERE

    _run: LocalRun | None = None
    _launching = False
    _oom_kills = 0
    _ssh_files: SshFiles | None = None

    # what the Hub asks

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        workspace_id = self._workspace_id or stored_workspace_id(self.user_options)
        if workspace_id is None:
            return
        self._run = LocalRun.found(self._volumes, workspace_id)
        if self._run is not None and self._launch_id is None:
            # the Hub died before it could store this start: the run's directory still knows it
            self._workspace_id, self._launch_id = workspace_id, self._run.launch_id

    def clear_state(self) -> None:
        super().clear_state()
        self._run = None
        self._launching = False

    async def get_url(self) -> str:
        return f"{self._url(self._run.port)}{self.server.base_url}" if self._run is not None else str(self.server.url)

    def make_preexec_fn(self, name: str) -> Callable[[], None] | None:
        return None

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return env

    # what the lifecycle asks

    async def launch(self, spec: LaunchSpec) -> str:
        self._launching = True
        self._oom_kills = 0
        try:
            self.step(20, "Preparing disks, datasets and models")
            prepare = partial(LocalRun.prepared, self._volumes, spec, image=self._image(spec), port=random_port(), in_sandbox=self.sandbox)
            run = self._run = await self._in_thread(prepare)
            for name, moved in run.moved:
                await self.note("moved", "warning", Sentence(MOVED.msgid, {"name": name, "moved": moved}))
            self.port = run.port
            environment = self._environment(spec, run)
            self._ssh_files = await self._files_for_ssh(spec)
            self.step(40, "Starting the workspace")
            await self._in_thread(partial(run.start, self._program(spec), environment, self._plan(spec)))
            run.remember_inner()
            await self._tell_limits()
            self.step(60, "Waiting for the workspace to answer")
            await self._wait_until_it_answers(run)
            return self._url(run.port)
        finally:
            self._launching = False

    async def poll_process(self) -> int | None:
        run = self._run
        if run is None:
            return None if self._launching else 0
        if self._launching and not run.started:
            return None
        status = run.poll()
        if status is None:
            run.remember_inner()
            run.cap_log()
            await self._tell_memory()
        return status

    async def end_process(self) -> None:
        if self._run is not None:
            await self._in_thread(self._run.end)

    async def clean_up(self) -> dict[str, Any]:
        workspace_id, run = self._workspace_id, self._run
        if workspace_id is None or (run is None and self._launch_id is None):
            return {}
        run = run or await self._in_thread(partial(LocalRun.found, self._volumes, workspace_id))
        detail: dict[str, Any] = {}
        if run is not None:
            await self._in_thread(run.end_at_once)
            detail = {"log": run.log_tail()}
            if run.oom_kills() > self._oom_kills:
                detail["cause"] = self._memory_sentence()
            await self._in_thread(run.remove_group)
        await self._in_thread(partial(self._volumes.remove_run_dir, workspace_id))
        return detail

    # parts of a launch

    def _plan(self, spec: LaunchSpec) -> local_run.Plan:
        image = self._image(spec)
        return local_run.Plan(
            spec=spec,
            image=image,
            groups=self._groups,
            platform=_existing(self.platform_dir),
            code_server=_existing(self.code_server_dir),
            node=_existing(self.node_dir),
            sandbox=self.sandbox,
            ssh=self._ssh_files,
        )

    async def _files_for_ssh(self, spec: LaunchSpec) -> SshFiles | None:
        """What sshd in the workspace needs; None where workspaces take no SSH."""
        if not (self.ssh and self.sandbox and can_serve()):
            return None
        host_key = await self.use_case(partial(ssh_sessions.host_key, workspace_id=spec.workspace_id, secret=self.ssh_secret(), now=now()))
        return SshFiles(host_key.private, await self.use_case(partial(ssh_sessions.authorized_keys, owner=spec.owner)))

    def _image(self, spec: LaunchSpec) -> Path:
        directory = self.images.get(spec.image_reference)
        if not directory or not (Path(directory) / "bin/jupyterhub-singleuser").exists():
            raise StartFailure(
                "image_missing",
                Sentence(
                    "The image {image} is not on this machine. Choose another, or ask an operator to build it.", {"image": spec.image_id}
                ),
                detail={"image_reference": spec.image_reference, "directory": str(directory)},
            )
        return Path(directory)

    def _environment(self, spec: LaunchSpec, run: LocalRun) -> dict[str, str]:
        plan = self._plan(spec)
        return workspace_environment(
            spec,
            hub=self.get_env(),
            mirrors=self.mirrors,
            environment_prefix=PurePosixPath(self._image(spec)),
            api_url=self.console_api_url,
            gpus_hidden=self.sandbox,
            places=run.places(plan),
        )

    def _program(self, spec: LaunchSpec) -> list[str]:
        """The server inside. Kernels speak over unix sockets: a port on the loopback would be every neighbour's."""
        transport = ["--KernelManager.transport=ipc"] if self.sandbox else []
        # in the sandbox it is uid 1000; without one it is this account, and Jupyter refuses root unless it is told
        as_root = ["--allow-root"] if not self.sandbox and os.geteuid() == 0 else []
        return [
            str(self._image(spec) / "bin/jupyterhub-singleuser"),
            *transport,
            *as_root,
            "--ServerApp.terminado_settings={'shell_command': ['/bin/bash']}",
            *self.server_args,
            *self.args,
        ]

    async def _wait_until_it_answers(self, run: LocalRun) -> None:
        url = url_path_join(self._url(run.port), self.server.base_url if self.server else "/", "api")
        deadline = asyncio.get_running_loop().time() + self.patience_seconds
        while True:
            status = run.poll()
            if status is not None:
                raise run.died(status)
            if await answers(url):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise StartFailure(
                    "no_answer",
                    Sentence(NO_ANSWER.msgid, {"seconds": self.patience_seconds}),
                    detail={"log": run.log_tail()},
                )
            await asyncio.sleep(0.05)

    async def _tell_limits(self) -> None:
        missing = self._groups.limits_status()
        if missing is not None:
            await self.note("limits", "warning", missing)

    async def _tell_memory(self) -> None:
        if self._run is None:
            return
        kills = self._run.oom_kills()
        if kills > self._oom_kills:
            self._oom_kills = kills
            await self.note("memory", "warning", self._memory_sentence(), {"oom_kills": kills})

    def _memory_sentence(self) -> Sentence:
        gib = (self._run.memory_mib if self._run is not None else 0) / 1024
        return Sentence(MEMORY_FULL.msgid, {"memory_gib": re.sub(r"\.0$", "", f"{gib:.1f}")})

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    @property
    def _volumes(self) -> Volumes:
        volumes: Volumes = self.open_volumes()
        return volumes

    @cached_property
    def _groups(self) -> ControlGroups:
        groups: ControlGroups = self.control_groups()
        return groups

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._workers, call)


def _existing(directory: str) -> Path | None:
    return Path(directory) if directory and os.path.isdir(directory) else None
