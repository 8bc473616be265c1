"""From the submit of a workspace to its JupyterLab's answer in a real cluster, against stock KubeSpawner there.

The same Kubernetes, image, proxy, processor, memory, and a new disk for each start on both sides; both Hubs run on this machine. Ours is
the whole way: API, order, gate, disk, netdisk, pod, keys, Hub, proxy. Theirs is one POST to the Hub. In turn, asked for `/lab` every 20 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from ark_extensions.storage import Storage
from ark_extensions.usecases import market
from bench.measure import CannotRun, Row, at_most, interleaved
from bench.plain_hub import USER, PlainHub, wait_for
from bench.start import Ours, plain_round
from tests.cluster.conftest import Cluster, NoCluster, brought_up
from tests.cluster.platform_stage import ClusterPlatform
from tests.kubernetes import build, images, objects
from tests.platform import wait_until

ROUNDS = 9
NAMESPACE = "ark-bench-stock"
OFFER = {
    "id": "bench",
    "name": "Bench",
    "plan": "payg",
    "vcpu": 1,
    "memory_mib": 1024,
    "system_disk_gib": 1,
    "price": "0.01",
    "per": "hour",
}
STOCK = """
from kubernetes_asyncio.config import kube_config
kube_config.KUBE_CONFIG_DEFAULT_LOCATION = "{kubeconfig}"
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = "{host}"
c.Spawner.args = []
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.environment = {{}}
c.KubeSpawner.namespace = "{namespace}"
c.KubeSpawner.image = "{image}"
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.cpu_limit = c.KubeSpawner.cpu_guarantee = 1
c.KubeSpawner.mem_limit = c.KubeSpawner.mem_guarantee = "1024M"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.pvc_name_template = "claim-{{user_server}}"
c.KubeSpawner.storage_capacity = "10Gi"
c.KubeSpawner.volumes = {{"home": {{"name": "home", "persistentVolumeClaim": {{"claimName": "{{pvc_name}}"}}}}}}
c.KubeSpawner.volume_mounts = {{"home": {{"name": "home", "mountPath": "/home/user"}}}}
c.KubeSpawner.fs_gid = 1000
c.KubeSpawner.allow_privilege_escalation = False
c.KubeSpawner.container_security_context = {{
    "allowPrivilegeEscalation": False,
    "capabilities": {{"drop": ["ALL"]}},
    "runAsNonRoot": True,
    "seccompProfile": {{"type": "RuntimeDefault"}},
}}
"""


def run() -> list[Row]:
    with ExitStack() as stack:
        cluster = stack.enter_context(a_cluster())
        hub = stack.enter_context(stock(cluster))
        platform = ClusterPlatform(cluster, settings={"opening_credit": "1000.00"})
        stack.callback(platform.close)
        platform.start()
        storage = Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")
        market.seed_catalog(storage, catalog={"offers": [OFFER]}, now=datetime.now(UTC))
        storage.close()
        ours = Ours(platform, str(OFFER["id"]))

        def theirs(number: int) -> float:
            took = plain_round(hub, number)
            wait_until(lambda: cluster.get("pods", "-n", NAMESPACE) is None, seconds=60)
            return took

        interleaved(ours.round, theirs, rounds=1)  # warm: the image's files, byte code
        value, baseline = interleaved(lambda n: ours.round(n + 1), lambda n: theirs(n + 1), rounds=ROUNDS)
    return [at_most("cluster: submit → JupyterLab answers", value, "s", baseline, times=1.1)]


@contextmanager
def a_cluster() -> Iterator[Cluster]:
    """A bench builds no Kubernetes: that takes longer than all measurements together."""
    built = build.programs()
    there = built.control.is_dir() and built.containerd.is_dir() and images.built("workspace-base")
    if not os.environ.get("KUBECONFIG") and not build.problems() and not there:
        raise CannotRun("Kubernetes or the images are not built yet: `make cluster images` does it once")
    with ExitStack() as stack:
        try:
            found = stack.enter_context(brought_up())
        except NoCluster as why:
            raise CannotRun(str(why)) from why
        if found.files is None:
            raise CannotRun("it needs ARK_CLUSTER_FILES (docs/operate.md)")
        yield found


@contextmanager
def stock(cluster: Cluster) -> Iterator[PlainHub]:
    """A plain Hub whose servers are pods of a name space of their own."""
    told = {"kubeconfig": cluster.kubeconfig, "host": cluster.host, "image": cluster.image("workspace-base"), "namespace": NAMESPACE}
    with PlainHub(STOCK, **told) as hub:
        cluster.apply(objects.namespace(NAMESPACE))
        try:
            hub.start()
            wait_for(hub.port, "/hub/health", token=hub.token)
            hub.request("POST", f"/hub/api/users/{USER}", {})
            yield hub
        finally:
            cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", seconds=120)
