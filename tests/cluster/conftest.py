"""Fixtures of the cluster tier: `cluster`, one Kubernetes for the whole session, and `kubectl` for it.

With ``KUBECONFIG`` set it is that one (kind, k3s, a real one) and stays; else ours is brought up once and taken down at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.crash_stage import BUSY_SETTINGS
from tests.kubernetes import build, images, objects, processes, teardown
from tests.kubernetes.place import NAMESPACE, NODE, STORAGE_CLASS, Place, Running
from tests.platform import Platform


@dataclass(frozen=True)
class Cluster:
    """A cluster that tests may use. ``host``: the address at which its pods reach this machine. ``place``: its directory
    when it is ours, else None: then nothing but the API is to be had, and a test that needs more calls `ours()`."""

    kubeconfig: Path
    host: str
    place: Place | None = None
    namespace: str = NAMESPACE
    storage_class: str = STORAGE_CLASS
    node: str = NODE

    def ours(self) -> Place:
        if self.place is None:
            pytest.skip("needs the cluster that the tests bring up themselves")
        return self.place

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True, seconds: float = 60.0) -> str:
        program = str(self.place.bin / "kubectl") if self.place else (shutil.which("kubectl") or str(build.programs().control / "kubectl"))
        done = subprocess.run(
            [program, *arguments],
            input=given or "",
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """`kubectl get … -o json`; None where there is no such thing."""
        said = self.kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(said) if said.strip() else None

    def apply(self, *things: Mapping[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)}))

    def run_pod(self, name: str, image: str, command: list[str] | None = None, **more: Any) -> str:
        """A restricted pod with one container, running and ready; its address."""
        self.apply(self.pod(name, image, command, **more))
        self.kubectl("wait", "-n", self.namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=90s", seconds=100)
        return str(self.get("pod", name, "-n", self.namespace)["status"]["podIP"])

    def pod(self, name: str, image: str, command: list[str] | None = None, **more: Any) -> dict[str, Any]:
        container = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            **({"command": command} if command else {}),
            **more.pop("container", {}),
        }
        spec = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            **more.pop("spec", {}),
        }
        metadata = {"name": name, "namespace": self.namespace, **more}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def execute(self, pod: str, *command: str, check: bool = True, seconds: float = 60.0) -> str:
        return self.kubectl("exec", "-n", self.namespace, pod, "--", *command, check=check, seconds=seconds)

    def remove_pod(self, name: str) -> None:
        self.kubectl("delete", "pod", name, "-n", self.namespace, "--ignore-not-found", "--grace-period=1", "--wait=true")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Kubernetes with the project's images. It is shared: use names of your own, and leave it running."""
    given = os.environ.get("KUBECONFIG")
    if given:
        yield foreign(Path(given))
        return
    if found := build.problems():
        pytest.skip(f"no cluster can run here: {'; '.join(found)}")
    place = Place(Path(tempfile.mkdtemp(prefix="ark-k8s-")))
    built = build.programs()
    build.ensure(built)
    try:
        running = processes.up(place, built, outlives_us=False)
        images.bring(place, images.ensure(images.FOR_TESTS))
        yield Cluster(place.kubeconfig, running.network.host, place)
    finally:
        teardown.down(place)


def foreign(kubeconfig: Path) -> Cluster:
    """Somebody's cluster; ours too, when its directory shows that it is."""
    place = Place(kubeconfig.resolve().parent)
    running = Running.read(place)
    if running is not None and running.alive:
        return Cluster(kubeconfig, running.network.host, place)
    made = Cluster(kubeconfig, os.environ.get("ARK_CLUSTER_HOST") or own_address())
    made.kubectl("apply", "-f", "-", given=json.dumps(objects.namespace()))
    return made


def own_address() -> str:
    """This machine's address on the way out; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        return str(way.getsockname()[0])


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; the pods labelled ``ark-test: here`` are gone after the test."""
    yield cluster
    cluster.kubectl("delete", "pods", "-n", cluster.namespace, "-l", "ark-test=here", "--grace-period=1", "--wait=true")


@pytest.fixture(scope="session")
def platform(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A running platform whose workspaces are pods. It is shared: use users and workspaces of your own, and leave it running."""
    from tests.cluster.platform_stage import ClusterPlatform  # it stands on this module

    made = ClusterPlatform(cluster, settings=BUSY_SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.close(keep_logs=request.session.testsfailed > 0)
