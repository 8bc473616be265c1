"""Fixtures of the cluster tier: `cluster`, one Kubernetes for the whole session, and `kubectl` for it.

With ``KUBECONFIG`` set it is that one (kind, k3s, a real one) and stays; else ours is brought up once and taken down at the end.
Of somebody's cluster the tests must be told what they cannot ask it (docs/operate.md, "Ark's tests on your cluster"):
``ARK_CLUSTER_IMAGES``, where it has the project's images, with ``{name}`` in it; ``ARK_CLUSTER_HOST``, how its pods reach this
machine; ``ARK_CLUSTER_FILES``, a directory of this machine that its nodes have under the same name.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ark_extensions.cluster_api import is_ready
from tests.integration.crash_stage import BUSY_SETTINGS
from tests.kubernetes import build, images, objects, processes, teardown
from tests.kubernetes.place import NAMESPACE, NODE, STORAGE_CLASS, Place, Running
from tests.platform import Platform

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class NoCluster(Exception):
    """None can run here; the text says why."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that tests may use. ``host``: the address at which its pods reach this machine. ``place``: its directory
    when it is ours, else None: a test that looks behind the API calls `ours()`, one that needs shared files or GPUs says so.
    ``images``: an image's name there, with ``{name}`` in it. ``files``: a directory of this machine that its nodes have too."""

    kubeconfig: Path
    host: str
    place: Place | None = None
    namespace: str = NAMESPACE
    storage_class: str = STORAGE_CLASS
    node: str = NODE
    images: str = images.reference("{name}")
    files: Path | None = None

    def ours(self) -> Place:
        if self.place is None:
            pytest.skip("needs the cluster that the tests bring up themselves")
        return self.place

    def image(self, name: str) -> str:
        """What a pod names to get one of the project's images."""
        return self.images.format(name=name)

    def shared_files(self) -> Path:
        """Where a directory must lie that pods mount as they would mount NFS."""
        if self.files is None:
            pytest.skip("needs ARK_CLUSTER_FILES: a directory of this machine that the cluster's nodes have under the same name")
        return self.files

    def gpus(self) -> int:
        """How many GPUs its node has; a test that needs some is skipped where there are none."""
        count = int(self.get("node", self.node)["status"]["allocatable"].get(objects.GPU, 0))
        if not count:
            pytest.skip(f"the node {self.node} has no GPUs")
        return count

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
    with ExitStack() as stack:
        try:
            found = stack.enter_context(brought_up())
        except NoCluster as why:
            pytest.skip(f"no cluster can run here: {why}")
        yield found


@contextmanager
def brought_up() -> Iterator[Cluster]:
    """That of ``KUBECONFIG``, or one of our own until the end; raises `NoCluster`."""
    if given := os.environ.get("KUBECONFIG"):
        yield foreign(Path(given))
        return
    if found := build.problems():
        raise NoCluster("; ".join(found))
    place = Place(Path(tempfile.mkdtemp(prefix="ark-k8s-")))
    built = build.programs()
    build.ensure(built)
    try:
        running = processes.up(place, built, outlives_us=False)
        images.bring(place, images.ensure(images.FOR_TESTS))
        yield Cluster(place.kubeconfig, running.network.host, place, files=Path(tempfile.gettempdir()))
    finally:
        teardown.down(place)


def foreign(kubeconfig: Path) -> Cluster:
    """Somebody's cluster; ours too, when its directory shows that it is."""
    place = Place(kubeconfig.resolve().parent)
    running = Running.read(place)
    if running is not None and running.alive:
        return Cluster(kubeconfig, running.network.host, place, files=Path(tempfile.gettempdir()))
    files = os.environ.get("ARK_CLUSTER_FILES")
    asked = Cluster(kubeconfig, os.environ.get("ARK_CLUSTER_HOST") or own_address(), files=Path(files) if files else None)
    nodes = [node for node in asked.get("nodes")["items"] if is_ready(node) and not node["spec"].get("unschedulable")]
    classes = [one for one in asked.get("storageclass")["items"] if one["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"]
    if not nodes or not classes:
        raise NoCluster(f"the cluster of {kubeconfig} has no {'default storage class' if nodes else 'node that is ready'}")
    asked.kubectl("apply", "-f", "-", given=json.dumps(objects.namespace()))
    return replace(
        asked,
        node=nodes[0]["metadata"]["name"],
        storage_class=classes[0]["metadata"]["name"],
        images=os.environ.get("ARK_CLUSTER_IMAGES") or asked.images,
    )


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
