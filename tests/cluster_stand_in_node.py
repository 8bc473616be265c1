"""The stand-in's node that really runs pods: each is a bubblewrap sandbox with the volumes that its manifest mounts.

A claim is a directory, a sub-path that is missing is made, a secret is waited for, as kubelet does; a pod has an address
of its own on the loopback, in the variable POD_IP.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from itertools import cycle
from pathlib import Path, PurePosixPath
from typing import Any

from ark_spawner.processes import children, send
from tests.cluster_objects import Object, now_text
from tests.cluster_stand_in import Node, StandIn

#: a block of the loopback for each process of tests: two at once must not meet at an address
_block = f"127.{128 + (os.getpid() >> 8) % 64}.{os.getpid() % 256}"
_addresses = cycle(f"{_block}.{last}" for last in range(1, 255))


class SandboxNode(Node):
    """``images``: image → program on this machine. ``silent``: the node has lost its connection to the cluster."""

    def __init__(self, api: StandIn, place: Path, images: dict[str, Path]) -> None:
        super().__init__(api)
        self.place = place
        self.images = images
        self.silent = False
        #: pods that are told to stay where they are: reason and message of a scheduler's event
        self.no_place: str | None = None
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, name: str, uid: str) -> None:
        pod = self.api.objects["pods"][name]
        if self.no_place is not None:
            self.api.say(pod, "FailedScheduling", self.no_place, "Warning")
            return
        self.api.say(pod, "Scheduled", f"Successfully assigned {self.key(pod)} to node-1")
        image = pod["spec"]["containers"][0]["image"]
        if image not in self.images:
            await self._cannot_pull(name, pod, image)
            return
        self.api.say(pod, "Pulled", f'Container image "{image}" already present on machine')
        environment = await self._environment(pod)
        address = next(_addresses)
        log = open(self.place / f"{uid}.log", "wb")
        line = ["/usr/bin/bwrap", *self._mounts(pod), "--", str(self.images[image])]
        process = await asyncio.create_subprocess_exec(
            *line, env={**environment, "POD_IP": address}, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self._running[uid] = process
        if not self.silent:
            self.api.say(pod, "Started", "Started container notebook")
            self.show_running(name, uid, address)
        await process.wait()
        self._running.pop(uid, None)
        code = process.returncode or 0
        if not self.silent:
            self.show_ended(name, uid, code if code >= 0 else 128 - code)

    def go_silent(self) -> None:
        """As the cluster sees a node that it has lost: the pods are no longer ready; nothing on the node has changed."""
        self.silent = True

        def lost(pod: Object) -> None:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": now_text()}]

        for pod in self.api.pods():
            self.api.change("pods", pod["metadata"]["name"], lost)
            self.api.say(pod, "NodeNotReady", "Node is not ready", "Warning")

    def take(self, pod: Object, grace_seconds: int) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        process = self._running.get(uid)
        if grace_seconds == 0 or (process is None and not self.silent):
            self.api.remove("pods", name)
            if process is not None:
                _kill(process)
        elif "deletionTimestamp" not in pod["metadata"]:
            self.api.change("pods", name, lambda p: p["metadata"].update(deletionTimestamp=now_text()))
            if not self.silent and process is not None:
                self.later(self._end(name, uid, process, grace_seconds))

    async def _end(self, name: str, uid: str, process: asyncio.subprocess.Process, grace_seconds: int) -> None:
        send([pid for child in children(process.pid) for pid in children(child)], signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), grace_seconds)
        except TimeoutError:
            _kill(process)
        if self.api.objects["pods"].get(name, {}).get("metadata", {}).get("uid") == uid:
            self.api.remove("pods", name)

    def processes(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def log(self, pod: Object) -> str:
        file = self.place / f"{pod['metadata']['uid']}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def close(self) -> None:
        running = list(self._running.values())
        for process in running:
            _kill(process)
        for process in running:
            await process.wait()
        await super().close()

    def key(self, pod: Object) -> str:
        return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"

    async def _cannot_pull(self, name: str, pod: Object, image: str) -> None:
        self.api.say(pod, "Pulling", f'Pulling image "{image}"')
        problem = f'Failed to pull image "{image}": rpc error: code = NotFound desc = failed to resolve reference: {image}: not found'
        self.api.say(pod, "Failed", problem, "Warning")
        state = {"name": "notebook", "ready": False, "state": {"waiting": {"reason": "ErrImagePull", "message": problem}}}
        self.api.change("pods", name, lambda p: p["status"].update(containerStatuses=[state]))

    async def _environment(self, pod: Object) -> dict[str, str]:
        found = {}
        for line in pod["spec"]["containers"][0].get("env", ()):
            if "valueFrom" in line:
                wanted = line["valueFrom"]["secretKeyRef"]
                while wanted["key"] not in (secret := self.api.objects["secrets"].get(wanted["name"], {})).get("data", {}):
                    await asyncio.sleep(0.02)
                found[line["name"]] = base64.b64decode(secret["data"][wanted["key"]]).decode()
            else:
                found[line["name"]] = line["value"].replace("$$(", "$(")
        return found

    def _mounts(self, pod: Object) -> list[str]:
        line = ["--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--die-with-parent", "--tmpfs", "/"]
        line += ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib64"):
            line += ["--symlink", f"usr/{name}", f"/{name}"] if Path("/", name).is_symlink() else ["--ro-bind-try", f"/{name}", f"/{name}"]
        line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(self.place), str(self.place)]
        volumes = {v["name"]: v for v in pod["spec"].get("volumes", ())}
        mounts = pod["spec"]["containers"][0].get("volumeMounts", ())
        sources = {m["mountPath"]: self._source(pod, volumes[m["name"]], m.get("subPath", "")) for m in mounts}
        for mount in sorted(mounts, key=lambda m: len(PurePosixPath(m["mountPath"]).parts)):
            line += ["--ro-bind" if mount.get("readOnly") else "--bind", str(sources[mount["mountPath"]]), mount["mountPath"]]
        return [*line, "--chdir", "/home/user"]

    def _source(self, pod: Object, volume: dict[str, Any], sub_path: str) -> Path:
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        base = self.claim(claim) if claim else self.place / "pods" / pod["metadata"]["uid"] / volume["name"]
        path = base / sub_path
        path.mkdir(parents=True, exist_ok=True)
        return path

    def claim(self, name: str) -> Path:
        """Where a claim's files are: with the object they are made, without it they are not there."""
        return self.place / "claims" / name


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
