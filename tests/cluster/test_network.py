"""The network policies that the chart ships, on real packets: what a workspace reaches and who reaches it, before and after.

Each line is first open without the policies, so that a shut one is the policies' doing. Addresses of the outside are this
machine's: one of the internet, a private one, the clouds' metadata address, a resolver. For the cluster's own DNS stands a pod in
its name space and with its label, which answers questions on port 53 by UDP and TCP.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ark_extensions.domain.cluster import labels
from tests.cluster.conftest import Cluster
from tests.kubernetes import objects
from tests.platform import wait_until

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "ark-network"
INTERNET, PRIVATE, METADATA, RESOLVER = "203.0.113.7", "192.168.77.7", "169.254.169.254", "192.168.77.53"
OUTSIDE = {INTERNET: (443, 53), PRIVATE: (443, 53), METADATA: (80,), RESOLVER: (53, 443)}
SERVES = "use IO::Socket; use IO::Select; $s = IO::Select->new("
SERVES += "map { IO::Socket::INET->new(Listen => 64, LocalPort => $_, ReuseAddr => 1) or die $! } @ARGV);"
SERVES += " while (1) { for ($s->can_read) { $c = $_->accept; close $c if $c } }"
SERVICES = {"app.kubernetes.io/name": "ark", "app.kubernetes.io/instance": "it", "app.kubernetes.io/component": "services"}
ACCESS = {"hub.jupyter.org/network-access-singleuser": "true"}
PODS: dict[str, tuple[Mapping[str, str], tuple[int, ...]]] = {
    "alice": (labels("ark", workspace_id="w1", owner="alice"), (8888, 2222, 9000)),
    "bob": (labels("ark", workspace_id="w2", owner="bob"), (8888, 2222, 9000)),
    "hub": ({"component": "hub", **ACCESS}, (8081, 9000)),
    "proxy": ({"component": "proxy", **ACCESS}, (8000, 8001)),
    "services": (SERVICES, (8002, 8003, 2222, 9000)),
    "database": ({**SERVICES, "app.kubernetes.io/component": "postgresql"}, (5432,)),
    "stranger": ({}, (9000,)),
}
#: from → what it reaches; everything else of PODS, OUTSIDE and the API is shut to workspaces
REACHES = {
    "alice": {
        "hub:8081",
        "proxy:8000",
        "services:8002",
        "services:8003",
        f"{INTERNET}:443",
        f"{INTERNET}:53",
        f"{RESOLVER}:53",
    },
    "hub": {"alice:8888", "bob:8888", "services:8002", "services:8003", "database:5432"},
    "proxy": {"alice:8888", "bob:8888", "services:8002", "services:8003"},
    "services": {"alice:2222", "bob:2222", "database:5432"},
    "stranger": set(),
}
#: Perl, too: answers each question with an address that it makes up, as a name server would
NAME_SERVER = """
use IO::Socket; use IO::Select;
$u = IO::Socket::INET->new(Proto => "udp", LocalPort => 53) or die $!;
@t = map { IO::Socket::INET->new(Listen => 64, LocalPort => $_, ReuseAddr => 1) or die $! } 53, 9153;
$s = IO::Select->new($u, @t);
while (1) { for ($s->can_read) {
  if ($_ != $u) { $c = $_->accept; close $c if $c; next }
  $_->recv($q, 512); $id = substr $q, 0, 2;
  $_->send($id . "\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" . substr($q, 12) . "\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4\\x0a\\7\\7\\7");
} }
"""
#: names of pods beside the cluster's → their labels; both answer, one is the DNS that policies let through
NAME_SERVERS = {"ark-test-dns": {"k8s-app": "kube-dns"}, "ark-test-not-dns": {"k8s-app": "other"}}


def helm_policies() -> list[dict[str, Any]]:
    helm = Path(sys.executable).parent / "helm"
    options = ["--set", "database.internal.enabled=true", "--set", f"network.dns.addresses={{{RESOLVER}/32}}", "--set", "ssh.enabled=false"]
    command = [str(helm), "template", "it", str(ROOT / "helm-values/ark"), "-n", NAMESPACE, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [d for d in yaml.safe_load_all(done.stdout) if d and d["kind"] == "NetworkPolicy"]


@contextmanager
def address(ip: str, ports: tuple[int, ...]) -> Iterator[None]:
    """An address of this machine that takes connections, while the block lasts."""
    subprocess.run(["ip", "address", "add", f"{ip}/32", "dev", "lo"], check=True, timeout=10)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "address", "del", f"{ip}/32", "dev", "lo"], check=True, timeout=10)
        for port in ports:
            listener = stack.enter_context(socket.create_server((ip, port), backlog=64))
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield


def serve(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


@pytest.fixture(scope="module")
def stage(cluster: Cluster) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """The pods of a small installation in a name space of their own, and the outside; name → address."""
    cluster.ours()
    cluster.apply(objects.namespace(NAMESPACE))
    here = replace(cluster, namespace=NAMESPACE)
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "delete", "namespace", NAMESPACE, "--wait=true", seconds=120)
        for ip, ports in OUTSIDE.items():
            stack.enter_context(address(ip, ports))
        command = {name: ["perl", "-e", SERVES, *map(str, ports)] for name, (_, ports) in PODS.items()}
        here.apply(*(here.pod(name, here.image("base"), command[name], labels=dict(marks)) for name, (marks, _) in PODS.items()))
        here.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "--all", "--timeout=120s", seconds=130)
        yield here, {name: here.get("pod", name, "-n", NAMESPACE)["status"]["podIP"] for name in PODS}


def everything(here: Cluster) -> list[str]:
    api = [f"{here.get('node', here.node)['status']['addresses'][0]['address']}:6443"]
    api.append(f"{here.get('service', 'kubernetes', '-n', 'default')['spec']['clusterIP']}:443")
    inside = [f"{name}:{port}" for name, (_, ports) in PODS.items() for port in ports]
    return inside + [f"{ip}:{port}" for ip, ports in OUTSIDE.items() for port in ports] + api


def others(source: str, targets: list[str]) -> list[str]:
    """A pod always reaches itself."""
    return [target for target in targets if not target.startswith(f"{source}:")]


def reached(here: Cluster, addresses: Mapping[str, str], source: str, targets: list[str]) -> set[str]:
    """Which of ``name:port`` take a connection from a pod; all are tried at once."""
    tried = []
    for target in targets:
        name, _, port = target.rpartition(":")
        connect = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{addresses.get(name, name)}/{port}' 2>/dev/null"
        tried.append(f"({connect} && echo {target}) &")
    return set(here.execute(source, "bash", "-c", " ".join([*tried, "wait"])).split())


def test_workspaces_reach_hub_proxy_services_and_the_internet_and_nothing_else(stage: tuple[Cluster, dict[str, str]]) -> None:
    here, addresses = stage
    targets = everything(here)
    for source in REACHES:
        wait_until(lambda source=source: reached(here, addresses, source, targets) == set(targets), seconds=30)  # type: ignore[misc]
    here.kubectl("apply", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump_all(helm_policies()))
    wait_until(lambda: "bob:9000" not in reached(here, addresses, "alice", targets), seconds=60)
    assert reached(here, addresses, "alice", others("alice", targets)) == REACHES["alice"]


@pytest.mark.parametrize("source", ["hub", "proxy", "services", "stranger"])
def test_who_reaches_workspaces_services_and_the_database(stage: tuple[Cluster, dict[str, str]], source: str) -> None:
    here, addresses = stage
    here.kubectl("apply", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump_all(helm_policies()))
    guarded = [target for target in everything(here) if target.split(":")[0] in ("alice", "bob", "services", "database")]
    wait_until(lambda: reached(here, addresses, source, others(source, guarded)) == REACHES[source], seconds=30)


@pytest.fixture(scope="module")
def name_servers(stage: tuple[Cluster, dict[str, str]]) -> Iterator[dict[str, str]]:
    """Name → address."""
    system = replace(stage[0], namespace="kube-system")
    low_ports = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "53"}]}
    try:
        for name, marks in NAME_SERVERS.items():
            body = system.pod(name, system.image("base"), ["perl", "-e", NAME_SERVER], labels=dict(marks))
            body["spec"]["securityContext"] |= low_ports
            system.apply(body)
        system.kubectl("wait", "-n", "kube-system", "--for=condition=Ready", *(f"pod/{name}" for name in NAME_SERVERS), "--timeout=90s")
        yield {name: system.get("pod", name, "-n", "kube-system")["status"]["podIP"] for name in NAME_SERVERS}
    finally:
        for name in NAME_SERVERS:
            system.remove_pod(name)


def looked_up(here: Cluster, servers: Mapping[str, str]) -> set[str]:
    """Which of them answer a workspace's question for a name, by UDP as programs ask."""
    question = r"printf '\7\7\1\0\0\1\0\0\0\0\0\0\3ark\4test\0\0\1\0\1'"
    answer = "timeout 3 head -c 42 <&3 | tail -c 4 | od -An -tu1 | grep -q '10 *7 *7 *7'"
    tried = [f"(exec 3<>/dev/udp/{address}/53; {question} >&3; {answer} && echo {name}) &" for name, address in servers.items()]
    return set(here.execute("alice", "bash", "-c", " ".join([*tried, "wait"])).split())


def test_names_are_asked_of_the_clusters_own_dns_and_of_nobody_beside_it(
    stage: tuple[Cluster, dict[str, str]], name_servers: dict[str, str]
) -> None:
    here, _ = stage
    here.kubectl("delete", "networkpolicy", "--all", "-n", NAMESPACE)
    targets = [f"{name}:{port}" for name in NAME_SERVERS for port in (53, 9153)]
    wait_until(lambda: looked_up(here, name_servers) == set(NAME_SERVERS), seconds=30)
    wait_until(lambda: reached(here, name_servers, "alice", targets) == set(targets), seconds=30)
    here.kubectl("apply", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump_all(helm_policies()))
    wait_until(lambda: reached(here, name_servers, "alice", targets) == {"ark-test-dns:53"}, seconds=60)
    assert looked_up(here, name_servers) == {"ark-test-dns"}
