"""The project's images start, as uid 1000 in a restricted pod, and hold what the platform and its users expect."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Cluster
from tests.kubernetes import images
from tests.platform import wait_until

HOME: dict[str, dict[str, Any]] = {
    "spec": {"volumes": [{"name": "home", "emptyDir": {}}, {"name": "run", "emptyDir": {}}]},
    "container": {
        "volumeMounts": [{"name": "home", "mountPath": "/home/user"}, {"name": "run", "mountPath": "/run/user/1000"}],
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
    },
}
LABELS = {"ark-test": "images"}


def answers(address: str, port: int, path: str) -> int:
    """The status of a GET; 0 while nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.fixture(scope="module")
def workspace(cluster: Cluster) -> Iterator[tuple[Cluster, str]]:
    """A pod of workspace-base with a JupyterLab that asks nobody, and its address."""
    options = ["--ip=0.0.0.0", "--port=8888", "--no-browser", "--IdentityProvider.token=open", "--ServerApp.root_dir=/home/user"]
    container = {**HOME["container"], "args": ["jupyter-lab", *options]}
    address = cluster.run_pod("image-workspace", cluster.image("workspace-base"), spec=HOME["spec"], container=container, labels=LABELS)
    yield cluster, address
    cluster.remove_pod("image-workspace")


def test_jupyterlab_answers(workspace: tuple[Cluster, str]) -> None:
    _, address = workspace
    wait_until(lambda: answers(address, 8888, "/api/status?token=open") == 200, seconds=60)
    assert answers(address, 8888, "/lab?token=open") == 200


def test_vs_code_starts_on_its_own_node(workspace: tuple[Cluster, str]) -> None:
    cluster, _ = workspace
    start = "$ARK_NODE/bin/node $ARK_CODE_SERVER/out/node/entry.js --auth none --socket /tmp/code.sock >/tmp/code.log 2>&1 &"
    cluster.execute("image-workspace", "bash", "-c", f"{start} disown; sleep 0.1")
    ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", "/tmp/code.sock", "http://code/healthz"]
    wait_until(lambda: cluster.execute("image-workspace", *ask, check=False).strip() == "200", seconds=60)


def test_it_is_the_users_own_and_has_common_tools(workspace: tuple[Cluster, str]) -> None:
    cluster, _ = workspace
    assert cluster.execute("image-workspace", "id", "-un").strip() == "user"
    for program in ("git", "git-lfs", "curl", "wget", "rsync", "tmux", "vim.tiny", "htop", "unzip", "jq", "sftp"):
        cluster.execute("image-workspace", "sh", "-c", f"command -v {program}")
    packages = "numpy, pandas, sklearn, matplotlib, jupyterhub, jupyter_server_proxy, ark_workspace"
    cluster.execute("image-workspace", "/opt/ark/python/bin/python", "-c", f"import {packages}")
    # the platform's parts cannot be changed from inside, the environment can
    for place, writable in (("/opt/ark/workspace/lib", "no"), ("/usr", "no"), ("/opt/ark/python", "yes")):
        assert cluster.execute("image-workspace", "sh", "-c", f"test -w {place} && echo yes || echo no").strip() == writable, place


def test_sshd_lets_a_key_in_over_a_pipe(workspace: tuple[Cluster, str]) -> None:
    """As the workspace's door starts it: for one connection, unprivileged."""
    cluster, _ = workspace
    script = """set -e; cd /tmp; rm -rf keys; mkdir -m 700 keys; cd keys
ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f mine; cp mine.pub allowed
printf 'HostKey /tmp/keys/host\\nAuthorizedKeysFile /tmp/keys/allowed\\nStrictModes no\\nUsePAM no\\nPidFile none\\n' > config
ssh -i mine -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ProxyCommand='/usr/sbin/sshd -i -f /tmp/keys/config' user@here 'echo inside $(id -u)'"""
    assert cluster.execute("image-workspace", "bash", "-c", script).strip() == "inside 1000"


def test_the_first_process_reaps(workspace: tuple[Cluster, str]) -> None:
    cluster, _ = workspace
    cluster.execute("image-workspace", "sh", "-c", "for n in 1 2 3 4 5; do (sh -c 'sleep 0.1 & exec true' &) ; done")
    left = ["sh", "-c", "ps -eo stat= | grep -c '^Z' || true"]
    wait_until(lambda: cluster.execute("image-workspace", *left).strip() == "0", seconds=15)


def test_no_cache_and_no_machine_is_left_in_it(workspace: tuple[Cluster, str]) -> None:
    cluster, _ = workspace
    places = "/var/lib/apt/lists /var/cache/apt /build /home/user/.cache/pip /etc/pip.conf"
    look = f"find {places} -type f -size +0 2>/dev/null; env | grep -i -E 'pip_|npm_|cert' || true"
    assert cluster.execute("image-workspace", "sh", "-c", look).strip() == ""


def test_the_hub_image_starts_a_hub_with_its_proxy(cluster: Cluster) -> None:
    command = [
        "jupyterhub",
        "--ip=0.0.0.0",
        "--port=8000",
        "--JupyterHub.authenticator_class=dummy",
        "--JupyterHub.db_url=sqlite:////tmp/hub.sqlite",
    ]
    container = {"workingDir": "/tmp", "args": [*command, "--JupyterHub.cookie_secret_file=/tmp/cookie"]}
    address = cluster.run_pod("image-hub", cluster.image("hub"), container=container, labels=LABELS)
    try:
        wait_until(lambda: answers(address, 8000, "/hub/health") == 200, seconds=90)
        parts = "pycurl, kubespawner, psycopg, ark_spawner.options, hub_config, ark_extensions.settings"
        cluster.execute("image-hub", "python", "-c", f"import {parts}")
        assert "user" in cluster.execute("image-hub", "ark", "--help")
    finally:
        cluster.remove_pod("image-hub")


TRAINS = """
import os, torch
assert os.getuid() == 1000
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
x = torch.randn(64, 8)
y, step, losses = x.sum(1, keepdim=True), torch.optim.SGD(net.parameters(), lr=0.05), []
for _ in range(50):
    loss = torch.nn.functional.mse_loss(net(x), y)
    step.zero_grad(); loss.backward(); step.step(); losses.append(loss.item())
print(losses[-1] < losses[0] / 4, torch.cuda.is_available())
"""


def test_pytorch_trains(pods: Cluster) -> None:
    if pods.place is not None:
        archive = images.built("pytorch")
        if archive is None:
            pytest.skip("the image pytorch is not built: `make images PYTORCH=1` (several GB)")
        images.bring(pods.place, {"pytorch": archive})
    pods.run_pod("image-pytorch", pods.image("pytorch"), ["sleep", "infinity"], labels={"ark-test": "here"}, **HOME)
    said = pods.execute("image-pytorch", "/opt/ark/python/bin/python", "-c", TRAINS, seconds=180)
    assert said.split()[0] == "True"
