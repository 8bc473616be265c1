"""SSH into a real pod: the workspace image's own door and sshd, reached as the gateway reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import asyncssh
import pytest

from ark_extensions.cluster_api import ClusterApi, from_kubeconfig
from ark_extensions.domain.cluster import SSH_PORT, door_token, labels, pod_name
from ark_extensions.settings import Kubernetes
from ark_extensions.ssh.connector import ClusterConnector
from ark_extensions.workspace.ssh import door
from ark_spawner import filesystem as fs
from tests.cluster.conftest import Cluster
from tests.contract.test_ssh_pod_door import SECRET, session
from tests.kubernetes import objects
from tests.platform import wait_until

NAMESPACE = "ark-ssh-test"


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="module")
def here(cluster: Cluster, host_key: asyncssh.SSHKey) -> Iterator[Cluster]:
    """A pod as the spawner starts it, but for the server: it only waits."""
    made = replace(cluster, namespace=NAMESPACE)
    made.apply(objects.namespace(NAMESPACE))
    secrets = {
        door.TOKEN: door_token(SECRET, workspace_id="w1", launch_id="l1"),
        door.HOST_KEY: host_key.export_private_key().decode(),
        "XDG_RUNTIME_DIR": "/tmp",
        "GREETING": "hello from the pod",
    }
    program = [f"{Kubernetes().image_environment}/bin/python", "-I", "-S", str(fs.PLATFORM / "ssh/door.py"), "--port", str(SSH_PORT), "--"]
    made.run_pod(
        pod_name("w1"),
        made.image("workspace-base"),
        [*program, "sleep", "infinity"],
        labels={**labels("ark", workspace_id="w1", owner="alice"), "ark/launch": "l1"},
        container={"env": [{"name": name, "value": value} for name, value in secrets.items()]},
    )
    wait_until(
        lambda: "open" in made.execute(pod_name("w1"), "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{SSH_PORT} && echo open", check=False)
    )
    try:
        yield made
    finally:
        made.kubectl("delete", "namespace", NAMESPACE, "--wait=true", seconds=120)


async def test_a_session_in_a_pod(here: Cluster, host_key: asyncssh.SSHKey) -> None:
    connector = ClusterConnector(ClusterApi(from_kubeconfig(here.kubeconfig)), Kubernetes(namespace=NAMESPACE), SECRET)
    key = asyncssh.generate_private_key("ssh-ed25519")
    assert await session(connector, key, host_key, key.export_public_key().decode()) == "hello from the pod; uid 1000"
    with pytest.raises(asyncssh.PermissionDenied):
        await session(connector, key, host_key, "")
