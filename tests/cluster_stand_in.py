"""A small Kubernetes API that does as it is told, faults included: for what a healthy cluster does not do on demand.

Pods, secrets, claims and events of one namespace: create, read, replace, patch, delete, list, watch, resource versions,
label and field selectors, grace periods, owners. Its node (`tests/cluster_stand_in_node.py`) runs pods; `python -m tests.cluster_stand_in`
serves it from a process of its own. It is no Kubernetes: what a cluster really does is tested against one in tests/cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cluster_objects import Object, now_text, patched, refusal, selected

KINDS = {"pods": "Pod", "secrets": "Secret", "persistentvolumeclaims": "PersistentVolumeClaim", "events": "Event"}
#: an image whose program ends at once, on the node that runs nothing
CRASHES = "crashes"
BASE = "/api/v1/namespaces/{namespace}/{plural}"


@dataclass
class Fault:
    """What happens to the next ``times`` requests of ``verb`` (get list watch create replace patch delete, ``*``) on ``plural``.

    ``answer``: a status; ``hang``: none until the client gives up; ``drop``: the connection closes and nothing was done;
    ``lost``: it was done and the connection closes; ``stale``: a list as it was at `StandIn.remember`."""

    verb: str
    plural: str
    answer: int | str
    times: int = 1_000_000_000

    def meets(self, verb: str, plural: str) -> bool:
        return self.times > 0 and self.verb in ("*", verb) and self.plural in ("*", plural)


class StandIn:
    """``asked`` counts requests by (verb, plural)."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {plural: {} for plural in KINDS}
        self.faults: list[Fault] = []
        self.asked: dict[tuple[str, str], int] = {}
        self.node: Node | None = None
        self._remembered: dict[str, dict[str, Object]] = {}
        self._version = 1
        self._watchers: dict[str, set[asyncio.Queue[Object | None]]] = {plural: set() for plural in KINDS}
        self._log: list[tuple[int, str, Object]] = []
        self.made_at: dict[str, float] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None

    # life

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application()
        one = BASE + "/{name}"
        app.router.add_get(BASE, self._list)
        app.router.add_post(BASE, self._create)
        app.router.add_get(one, self._read)
        app.router.add_put(one, self._replace)
        app.router.add_patch(one, self._patch)
        app.router.add_delete(one, self._delete)
        app.router.add_get(one + "/log", self._container_log)
        app.router.add_post("/faults", self._told)
        app.router.add_get("/state", self._state)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self.node is not None:
            await self.node.close()
        self.drop_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def write_kubeconfig(self, path: Path) -> Path:
        named = {"name": "stand-in"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": self.url}}],
            "users": [{**named, "user": {"token": "token"}}],
            "contexts": [{**named, "context": {"cluster": "stand-in", "user": "stand-in"}}],
            "current-context": "stand-in",
        }
        path.write_text(json.dumps(config))
        return path

    # what tests do

    def fail(self, verb: str, plural: str, answer: int | str, times: int = 1_000_000_000) -> Fault:
        self.faults.append(Fault(verb, plural, answer, times))
        return self.faults[-1]

    def heal(self) -> None:
        self.faults.clear()

    def drop_watches(self) -> None:
        """Every open watch ends in the middle of its stream."""
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    def remember(self) -> None:
        """What lists with the fault ``stale`` answer from now on."""
        self._remembered = copy.deepcopy(self.objects)

    def pods(self) -> list[Object]:
        return list(self.objects["pods"].values())

    def say(self, pod: Object, reason: str, message: str, kind: str = "Normal") -> None:
        """An event about a pod."""
        meta, moment = pod["metadata"], now_text()
        about = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
        body = {"involvedObject": about, "reason": reason, "message": message, "type": kind}
        body |= {"firstTimestamp": moment, "lastTimestamp": moment, "eventTime": None, "count": 1}
        self.put("events", {**body, "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]}})

    # the store

    def put(self, plural: str, body: Object) -> Object:
        """Store this object, new or not, and tell the watchers."""
        self._version += 1
        meta, new = body["metadata"], body["metadata"]["name"] not in self.objects[plural]
        meta["resourceVersion"] = str(self._version)
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", now_text())
        self.objects[plural][meta["name"]] = body
        self._tell(plural, "ADDED" if new else "MODIFIED", body)
        return body

    def change(self, plural: str, name: str, change: Callable[[Object], None]) -> Object | None:
        body = self.objects[plural].get(name)
        if body is None:
            return None
        changed = copy.deepcopy(body)
        change(changed)
        return self.put(plural, changed)

    def remove(self, plural: str, name: str) -> None:
        body = self.objects[plural].pop(name, None)
        if body is None:
            return
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell(plural, "DELETED", body)
        uid = body["metadata"]["uid"]
        for other, objects in self.objects.items():  # what it owns goes with it
            owned = [n for n, o in objects.items() if any(r["uid"] == uid for r in o["metadata"].get("ownerReferences", ()))]
            for one in owned:
                self.remove(other, one)

    def _tell(self, plural: str, kind: str, body: Object) -> None:
        said = {"type": kind, "object": copy.copy(body)}
        self._log.append((self._version, plural, said))
        for queue in self._watchers[plural]:
            queue.put_nowait(said)

    # requests

    async def _fault(self, verb: str, request: web.Request) -> str | None:
        plural = request.match_info["plural"]
        self.asked[verb, plural] = self.asked.get((verb, plural), 0) + 1
        fault = next((f for f in self.faults if f.meets(verb, plural)), None)
        if fault is None:
            return None
        fault.times -= 1
        if fault.answer == "hang":
            await asyncio.sleep(3600)
        if fault.answer == "drop":
            close(request)
        if isinstance(fault.answer, int):
            raise refusal(fault.answer, "ToldTo", "the stand-in was told to")
        return fault.answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        plural, query = request.match_info["plural"], request.query
        if query.get("watch") in ("true", "True", "1"):
            return await self._watch(request)
        fault = await self._fault("list", request)
        source = self._remembered if fault == "stale" else self.objects
        items = [o for o in source.get(plural, {}).values() if selected(o, query)]
        return web.json_response({"kind": f"{KINDS[plural]}List", "metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        plural, query = request.match_info["plural"], request.query
        await self._fault("watch", request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[Object | None] = asyncio.Queue()
        since = int(query.get("resourceVersion") or 0)
        for version, about, said in self._log[-5000:]:
            if version > since and about == plural:
                queue.put_nowait(said)
        self._watchers[plural].add(queue)
        try:
            async with asyncio.timeout(float(query.get("timeoutSeconds") or 3600)):
                while (said := await queue.get()) is not None:
                    if selected(said["object"], query):
                        await response.write(json.dumps(said).encode() + b"\n")
            close(request)
        except TimeoutError:
            with suppress(ConnectionError):  # who watched may be gone
                await response.write_eof()
        except ConnectionError:
            pass
        finally:
            self._watchers[plural].discard(queue)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        plural, namespace = request.match_info["plural"], request.match_info["namespace"]
        fault = await self._fault("create", request)
        body = await request.json()
        if body["metadata"]["name"] in self.objects[plural]:
            raise refusal(409, "AlreadyExists", f'{plural} "{body["metadata"]["name"]}" already exists')
        body["metadata"]["namespace"] = namespace
        if plural == "pods":
            body["status"] = {"phase": "Pending", "conditions": []}
        made = self.put(plural, body)
        self.made_at[made["metadata"]["uid"]] = time.monotonic()
        if plural == "pods" and self.node is not None:
            self.node.give(made)
        if fault == "lost":
            close(request)
        return web.json_response(made, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        await self._fault("get", request)
        return web.json_response(self._one(request))

    async def _replace(self, request: web.Request) -> web.Response:
        await self._fault("replace", request)
        old, body = self._one(request), await request.json()
        body["metadata"] = {**old["metadata"], **body["metadata"]}
        return web.json_response(self.put(request.match_info["plural"], body))

    async def _patch(self, request: web.Request) -> web.Response:
        await self._fault("patch", request)
        old, change = self._one(request), await request.json()
        return web.json_response(self.put(request.match_info["plural"], patched(old, change)))

    async def _delete(self, request: web.Request) -> web.Response:
        plural = request.match_info["plural"]
        fault = await self._fault("delete", request)
        found, asked = self._one(request), json.loads(await request.read() or b"{}")
        wanted = asked.get("preconditions", {}).get("uid")
        if wanted is not None and wanted != found["metadata"]["uid"]:
            raise refusal(409, "Conflict", "the UID in the precondition does not match")
        grace = asked.get("gracePeriodSeconds", 30 if plural == "pods" else 0)
        if plural == "pods" and self.node is not None:
            self.node.take(found, grace)
        else:
            self.remove(plural, found["metadata"]["name"])
        if fault == "lost":
            close(request)
        return web.json_response(found)

    async def _container_log(self, request: web.Request) -> web.Response:
        await self._fault("log", request)
        found = self._one(request)
        return web.Response(text=self.node.log(found) if self.node is not None else "")

    async def _told(self, request: web.Request) -> web.Response:
        """Faults from another process: a list of fields of `Fault`, which take the place of those there were."""
        self.faults = [Fault(**one) for one in await request.json()]
        return web.json_response({})

    async def _state(self, request: web.Request) -> web.Response:
        """For another process: pods (name → time.monotonic() of its making), launches by pod, and the number of other objects."""
        made = {name: self.made_at.get(pod["metadata"]["uid"], 0.0) for name, pod in self.objects["pods"].items()}
        return web.json_response({"pods": made, **{plural: len(objects) for plural, objects in self.objects.items() if plural != "pods"}})

    def _one(self, request: web.Request) -> Object:
        plural, name = request.match_info["plural"], request.match_info["name"]
        found = self.objects[plural].get(name)
        if found is None:
            raise refusal(404, "NotFound", f'{plural} "{name}" not found')
        return found


class Node:
    """Where pods go: this one shows them as running at once, all at one address, and runs nothing.

    ``address``: where something answers on port 8888 for all of them."""

    def __init__(self, api: StandIn, *, address: str = "127.77.0.1", seconds: float = 0.0) -> None:
        self.api = api
        self.address = address
        self.seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def give(self, pod: Object) -> None:
        self.later(self.run(pod["metadata"]["name"], pod["metadata"]["uid"]))

    async def run(self, name: str, uid: str) -> None:
        await asyncio.sleep(self.seconds)
        found = self.api.objects["pods"].get(name, {"spec": {"containers": [{"image": ""}]}})
        if found["spec"]["containers"][0]["image"] == CRASHES:
            self.show_ended(name, uid, 3)
        else:
            self.show_running(name, uid, self.address)

    def show_running(self, name: str, uid: str, address: str) -> None:
        def running(pod: Object) -> None:
            container = {"name": pod["spec"]["containers"][0]["name"], "ready": True, "started": True, "restartCount": 0}
            container["state"] = {"running": {"startedAt": now_text()}}
            pod["spec"]["nodeName"] = "node-1"
            conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now_text()}]
            pod["status"] = {"phase": "Running", "podIP": address, "conditions": conditions, "containerStatuses": [container]}

        found = self.api.objects["pods"].get(name)
        if found is not None and found["metadata"]["uid"] == uid and "deletionTimestamp" not in found["metadata"]:
            self.api.change("pods", name, running)

    def show_ended(self, name: str, uid: str, code: int, *, reason: str = "", pod_reason: str = "", message: str = "") -> None:
        def ended(pod: Object) -> None:
            state = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": now_text()}
            pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
            pod["status"]["containerStatuses"] = [{"name": "notebook", "ready": False, "state": {"terminated": state}}]
            pod["status"] |= {"reason": pod_reason, "message": message} if pod_reason else {}

        found = self.api.objects["pods"].get(name)
        if found is not None and found["metadata"]["uid"] == uid:
            self.api.change("pods", name, ended)

    def take(self, pod: Object, grace_seconds: int) -> None:
        self.api.remove("pods", pod["metadata"]["name"])

    def log(self, pod: Object) -> str:
        return ""

    def later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()


def close(request: web.Request) -> None:
    """As a network or server that dies does."""
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError


async def answer_for_pods(address: str, port: int) -> web.AppRunner:
    """What answers for all pods of the node that runs nothing."""

    async def any_request(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-JupyterHub-Version": "6.1.1"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", any_request)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path, help="is written when it listens")
    parser.add_argument("--address", default="127.77.0.1", help="of all pods")
    parser.add_argument("--seconds", type=float, default=0.0, help="from a pod's making to its running")
    options = parser.parse_args()
    api = StandIn()
    api.node = Node(api, address=options.address, seconds=options.seconds)
    await answer_for_pods(options.address, 8888)
    await api.start()
    written = api.write_kubeconfig(options.kubeconfig.with_suffix(".new"))
    written.rename(options.kubeconfig)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await api.close()


if __name__ == "__main__":
    asyncio.run(main())
