"""One workspace's pod on its way in and out of a cluster: made whatever a dead Hub left, waited for, ended. No Hub in here.

Promises: at most one pod of a workspace at any time; whatever answer was lost on the way, asking again does no harm; what
is not of this workspace's launch is never taken for it; a start that cannot come to a good end fails at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ark_extensions.domain import cluster as names
from ark_extensions.usecases.views import Sentence
from ark_spawner.cluster_events import Facts, Told, explain, explain_end, explain_event, explain_waiting, raw, terminated
from ark_spawner.failures import DIED, StartFailure
from ark_spawner.kube_api import CLAIM, POD, SECRET, ApiRefusal, ClusterApi, NotNow
from ark_spawner.pod import CONTAINER, GRACE_SECONDS, Manifest
from ark_spawner.watching import EventWatch, PodWatch, changes

#: how long one thing is asked of an API server that does not answer well, while a start waits
PERSIST_SECONDS = 60.0
END_SECONDS = 9.0
#: the copy in memory is compared with the cluster itself this often while a start waits
ASK_SECONDS = 10.0
LOOK_SECONDS = 1.0
#: Kubernetes notices a silent node only after this long
NODE_GRACE = timedelta(seconds=60)

NO_CLUSTER = Sentence("The cluster does not answer, so the workspace did not start. Nothing is charged. Try again in a few minutes.")
NO_PLACE = Sentence(
    "The cluster had no place for the workspace within {seconds} seconds. Nothing is charged. Try again, or choose another offer."
)
REMOVED = Sentence("Somebody removed the workspace's pod from the cluster. Start it again; files in /home/user are kept.")
DISK_GROWS_NOT = Sentence(
    "The data disk could not be made larger: its storage does not allow it. Tell an operator. The workspace starts with it as it is."
)

_lost = explain("NodeLost", "", Facts())
assert _lost is not None
NODE_LOST = _lost.sentence

Tell = Callable[[Told, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Ended:
    """How a pod ended. ``not_after``: it is known not to have run any more by then."""

    exit_code: int | None
    sentence: Sentence
    code: str
    not_after: datetime | None = None


def launch_of(pod: Manifest) -> str | None:
    """The launch that made this pod."""
    found = pod["metadata"].get("labels", {}).get(names.LAUNCH)
    return str(found) if found else None


def is_running(pod: Manifest) -> bool:
    """Its container runs and has an address, as far as its node has told, and nobody is ending it."""
    status = pod.get("status", {})
    states = status.get("containerStatuses") or ()
    return bool(
        status.get("phase") == "Running"
        and status.get("podIP")
        and "deletionTimestamp" not in pod["metadata"]
        and states
        and all("running" in s.get("state", {}) for s in states)
    )


def is_seen(pod: Manifest) -> bool:
    """Its node says now that it runs: a node that went silent makes the pod's Ready condition false."""
    ready = _condition(pod, "Ready")
    return is_running(pod) and (ready is None or ready.get("status") == "True")


def how_it_ended(pod: Manifest, facts: Facts) -> Ended | None:
    """None while it runs or is on its way; else how it ended, or is being ended by somebody.

    A container that has ended is not enough: the kubelet tells why with the phase, later (an eviction looks like an exit until then).
    """
    ended = terminated(pod)
    dead = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    if not dead and "deletionTimestamp" not in pod["metadata"]:
        return None
    told = explain_end(pod, facts) or Told("removed", "error", REMOVED)
    code = ended.get("exitCode") if ended is not None else None
    return Ended(code, told.sentence, told.code, silent_since(pod) if told.code == "node_lost" else None)


def silent_since(pod: Manifest) -> datetime | None:
    """When the pod's node was last heard of, at the latest; None where no condition says.

    The cluster says that the pod is not ready any more and that it takes it away, in either order.
    """
    against = [(kind, _condition(pod, kind)) for kind in ("Ready", "DisruptionTarget")]
    told = [c for kind, c in against if c is not None and (c.get("status") == "True") == (kind == "DisruptionTarget")]
    moments = [datetime.fromisoformat(c["lastTransitionTime"]) for c in told if c.get("lastTransitionTime")]
    return min(moments) - NODE_GRACE if moments else None


def facts_of(pod: Manifest) -> Facts:
    """What sentences about a pod can name, from the pod itself: a restarted Hub has nothing else."""
    spec = pod["spec"]
    container = spec["containers"][0]
    limits = container.get("resources", {}).get("limits", {})
    mib = str(limits.get("memory", "")).removesuffix("Mi")
    return Facts(
        image=str(container.get("image", "")),
        node=str(spec.get("nodeName") or ""),
        gpu="GPU",
        memory_gib=f"{int(mib) / 1024:.3g}" if mib.isdecimal() else "",
        system_disk_gib=str(limits.get("ephemeral-storage", "")).removesuffix("Gi"),
    )


class WorkspacePod:
    """The pod of one workspace. ``pods`` and ``events`` are the watches' copies; ``tell`` is given what is new, once each."""

    #: sizes of images that nodes have pulled, by their reference, in bytes: to be told at the next pull
    image_sizes: dict[str, int] = {}
    #: data disks that this Hub has seen, by their claim's name, in GiB
    disks: dict[str, int] = {}

    def __init__(self, api: ClusterApi, namespace: str, workspace_id: str, *, tell: Tell) -> None:
        self._api = api
        self.name = names.pod_name(workspace_id)
        self.key = f"{namespace}/{self.name}"
        self._tell = tell
        self._told: set[str] = set()
        self._uid: str | None = None
        self.facts = Facts()
        self.last: Told | None = None
        self.pulling = False

    def know(self, pod: Manifest, facts: Facts | None = None) -> None:
        """This is the pod that events are about from now on."""
        if pod["metadata"]["uid"] != self._uid:
            self._uid = pod["metadata"]["uid"]
            self._told, self.last, self.pulling = set(), None, False
        found = facts_of(pod)
        before = self.facts
        known = replace(found, image=before.image or found.image, gpu=before.gpu or found.gpu, free_gpus=before.free_gpus)
        self.facts = replace(facts or known, node=found.node, image_bytes=self.image_sizes.get(found.image, 0))

    # in

    def has_disk(self, claim: Manifest) -> bool:
        """Its data disk was there, as large as it has to be, when it was last looked at: the pod need not wait for another look."""
        return self.disks.get(claim["metadata"]["name"], 0) >= _gib(claim)

    async def ensure_claim(self, claim: Manifest) -> Told | None:
        """The data disk's claim, made or found; made larger when a larger one was bought. What is worth telling, if anything."""
        name, wanted = claim["metadata"]["name"], _gib(claim)
        found = await self._persist(lambda: self._api.read(CLAIM, name)) if name in self.disks else None
        if found is None:
            self.disks.pop(name, None)
            found = await self._made_or_found(claim)
        self.disks[name] = _gib(found)
        if wanted > self.disks[name]:
            try:
                await self._persist(lambda: self._api.grow_claim(name, wanted))
            except ApiRefusal as refusal:
                return Told("disk_grows_not", "warning", Sentence(DISK_GROWS_NOT.msgid, {"detail": str(refusal)}))
            self.disks[name] = wanted
        return None

    async def _made_or_found(self, claim: Manifest) -> Manifest:
        made: Manifest | None
        try:
            made = await self._persist(lambda: self._api.create(CLAIM, claim))
        except ApiRefusal as refusal:
            if refusal.status not in (403, 409):
                raise self._refused(refusal) from refusal
            made = await self._persist(lambda: self._api.read(CLAIM, claim["metadata"]["name"]))
            if made is None:
                raise self._refused(refusal) from refusal
        assert made is not None
        return made

    async def create(self, body: Manifest, facts: Facts) -> Manifest:
        """Make this pod, in place of whatever an earlier launch left."""
        launch = launch_of(body)
        while True:
            try:
                pod: Manifest = await self._persist(lambda: self._api.create(POD, body))
                break
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise self._refused(refusal) from refusal
            found = await self._persist(lambda: self._api.read(POD, self.name))
            if found is not None and launch_of(found) == launch and "deletionTimestamp" not in found["metadata"]:
                pod = found  # ours: only the answer was lost
                break
            if found is not None:
                await self.end(found, grace_seconds=0)
        self.know(pod, facts)
        return pod

    async def hand_over(self, secret: Manifest) -> None:
        """The pod's secret. One of the same name belonged to an earlier pod and goes with it."""
        while True:
            try:
                await self._persist(lambda: self._api.create(SECRET, secret))
                return
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise self._refused(refusal) from refusal
            found = await self._persist(lambda: self._api.read(SECRET, secret["metadata"]["name"]))
            if found is not None and found["metadata"].get("ownerReferences") == secret["metadata"]["ownerReferences"]:
                return
            if found is not None:
                old = found["metadata"]
                await self._persist(partial(self._api.delete, SECRET, old["name"], uid=old["uid"]))

    async def wait_until_running(self, pods: PodWatch, events: EventWatch, *, patience_seconds: float, pull_seconds: float) -> Manifest:
        """The pod, once its container runs. The time of pulling an image does not count, up to ``pull_seconds``.
        Raises StartFailure at once when it cannot run any more."""
        loop = asyncio.get_running_loop()
        began = asked = loop.time()
        pulled = 0.0
        with changes(self.key, pods, events) as changed:
            while True:
                changed.clear()
                pod = self._in(pods)
                if loop.time() - asked > ASK_SECONDS:
                    asked, pod = loop.time(), await self._ask() or pod
                if pod is not None:
                    await self._look(pod)
                    if is_running(pod):
                        return pod
                await self.tell_news(events)
                if self.last is not None and self.last.final:
                    raise StartFailure(self.last.code, self.last.sentence, detail=_status_of(pod))
                since = loop.time()
                if since - began - min(pulled, pull_seconds) > patience_seconds:
                    raise self._too_late(pod, patience_seconds)
                await wait_for(changed, LOOK_SECONDS)
                if self.pulling:
                    pulled += loop.time() - since

    async def watch_for_end(self, pods: PodWatch) -> None:
        """Raises StartFailure when the pod ends."""
        with changes(self.key, pods) as changed:
            while True:
                changed.clear()
                pod = self._in(pods)
                if pod is not None:
                    await self._look(pod)
                await wait_for(changed, LOOK_SECONDS)

    async def tell_news(self, events: EventWatch | None) -> None:
        """Tell what the cluster says of this pod and was not told yet."""
        if events is None or self._uid is None:
            return
        for event in events.about(self.key, self._uid):
            told = explain_event(event, self.facts)
            if told is not None:
                await self._say(told, raw(event))

    # out

    async def end(self, pod: Manifest, *, grace_seconds: int = GRACE_SECONDS) -> bool:
        """End this very pod: ask, then insist. False when the cluster could not be made to within the time for it."""
        uid, loop = pod["metadata"]["uid"], asyncio.get_running_loop()
        deadline = loop.time() + END_SECONDS
        grace = 0 if not is_seen(pod) else grace_seconds
        insist_at = loop.time() + grace + 1.0
        asked: int | None = None
        while loop.time() < deadline:
            wanted = 0 if loop.time() >= insist_at else grace
            try:
                if asked != wanted:
                    if not await self._api.delete(POD, self.name, grace_seconds=wanted, uid=uid):
                        return True
                    asked = wanted
                found = await self._api.read(POD, self.name)
                if found is None or found["metadata"]["uid"] != uid:
                    return True
            except (NotNow, ApiRefusal):
                asked = None
            await asyncio.sleep(0.1 if wanted else 0.3)
        return False

    async def log_tail(self) -> str:
        """The end of what its server printed."""
        return await self._api.log_tail(self.name, CONTAINER)

    # parts

    def _in(self, pods: PodWatch) -> Manifest | None:
        pod: Manifest | None = pods.resources.get(self.key)
        return pod if pod is not None and pod["metadata"]["uid"] == self._uid else None

    async def _ask(self) -> Manifest | None:
        """The pod as the cluster itself has it; raises StartFailure when it is gone."""
        try:
            found = await self._api.read(POD, self.name)
        except (NotNow, ApiRefusal):
            return None
        if found is None or found["metadata"]["uid"] != self._uid:
            raise StartFailure("removed", REMOVED)
        return found

    async def _look(self, pod: Manifest) -> None:
        self.know(pod)
        ended = how_it_ended(pod, self.facts)
        if ended is not None:
            sentence = ended.sentence if ended.code != "exited" else Sentence(DIED.msgid, {"exit_code": ended.exit_code or 0})
            raise StartFailure("server_died" if ended.code == "exited" else ended.code, sentence, detail=_status_of(pod))
        told = explain_waiting(pod, self.facts)
        if told is not None:
            await self._say(told, {"status": pod["status"]})

    async def _say(self, told: Told, detail: dict[str, Any]) -> None:
        if told.code == "image_pulling":
            self.pulling = self.pulling or "image_pulled" not in self._told
        elif told.code.startswith("image_"):
            self.pulling = False
        if told.code == "image_pulled" and "Image size: " in str(detail.get("message")):
            size = str(detail["message"]).partition("Image size: ")[2].split(" ")[0]
            self.image_sizes[self.facts.image] = int(size) if size.isdecimal() else 0
        if told.severity != "info" or told.code == "image_pulling":
            self.last = told
        if told.code not in self._told:
            self._told.add(told.code)
            await self._tell(told, detail)

    def _too_late(self, pod: Manifest | None, seconds: float) -> StartFailure:
        if self.last is not None:
            return StartFailure(self.last.code, self.last.sentence, detail=_status_of(pod))
        return StartFailure("no_place", Sentence(NO_PLACE.msgid, {"seconds": round(seconds)}), detail=_status_of(pod))

    async def _persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._api.persist(call, seconds=PERSIST_SECONDS)
        except NotNow as busy:
            raise StartFailure("no_cluster", NO_CLUSTER, detail={"answer": str(busy)}) from busy

    def _refused(self, refusal: ApiRefusal) -> StartFailure:
        told = explain(refusal.reason, refusal.message, self.facts) or explain("Invalid", "", self.facts)
        assert told is not None
        return StartFailure(told.code, told.sentence, detail={"answer": str(refusal)})


async def wait_for(changed: asyncio.Event, seconds: float) -> None:
    """Until it is set, or so long."""
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return


def _gib(claim: Manifest) -> int:
    text = str(claim["spec"]["resources"]["requests"]["storage"])
    return int(text.removesuffix("Gi")) if text.removesuffix("Gi").isdecimal() else 0


def _condition(pod: Manifest, kind: str) -> Mapping[str, Any] | None:
    conditions = pod.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), None)


def _status_of(pod: Manifest | None) -> dict[str, Any]:
    return {"pod": pod.get("status", {})} if pod is not None else {}
