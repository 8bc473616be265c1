"""A platform installed as an operator installs it: both charts, our Hub image, a PostgreSQL, on the test cluster.

The Hub's chart is not part of this project: ``ARK_HUB_CHART`` names the directory of a copy. The test cluster has no DNS of
its own, so the pods are told the services' addresses by a second `helm upgrade`, which also shows that an upgrade keeps the secrets.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests import postgresql
from tests.cluster.conftest import Cluster
from tests.kubernetes import images, objects
from tests.platform import wait_until
from tests.ports import free_port

NAMESPACE = "ark-helm-test"
HUB_CHART = os.environ.get("ARK_HUB_CHART", "")
VALUES = Path(__file__).resolve().parents[2] / "helm-values"
NAMED = ("hub", "proxy-api", "proxy-public", "ark-services")
API = "/services/console/api/v1"

pytestmark = [
    pytest.mark.skipif(not HUB_CHART, reason="Zero to JupyterHub's chart is not at hand (ARK_HUB_CHART=its directory)"),
    pytest.mark.skipif(postgresql.missing() is not None, reason=postgresql.missing() or ""),
]


@dataclass
class Installed:
    here: Cluster
    secrets_before: dict[str, str]

    def ark(self, *arguments: str, check: bool = True) -> str:
        return self.here.kubectl("exec", "-n", NAMESPACE, "deploy/ark-services", "-c", "console", "--", "ark", *arguments, check=check)

    def request(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Through the proxy, as a browser's request would come."""
        proxy = self.here.get("pods", "-n", NAMESPACE, "-l", "component=proxy")["items"][0]["status"]["podIP"]
        connection = http.client.HTTPConnection(proxy, 8000, timeout=30)
        headers = {"Content-Type": "application/json", **({"Authorization": f"token {token}"} if token else {})}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text

    def status(self, path: str) -> int:
        try:
            return self.request("GET", path)[0]
        except (OSError, http.client.HTTPException, KeyError, IndexError):
            return 0


def database(stack: ExitStack, host: str) -> int:
    """A PostgreSQL that pods reach, with the two databases; its port."""
    server, port = stack.enter_context(postgresql.server()), free_port()
    directory = Path(urlsplit(server.database().replace("@/", "@x/")).query.removeprefix("host="))
    with (server.data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    options = f"-c listen_addresses={host} -c port={port} -c unix_socket_directories={directory} -c max_connections=60 -c fsync=off"
    server.run("pg_ctl", "-D", str(server.data), "-w", "-m", "fast", "-l", str(directory / "log"), "-o", options, "restart")
    for name in ("ark", "hub"):
        server.run("createdb", "-h", str(directory), "-p", str(port), "-U", "postgres", name)
    return port


def resolver() -> list[str]:
    servers = [line.split()[1] for line in Path("/etc/resolv.conf").read_text().splitlines() if line.startswith("nameserver")]
    return [f"{server}/32" for server in servers if ":" not in server]


def values(cluster: Cluster, addresses: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What this cluster needs beside the single-node values: (Ark's, the Hub's)."""
    aliases = {"hostAliases": [{"ip": address, "hostnames": [name]} for name, address in addresses.items()]}
    name, _, tag = images.reference("hub").rpartition(":")
    image = {"name": name, "tag": tag, "pullPolicy": "Never"}
    small = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    base = yaml.safe_load((VALUES / "base.yaml").read_text())
    directories = [{**made, "image": images.reference("hub"), "imagePullPolicy": "Never"} for made in base["hub"]["initContainers"]]
    of_cluster = {
        "storage_class": cluster.storage_class,
        "images": {"workspace": images.reference("workspace-base")},
        "reserve_vcpu": 0,
        "pod_overrides": aliases,
    }
    ark = {
        "image": image,
        "settings": {"administrators": ["admin"], "kubernetes": of_cluster},
        "files": {"existingClaim": objects.FILES},
        "database": {"existingSecret": "ark-database", "internal": {"enabled": False}},
        "ssh": {"service": {"type": "ClusterIP"}},
        "network": {"dns": {"addresses": resolver()}},
        "services": {"resources": small, "extraPodSpec": aliases},
    }
    hub = {
        "hub": {"image": image, "initContainers": directories, "extraPodSpec": aliases, "resources": small},
        "proxy": {
            "service": {"type": "ClusterIP", "nodePorts": {"http": None}},
            "chp": {"image": image, "command": ["configurable-http-proxy"], "extraPodSpec": aliases, "resources": small},
        },
    }
    return ark, hub


def install(cluster: Cluster, scratch: Path, addresses: dict[str, str]) -> None:
    helm = [str(Path(sys.executable).parent / "helm"), "--kubeconfig", str(cluster.kubeconfig), "-n", NAMESPACE]
    for name, more in zip(("ark", "hub"), values(cluster, addresses), strict=True):
        (scratch / f"{name}.yaml").write_text(yaml.safe_dump(more))
    releases = {
        "ark": [str(VALUES / "ark"), "-f", str(VALUES / "ark-single-node.yaml"), "-f", str(scratch / "ark.yaml")],
        "jupyterhub": [HUB_CHART, *(f"-f{VALUES / name}" for name in ("base.yaml", "single-node.yaml")), "-f", str(scratch / "hub.yaml")],
    }
    for name, options in releases.items():
        done = subprocess.run([*helm, "upgrade", "--install", name, *options], capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    cluster.ours()
    here, scratch = replace(cluster, namespace=NAMESPACE), tmp_path_factory.mktemp("helm")
    files = scratch / "files"
    files.mkdir()
    for directory in (scratch, files, *list(scratch.parents)[:2]):
        directory.chmod(0o755)
    shutil.chown(files, 1000, 1000)
    with ExitStack() as stack:
        port = database(stack, cluster.host)
        stack.callback(remove, cluster)
        here.apply(objects.namespace(NAMESPACE), *objects.files(NAMESPACE, files))
        address = f"postgresql+psycopg://postgres@{cluster.host}:{port}"
        keys = {"url": f"{address}/ark", "hub-url": f"{address}/hub"}
        metadata = {"name": "ark-database", "namespace": NAMESPACE}
        here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})
        began = time.monotonic()
        install(cluster, scratch, {})
        before = here.get("secret", "ark-secrets", "-n", NAMESPACE)["data"]
        install(cluster, scratch, {name: here.get("service", name, "-n", NAMESPACE)["spec"]["clusterIP"] for name in NAMED})
        made = Installed(here, before)
        try:
            for name in ("ark-services", "proxy", "hub"):
                here.kubectl("rollout", "status", "-n", NAMESPACE, f"deploy/{name}", "--timeout=300s", seconds=310)
            wait_until(lambda: all(made.status(path) == 200 for path in ("/hub/health", f"{API}/../../health")), seconds=60)
            print(f"\nfrom the first helm command to the platform's answer: {time.monotonic() - began:.0f} s")
        except BaseException:
            print(here.kubectl("get", "pods,events", "-n", NAMESPACE, "-o", "wide", check=False))
            for part in ("deploy/hub", "deploy/ark-services"):
                print(here.kubectl("logs", "-n", NAMESPACE, part, "--all-containers", "--tail=30", check=False))
            raise
        yield made


def remove(cluster: Cluster) -> None:
    helm = [str(Path(sys.executable).parent / "helm"), "--kubeconfig", str(cluster.kubeconfig), "-n", NAMESPACE]
    for release in ("jupyterhub", "ark"):
        subprocess.run([*helm, "uninstall", release], capture_output=True, timeout=120)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", seconds=180)
    cluster.kubectl("delete", "pv", f"{objects.FILES}-{NAMESPACE}", "--ignore-not-found", "--wait=false")


def test_an_upgrade_keeps_the_secrets(installed: Installed) -> None:
    assert installed.here.get("secret", "ark-secrets", "-n", NAMESPACE)["data"] == installed.secrets_before


def test_every_process_answers_through_the_proxy(installed: Installed) -> None:
    for path in ("/hub/health", "/services/console/health", "/services/netdisk/health"):
        wait_until(lambda path=path: installed.status(path) == 200, seconds=60)  # type: ignore[misc]


def test_the_doctor_in_the_pod_finds_no_problem(installed: Installed) -> None:
    def no_problem() -> str | None:  # what is for sale is known some seconds after the services' start
        said = installed.ark("doctor", check=False)
        return said if "✗" not in said else None

    said = wait_until(no_problem, seconds=120, every=2.0)
    assert "✓ network" in said and "✓ priorities" in said and "✓ stock" in said and "✓ clock" in said, said


def services(installed: Installed) -> str:
    """The name of the services' pod that serves."""
    pods = installed.here.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=services")["items"]
    return str(next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]))


def flowers(scratch: Path) -> Path:
    made = scratch / "flower_photos"
    (made / "roses").mkdir(parents=True)
    (made / "roses/1.txt").write_text("a rose is a rose\n")
    return made


def test_a_workspace_starts_stops_and_is_billed(installed: Installed, tmp_path: Path) -> None:
    token = installed.ark("token", "admin", "--expires", "1h").strip()

    def on_sale() -> list[dict[str, Any]]:
        return list(installed.request("GET", f"{API}/offers?available=true&plan=payg", token=token)[1]["items"])

    wait_until(on_sale, seconds=120)
    cheapest = min(on_sale(), key=lambda o: (o["gpu"] is not None, o["vcpu"], o["memory_gib"]))
    installed.here.kubectl("cp", str(flowers(tmp_path)), f"{NAMESPACE}/{services(installed)}:/tmp/flower_photos", "-c", "reconcile")
    assert installed.ark("catalog", "import", "dataset", "flower-photos", "/tmp/flower_photos").strip() == "flower-photos@1"
    order = {"request_id": "helm", "name": "first", "offer": cheapest["id"], "image": "python-cpu"}
    order |= {"datasets": ["digits", "flower-photos"], "models": ["digits-mlp"]}
    status, made = installed.request("POST", f"{API}/workspaces", order, token)
    assert status == 201, made

    def state() -> str:
        status, found = installed.request("GET", f"{API}/workspaces/first", token=token)
        if status != 200:
            print(status, found)  # a busy machine: the console asks for patience
        return str(found["state"]) if status == 200 else ""

    wait_until(lambda: state() in ("running", "failed"), seconds=240)
    assert state() == "running", installed.request("GET", f"{API}/workspaces/first/events", token=token)
    assert installed.request("GET", "/user/admin/first/api", token=token)[0] == 200
    [pod] = installed.here.get("pods", "-n", NAMESPACE, "-l", "ark/workspace")["items"]
    look = ["exec", "-n", NAMESPACE, pod["metadata"]["name"], "--", "bash", "-c"]
    assert installed.here.kubectl(*look, "cat ~/imported_datasets/flower-photos/roses/1.txt") == "a rose is a rose\n"
    assert (
        installed.here.kubectl(*look, "ls -d ~/imported_datasets/digits/3 ~/imported_models/digits-mlp/model.joblib | wc -l").strip() == "2"
    )
    assert installed.request("POST", f"{API}/workspaces/first/stop", {}, token)[0] in (200, 202)
    wait_until(lambda: state() == "stopped", seconds=60)
    assert installed.ark("books", "check").strip()
    assert "stopped" in installed.ark("logs", "admin/first")
    names = [claim["metadata"]["name"] for claim in installed.here.get("pvc", "-n", NAMESPACE)["items"]]
    assert [name for name in names if name.startswith("ark-home-")], "the data disk is kept"
