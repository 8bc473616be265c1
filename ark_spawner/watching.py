"""What the cluster tells of our pods, kept as a copy in memory that never freezes.

KubeSpawner's reflectors give up after some failures, and nobody notices: their copy stays as it was. Ours go on for ever,
say how fresh they are, and wake up whoever waits for one pod. They keep what is asked of them and drop the rest: a Hub
with a thousand workspaces would have every volume, variable and managed field of theirs in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubespawner.spawner import EventReflector, PodReflector

#: a copy that is older than this is told to be old: nothing is concluded from it
FRESH_SECONDS = 30.0
#: a watch that has said nothing for so long is replaced (it lists anew every ten seconds when all is well)
STUCK_SECONDS = 90.0
#: between two attempts of a watch that had given up
AGAIN_SECONDS = 5.0

POD_METADATA = ("name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp", "deletionTimestamp")
EVENT_METADATA = ("name", "namespace", "resourceVersion")
EVENT_FIELDS = ("involvedObject", "reason", "message", "type", "count", "firstTimestamp", "lastTimestamp", "eventTime")


class Copies(dict[str, Any]):
    """Objects by ``namespace/name``; each change is told to those who wait for its pod, which ``pod_of`` names."""

    def __init__(self, objects: dict[str, Any], watch: WatchesPods) -> None:
        super().__init__(objects)
        self._watch = watch

    def __setitem__(self, key: str, value: Any) -> None:
        value = self._watch.kept(value)
        super().__setitem__(key, value)
        self._watch.changed(key, value)

    def pop(self, key: str, *default: Any) -> Any:
        value = super().pop(key, *default)
        self._watch.changed(key, value)
        return value


class WatchesPods:
    """Mixed in before a reflector of KubeSpawner."""

    _copies: Copies | dict[str, Any] | None = None
    #: time.monotonic() of the last list or event
    told_at = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.waiting: dict[str, set[asyncio.Event]] = {}
        super().__init__(*args, **kwargs)

    @property
    def resources(self) -> Copies | dict[str, Any]:
        return self._copies if self._copies is not None else {}

    @resources.setter
    def resources(self, objects: dict[str, Any]) -> None:
        self._take(objects)

    def _take(self, objects: dict[str, Any]) -> None:
        old = self.resources
        self._copies = Copies({key: self._same(old.get(key), value) for key, value in objects.items()}, self)
        self.told_at = time.monotonic()
        for events in self.waiting.values():
            for event in events:
                event.set()

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.told_at < FRESH_SECONDS

    @property
    def stuck(self) -> bool:
        """It has stopped working, could not begin, or has said nothing for very long."""
        task, begun = getattr(self, "watch_task", None), getattr(self, "first_load_future", None)
        if begun is None or not begun.done():
            return False
        return task is None or bool(task.done()) or time.monotonic() - self.told_at > STUCK_SECONDS

    def changed(self, key: str, value: Any) -> None:
        self.told_at = time.monotonic()
        for event in self.waiting.get(self.pod_of(key, value), ()):
            event.set()

    def _same(self, old: Any, value: Any) -> Any:
        """What is kept of a listed object; the copy that there is, where nothing changed: others hold it too."""
        version = value["metadata"].get("resourceVersion")
        if old is not None and version is not None and old["metadata"].get("resourceVersion") == version:
            return old
        return self.kept(value)

    def kept(self, value: Any) -> Any:
        """What is kept of an object."""
        return value

    def pod_of(self, key: str, value: Any) -> str:
        """The pod (``namespace/name``) that an object is about."""
        return key

    async def _watch_and_update(self) -> None:
        while True:
            await super()._watch_and_update()  # type: ignore[misc]  # the reflector's; it returns when it gives up
            if getattr(self, "_stopping", False):
                return
            await asyncio.sleep(AGAIN_SECONDS)


@contextmanager
def changes(key: str, *watches: WatchesPods) -> Iterator[asyncio.Event]:
    """An event that is set at each change of this pod (``namespace/name``) in any of the watches."""
    event = asyncio.Event()
    for watch in watches:
        watch.waiting.setdefault(key, set()).add(event)
    try:
        yield event
    finally:
        for watch in watches:
            mine = watch.waiting.get(key, set())
            mine.discard(event)
            if not mine:
                watch.waiting.pop(key, None)


class PodWatch(WatchesPods, PodReflector):  # type: ignore[misc]  # kubespawner has no types
    """Our pods: who they are, where they are, what they may use and how they are."""

    def kept(self, value: Any) -> Any:
        spec = value.get("spec", {})
        containers = [_only(container, ("name", "image", "ports", "resources")) for container in spec.get("containers") or ()]
        kept: dict[str, Any] = {"metadata": _only(value["metadata"], POD_METADATA), "spec": {"containers": containers}}
        if "nodeName" in spec:
            kept["spec"]["nodeName"] = spec["nodeName"]
        return {**kept, "status": value.get("status", {})}


class EventWatch(WatchesPods, EventReflector):  # type: ignore[misc]  # kubespawner has no types
    """What the cluster says about pods, found by pod."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._by_pod: dict[str, dict[str, Any]] = {}
        super().__init__(*args, **kwargs)

    @property
    def resources(self) -> Copies | dict[str, Any]:
        return self._copies if self._copies is not None else {}

    @resources.setter
    def resources(self, objects: dict[str, Any]) -> None:
        self._take(objects)
        self._by_pod = {}
        for key, value in self.resources.items():
            self._by_pod.setdefault(self.pod_of(key, value), {})[key] = value

    def changed(self, key: str, value: Any) -> None:
        if value is not None:
            mine = self._by_pod.setdefault(self.pod_of(key, value), {})
            if key in self.resources:
                mine[key] = value
            else:
                mine.pop(key, None)
            super().changed(key, value)

    def kept(self, value: Any) -> Any:
        return {**_only(value, EVENT_FIELDS), "metadata": _only(value["metadata"], EVENT_METADATA)}

    def pod_of(self, key: str, value: Any) -> str:
        about = value["involvedObject"]
        return f"{about.get('namespace')}/{about.get('name')}"

    def about(self, pod: str, uid: str) -> Iterator[Any]:
        """Events of this very pod, oldest first."""
        mine = [event for event in self._by_pod.get(pod, {}).values() if event["involvedObject"].get("uid") == uid]
        return iter(sorted(mine, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or ""))


def _only(value: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value}
