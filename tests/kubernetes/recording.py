"""What records a cluster, and the pods that it is shown: for record_events.py and its parts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.kubernetes.images import reference

NAMESPACE = "ark-recording"
IMAGE = reference("base")
Object = dict[str, Any]


class Recorder:
    def __init__(self, kubectl: str) -> None:
        self.kubectl = kubectl
        self.found: dict[str, Object] = {}

    def run(self, *arguments: str, given: Object | None = None) -> subprocess.CompletedProcess[str]:
        line = [self.kubectl, "-n", NAMESPACE, *arguments]
        return subprocess.run(line, input=json.dumps(given) if given else "", capture_output=True, text=True, timeout=120, check=False)

    def get(self, *arguments: str) -> Object:
        said = self.run("get", *arguments, "-o", "json", "--ignore-not-found").stdout
        return json.loads(said) if said.strip() else {}

    def apply(self, thing: Object) -> str:
        return self.run("create", "-f", "-", given=thing).stderr

    def record(
        self, name: str, body: Object, until: Callable[[list[Object], Object], Any], *, seconds: float = 40.0, then: Any = None
    ) -> None:
        refused = self.apply(body)
        pod, events, done = {}, [], then
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not refused:
            pod = self.get("pod", name) or pod
            events = self.events(name)
            if done is not None and pod.get("status", {}).get("phase") == "Running":
                done()
                done = None
            if until(events, pod):
                break
            time.sleep(0.4)
        else:
            print("NOT SEEN" if not refused else "refused", name, file=sys.stderr)
        if refused:
            answer = re.sub(r"^Error from server \((\w+)\): (?:error when creating \"STDIN\": )?", r"\1 ", refused.strip())
            self.found[name] = {"refusal": answer.split("\n")[0]}
        else:
            self._keep(name, pod, events)
        self.remove(name)

    def keep(self, name: str) -> None:
        """What is said of a pod by now, which goes then."""
        self._keep(name, self.get("pod", name), self.events(name))
        self.remove(name)

    def events(self, name: str) -> list[Object]:
        found: list[Object] = self.get("events", "--field-selector", f"involvedObject.name={name}").get("items", [])
        return found

    def _keep(self, name: str, pod: Object, events: list[Object]) -> None:
        keys = ("type", "reason", "message", "firstTimestamp", "lastTimestamp", "eventTime", "count")
        kept = [{key: event.get(key) for key in keys} for event in events]
        self.found[name] = {"events": kept, "status": pod.get("status", {}), "deleting": "deletionTimestamp" in pod.get("metadata", {})}

    def remove(self, name: str) -> None:
        self.run("delete", "pod", name, "--ignore-not-found", "--grace-period=0", "--force", "--wait=false")


def pod(name: str, command: str = "sleep 300", *, image: str = IMAGE, more: Object | None = None, **container: Any) -> Object:
    one = {"name": "notebook", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", command], **container}
    spec = {"containers": [one], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **(more or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def need(**amounts: str) -> Object:
    exact = {key.replace("__", "/").replace("_", "-"): value for key, value in amounts.items()}
    return {"resources": {"requests": exact, "limits": exact}}


def claimed(name: str, claim: str, *, sub_path: str | None = None) -> Object:
    mount = {"name": "disk", "mountPath": "/disk", **({"subPath": sub_path} if sub_path else {})}
    return pod(name, more={"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}]}, volumeMounts=[mount])


def reason(*words: str) -> Callable[[list[Object], Object], bool]:
    return lambda events, _: any(e["reason"] in words for e in events)


def ended(_: list[Object], body: Object) -> bool:
    status = body.get("status", {})
    return status.get("phase") in ("Failed", "Succeeded") or any("terminated" in s["state"] for s in status.get("containerStatuses", ()))


def waiting(word: str) -> Callable[[list[Object], Object], bool]:
    return lambda _, body: any(
        s["state"].get("waiting", {}).get("reason") == word for s in body.get("status", {}).get("containerStatuses", ())
    )


def disrupted(_: list[Object], body: Object) -> bool:
    return any(c["type"] == "DisruptionTarget" for c in body.get("status", {}).get("conditions", ()))


def until(what: Callable[[], Any], seconds: float = 60.0) -> None:
    """Look again and again; ends the recording when it does not come."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit("the cluster did not do what was waited for")
        time.sleep(0.3)


def until_running(r: Recorder, name: str) -> None:
    until(lambda: r.get("pod", name).get("status", {}).get("phase") == "Running")
