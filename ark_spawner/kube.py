"""ArkKubeSpawner: a workspace is a pod in a Kubernetes cluster, a KubeSpawner with our gate before it.

Promises: everything it makes carries the labels of `domain/cluster.py`, so that what a dead Hub left is found; the truth
about a pod is the cluster's, never only a copy of it; while the cluster cannot be asked, nothing is concluded and nothing
is charged; a start that fails says why in a plain sentence and costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from jupyterhub.utils import url_path_join
from kubernetes_asyncio.config import kube_config
from kubespawner import KubeSpawner
from traitlets import Callable as CallableTrait
from traitlets import Instance, Integer, List, Unicode

from ark_extensions.domain import cluster as names
from ark_extensions.domain.workspaces import LaunchSpec, Mount
from ark_extensions.usecases import market
from ark_extensions.usecases.views import Sentence
from ark_spawner import disks, pod
from ark_spawner import filesystem as fs
from ark_spawner.answering import answers
from ark_spawner.cluster_events import Facts, Told
from ark_spawner.environment import Mirrors, Places, workspace_environment
from ark_spawner.failures import NO_ANSWER, StartFailure
from ark_spawner.kube_api import POD as POD_KIND
from ark_spawner.kube_api import ApiRefusal, ClusterApi, NotNow
from ark_spawner.kube_pod import NODE_LOST, WorkspacePod, how_it_ended, is_running, is_seen, launch_of, silent_since
from ark_spawner.lifecycle import WorkspaceLifecycle
from ark_spawner.options import stored_workspace_id
from ark_spawner.pod import Cluster, Manifest
from ark_spawner.watching import EventWatch, PodWatch

INTERRUPTED = Sentence("The start was interrupted. Nothing is charged; start it again.")
GONE = Sentence(
    "The workspace's pod is not in the cluster any more. You are charged only up to the last moment it was seen. Start it again."
)
NOT_ENDED = Sentence("The cluster did not end the workspace's pod yet. It is charged no longer; the platform goes on removing it.")


class Volumes(Protocol):
    """Where shared files lie; `ark_extensions.volumes` has the adapter."""

    def netdisk(self, owner: str) -> Path: ...
    def item(self, mount: Mount) -> Path: ...


class NotKnown(Exception):
    """The cluster cannot be asked now."""


class ArkKubeSpawner(WorkspaceLifecycle, KubeSpawner):  # type: ignore[misc]  # jupyterhub has no types
    """Starts workspaces as pods. Everything it needs to know of the installation is set by hub_config."""

    cluster = Instance(Cluster, (), help="what a pod must know of the cluster").tag(config=True)
    open_volumes = CallableTrait(
        None, allow_none=True, help="Called without arguments; returns the Volumes, where this process can reach the shared files"
    ).tag(config=True)
    mirrors = Instance(Mirrors, (), help="mirrors that every process of a workspace learns of").tag(config=True)
    image_environment = Unicode("/opt/ark/python", help="directory of the Python environment in images").tag(config=True)
    console_api_url = Unicode(help="where a workspace reaches the platform's API").tag(config=True)
    server_args = List(Unicode(), help="further arguments of jupyterhub-singleuser").tag(config=True)
    patience_seconds = Integer(120, help="a server that does not answer by then has failed to start").tag(config=True)
    pull_seconds = Integer(1800, help="how long pulling an image may take beside that").tag(config=True)
    ssh_environment = CallableTrait(
        None, allow_none=True, help="Called in a thread with Storage and LaunchSpec; returns what the workspace's SSH door is given"
    ).tag(config=True)

    _launching = False
    _pod: WorkspacePod | None = None
    _seen: Manifest | None = None

    @classmethod
    def use_kubeconfig(cls, path: Path) -> None:
        """The cluster, when the Hub does not run in it. Before the first spawner is made."""
        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(path)

    # what the Hub asks

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        workspace_id = self._workspace_id or stored_workspace_id(self.user_options)
        if workspace_id is not None:
            self._begin_with(workspace_id)

    def clear_state(self) -> None:
        super().clear_state()
        self._pod = self._seen = None
        self._launching = False

    async def get_url(self) -> str:
        if self._seen is not None and is_running(self._seen):
            return f"{self._get_pod_url(self._seen)}{self.server.base_url}"
        return str(self.server.url)

    async def poll(self) -> int | None:
        return await WorkspaceLifecycle.poll(self)

    # what the lifecycle asks

    async def launch(self, spec: LaunchSpec) -> str:
        self._launching = True
        try:
            self.step(20, "Preparing disks, datasets and models")
            mine, claim = self._begin_with(spec.workspace_id), pod.claim(spec, self.cluster)
            disk = asyncio.ensure_future(mine.ensure_claim(claim))
            first = () if mine.has_disk(claim) else (disk,)
            environment, *_ = await asyncio.gather(self._environment(spec), self._watches(), self._prepare_files(spec), *first)
            self.step(40, "Asking the cluster for a place")
            body = pod.pod(spec, self.cluster, program=self._program(), environment=environment)
            made, grown = await _all_of(mine.create(body, await self._facts(spec, body)), disk)
            if grown is not None:
                await self._tell(grown, dict(grown.sentence.params))
            await mine.hand_over(pod.secret(spec, self.cluster, environment=environment, pod_uid=made["metadata"]["uid"]))
            pods, events = await self._watches()
            self._seen = await mine.wait_until_running(pods, events, patience_seconds=self.patience_seconds, pull_seconds=self.pull_seconds)
            self.step(80, "Waiting for the workspace to answer")
            url = str(self._get_pod_url(self._seen))
            await self._wait_until_it_answers(url, mine, pods)
            return url
        finally:
            self._launching = False

    async def poll_process(self) -> int | None:
        if self._launching:
            return None
        if self._pod is None:
            return 0
        try:
            found = await self._find()
        except NotKnown:
            self._seen = None
            return None
        if found is None:
            if self._launch_id is not None and self._ended is None:
                self._ended, self._not_after = self._vanished()
            return 0
        mine = self._pod
        mine.know(found)
        if self._launch_id is None and not self._adopted(found):
            return 0
        await mine.tell_news(self.event_reflector)
        ended = how_it_ended(found, mine.facts)
        if ended is not None:
            if self._ended is None:
                self._ended, self._not_after = (ended.exit_code, ended.sentence), ended.not_after
            return ended.exit_code or 0
        self._seen = found
        return None

    async def end_process(self) -> None:
        await self._remove()

    async def clean_up(self) -> dict[str, Any]:
        mine = self._pod
        if mine is None or self._launch_id is None:
            return {}
        detail: dict[str, Any] = {}
        if self._failure is not None or (self._ended is not None and self._reason is None):
            log = await mine.log_tail()
            detail = {"log": log} if log else {}
        await self._remove()
        return detail

    async def _alive(self) -> None:
        """A sign of life is the cluster's fresh word for it: while it cannot be asked, or its node is silent, there is none."""
        if self._seen is not None and is_seen(self._seen):
            await super()._alive()

    # parts of a launch

    def _begin_with(self, workspace_id: str) -> WorkspacePod:
        self.pod_name = names.pod_name(workspace_id)
        self._seen = None
        self._pod = WorkspacePod(self._api, self.namespace, workspace_id, tell=self._tell)
        return self._pod

    async def _environment(self, spec: LaunchSpec) -> dict[str, str]:
        environment = workspace_environment(
            spec,
            hub=self.get_env(),
            mirrors=self.mirrors,
            environment_prefix=PurePosixPath(self.image_environment),
            api_url=self.console_api_url,
            places=Places(),
        )
        if self.ssh_environment is not None:
            environment |= await self.use_case(partial(_swapped, self.ssh_environment, spec))
        return environment

    async def _prepare_files(self, spec: LaunchSpec) -> None:
        """The netdisk's directory, made by us: kubelet would make it as root's. Raises NotFound for an item that is gone."""
        if self.open_volumes is not None:
            await asyncio.get_running_loop().run_in_executor(self._workers, partial(_prepare_files, self.open_volumes(), spec))

    def _program(self) -> list[str]:
        """The server inside, behind the SSH door where there is one. Kernels speak over unix sockets."""
        server = [
            f"{self.image_environment}/bin/jupyterhub-singleuser",
            "--KernelManager.transport=ipc",
            "--ServerApp.terminado_settings={'shell_command': ['/bin/bash']}",
            *self.server_args,
        ]
        if self.ssh_environment is None:
            return server
        python = f"{self.image_environment}/bin/python"
        return [python, "-I", "-S", str(fs.PLATFORM / "ssh/door.py"), "--port", str(names.SSH_PORT), "--", *server]

    async def _facts(self, spec: LaunchSpec, body: Manifest) -> Facts:
        quantities = spec.quantities
        facts = Facts(
            image=body["spec"]["containers"][0]["image"],
            gpu=quantities.gpu_model or "",
            memory_gib=f"{quantities.memory_mib / 1024:.3g}",
            system_disk_gib=str(quantities.system_disk_gib or self.cluster.system_disk_gib),
        )
        if not quantities.gpu_count:
            return facts
        free = await self.use_case(market.free_gpus)
        others = ", ".join(f"{count} × {model}" for model, count in sorted(free.items()) if count and model != quantities.gpu_model)
        return replace(facts, free_gpus=others)

    async def _wait_until_it_answers(self, url: str, mine: WorkspacePod, pods: PodWatch) -> None:
        loop = asyncio.get_running_loop()
        address = url_path_join(url, self.server.base_url if self.server else "/", "api")
        deadline = loop.time() + self.patience_seconds
        ending = loop.create_task(mine.watch_for_end(pods))
        try:
            while True:
                asking = loop.create_task(answers(address, timeout_seconds=3.0))
                await asyncio.wait([asking, ending], return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    ending.result()  # raises
                if asking.result():
                    return
                if loop.time() > deadline:
                    raise StartFailure("no_answer", Sentence(NO_ANSWER.msgid, {"seconds": self.patience_seconds}))
                await asyncio.sleep(0.1)
        finally:
            ending.cancel()

    async def _tell(self, told: Told, detail: dict[str, Any]) -> None:
        text = told.sentence.msgid.format(**told.sentence.params)
        self.step(60, text, ark_code=told.code)
        if not told.step:
            await self.note(
                "cluster", told.severity if told.severity != "error" else "warning", told.sentence, {**detail, "code": told.code}
            )

    # the pod as it is

    async def _find(self) -> Manifest | None:
        """The workspace's pod of this launch; None when there is none. Raises NotKnown while the cluster cannot be asked."""
        assert self._pod is not None
        try:
            pods, _ = await self._watches()
        except Exception as error:
            raise NotKnown from error
        if not pods.fresh:
            raise NotKnown
        found: Manifest | None = pods.resources.get(self._pod.key)
        if found is None or not self._is_ours(found):
            try:  # a list may be older than the pod
                found = await self._api.read(POD_KIND, self._pod.name)
            except (NotNow, ApiRefusal) as error:
                raise NotKnown from error
        return found if found is not None and self._is_ours(found) else None

    def _vanished(self) -> tuple[tuple[None, Sentence], datetime | None]:
        """Why there is no pod any more: with its machine, or for a reason that nobody told."""
        if self._seen is not None and is_running(self._seen) and not is_seen(self._seen):
            return (None, NODE_LOST), silent_since(self._seen)
        return (None, GONE), None

    def _is_ours(self, found: Manifest) -> bool:
        return self._launch_id is None or launch_of(found) == self._launch_id

    def _adopted(self, found: Manifest) -> bool:
        """The Hub died before it stored this start. What runs goes on; what was on its way is ended and told."""
        self._workspace_id = found["metadata"]["labels"].get(names.WORKSPACE)
        self._launch_id = launch_of(found)
        if is_running(found):
            return True
        self._ended = (None, INTERRUPTED)
        return False

    async def _remove(self) -> None:
        assert self._pod is not None
        try:
            found = await self._api.persist(partial(self._api.read, POD_KIND, self._pod.name), seconds=3.0)
        except (NotNow, ApiRefusal):
            found = self._seen
        if found is None or not self._is_ours(found):
            return
        if not await self._pod.end(found):
            self.log.error("The pod %s could not be ended yet", self._pod.key)
            await self.note("cluster", "warning", NOT_ENDED)

    async def _watches(self) -> tuple[PodWatch, EventWatch]:
        """Both copies of the cluster, loaded; one that has stopped is replaced here: every poll comes by."""
        pods = await self._start_watching_pods(replace=_is_stuck(self.pod_reflector))
        events = await self._start_watching_events(replace=_is_stuck(self.event_reflector))
        return pods, events

    async def _start_watching_pods(self, replace: bool = False) -> PodWatch:
        labels = {"component": self.component_label, **names.ours(self.cluster.installation)}
        watch: PodWatch = await self._start_reflector("pods", PodWatch, replace=replace, labels=labels)
        return watch

    async def _start_watching_events(self, replace: bool = False) -> EventWatch:
        fields = {"involvedObject.kind": "Pod"}
        watch: EventWatch = await self._start_reflector("events", EventWatch, replace=replace, fields=fields)
        return watch

    @property
    def _api(self) -> ClusterApi:
        return ClusterApi(self.api.api_client, self.namespace, timeout_seconds=self.k8s_api_request_timeout)


async def _all_of(*parts: Awaitable[Any]) -> list[Any]:
    """What each comes to, once all are done: nothing goes on in the background of a start that failed."""
    done = await asyncio.gather(*parts, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return done


def _is_stuck(watch: Any) -> bool:
    return watch is not None and bool(watch.stuck)


def _swapped(call: Callable[..., dict[str, str]], spec: LaunchSpec, storage: Any) -> dict[str, str]:
    return call(storage, spec)


def _prepare_files(volumes: Volumes, spec: LaunchSpec) -> None:
    disks.give_to(volumes.netdisk(spec.owner), fs.UID)
    for mount in spec.mounts:
        disks.open_to_all(volumes.item(mount))
