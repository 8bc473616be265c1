"""The values and the chart, rendered with the real helm: what an operator installs is whole, agrees with itself and grants little."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from ark_extensions.cli.preparation import SECRETS
from ark_extensions.console.ssh_gateway import _host_keys
from ark_extensions.settings import Settings
from ark_extensions.ssh.hostkey import gateway_key

ROOT = Path(__file__).resolve().parents[2]
VALUES = ROOT / "helm-values"
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
#: the Hub's chart is not part of this project: name the directory of a copy to have the values checked against it
HUB_CHART = os.environ.get("ARK_HUB_CHART", "")
KINDS = ("production", "single-node")

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is not installed")
needs_hub_chart = pytest.mark.skipif(not HUB_CHART, reason="Zero to JupyterHub's chart is not at hand (ARK_HUB_CHART=its directory)")


@cache
def rendered(chart: str, *values: str) -> tuple[dict[str, Any], ...]:
    return tuple(render(chart, values))


def render(chart: str, values: Sequence[str], options: Sequence[str] = ()) -> list[dict[str, Any]]:
    given = [option for value in values for option in ("-f", str(VALUES / value))]
    command = [str(HELM), "template", "it", chart, "-n", "ark", *given, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def ark(kind: str) -> tuple[dict[str, Any], ...]:
    return rendered(str(VALUES / "ark"), f"ark-{kind}.yaml")


def one(documents: Sequence[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_that_the_chart_writes_are_settings(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ark.yaml"
    file.write_text(one(ark(kind), "ConfigMap", "ark-settings")["data"]["ark.yaml"])
    monkeypatch.setenv("ARK_SETTINGS", str(file))
    settings = Settings(state_dir=tmp_path)
    assert settings.runtime == "kubernetes"
    assert settings.hub_api_url == "http://hub:8081/hub/api"
    assert (settings.kubernetes.namespace, settings.kubernetes.netdisk_claim) == ("ark", "ark-files")
    classes = {d["metadata"]["name"]: d["value"] for d in ark(kind) if d["kind"] == "PriorityClass"}
    rules = settings.kubernetes
    assert classes[rules.priority_class_monthly or ""] > classes[rules.priority_class_payg or ""]


def test_what_the_operator_sets_wins_over_what_the_chart_decides() -> None:
    options = ["--set", "settings.kubernetes.installation=two", "--set", "settings.ssh_port=2200"]
    documents = render(str(VALUES / "ark"), ["ark-single-node.yaml"], options)
    settings = yaml.safe_load(one(documents, "ConfigMap", "ark-settings")["data"]["ark.yaml"])
    assert (settings["ssh_port"], settings["kubernetes"]["installation"]) == (2200, "two")
    policy = one(documents, "NetworkPolicy", "ark-workspaces")
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ark/installation": "two"}


@pytest.mark.parametrize("kind", KINDS)
def test_workspaces_reach_no_private_address(kind: str) -> None:
    """Other workspaces, the database, the nodes, the Kubernetes API and the metadata address are all among these."""
    policy = one(ark(kind), "NetworkPolicy", "ark-workspaces")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    [outside] = [rule["to"] for rule in policy["egress"] if "ports" not in rule]
    assert {block["ipBlock"]["cidr"] for block in outside} == {"0.0.0.0/0", "::/0"}
    for block in outside:
        net = ip_network(block["ipBlock"]["cidr"])
        kept_out = [ip_network(text) for text in block["ipBlock"]["except"]]
        private = ["10.96.0.1", "172.17.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "127.0.0.1", "fd00::1", "fe80::1", "::1"]
        for address in map(ip_address, private):
            assert address.version != net.version or any(address in one for one in kept_out), address
    for rule in policy["egress"]:
        for place in rule["to"]:
            assert "podSelector" not in place or place["podSelector"].get("matchLabels"), "not to every pod"


def test_every_secret_that_a_process_reads_is_made() -> None:
    assert set(SECRETS) | {"admin_password", "ssh_host_key"} == set(one(ark("production"), "Secret", "ark-secrets")["data"])


def test_the_gateways_key_is_one_that_the_gateway_takes_and_the_console_shows(tmp_path: Path) -> None:
    """From a secret that nobody can write to."""
    made = base64.b64decode(one(ark("production"), "Secret", "ark-secrets")["data"]["ssh_host_key"])
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ssh_host_key").write_bytes(made)
    shown = _host_keys(Settings(state_dir=tmp_path))
    assert [line.split()[0] for line in shown] == ["ssh-ed25519"]
    (secrets / "ssh_host_key.pub").symlink_to("/proc/none")  # cannot be written, as in a pod
    assert gateway_key(secrets).export_public_key().decode().split()[:2] == shown[0].split()
    (secrets / "ssh_host_key").write_bytes(asyncssh.import_private_key(made.decode()).export_private_key())
    assert _host_keys(Settings(state_dir=tmp_path)) == shown, "one that the gateway itself made, too"


@pytest.mark.parametrize("kind", KINDS)
def test_the_services_rights_are_few(kind: str) -> None:
    granted = {
        (role["metadata"]["name"], resource): set(rule["verbs"])
        for role in ark(kind)
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for resource in rule["resources"]
    }
    assert granted == {
        ("ark-services", "pods"): {"get", "list", "delete"},
        ("ark-services", "persistentvolumeclaims"): {"get", "list", "patch", "delete"},
        ("ark-services", "networkpolicies"): {"list"},
        ("ark-ark-stock", "nodes"): {"get", "list"},
        ("ark-ark-stock", "pods"): {"get", "list"},
        ("ark-ark-stock", "storageclasses"): {"get", "list"},
        ("ark-ark-stock", "priorityclasses"): {"get", "list"},
        ("ark-hub", "persistentvolumeclaims"): {"patch"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_pod_of_ours_runs_without_privileges(kind: str) -> None:
    for document in ark(kind):
        if document["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}
            assert not any("value" in e and "password" in e["name"].lower() for e in container.get("env", []))


@pytest.mark.parametrize("kind", KINDS)
def test_no_service_is_told_to_pods_under_the_name_of_a_setting(kind: str) -> None:
    """Kubernetes gives every pod of the name space NAME_PORT, NAME_SERVICE_HOST … of each service."""
    names = [d["metadata"]["name"].upper().replace("-", "_") for d in ark(kind) if d["kind"] == "Service"]
    told = {f"{name}_{end}" for name in names for end in ("PORT", "SERVICE_HOST", "SERVICE_PORT")}
    assert not told & {f"ARK_{name.upper()}" for name in Settings.model_fields}


def test_an_installation_without_a_database_is_refused_with_the_remedy() -> None:
    done = subprocess.run([str(HELM), "template", "it", str(VALUES / "ark")], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "database.existingSecret" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_hubs_values_name_what_arks_chart_makes(kind: str) -> None:
    hub = yaml.safe_load((VALUES / "base.yaml").read_text())["hub"]
    made = {(d["kind"], d["metadata"]["name"]) for d in ark(kind)} | {("Secret", "ark-database")}
    for volume in hub["extraVolumes"]:
        for key, of, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            assert key not in volume or (of, volume[key][name]) in made
    images = {container["image"] for container in one(ark(kind), "Deployment", "ark-services")["spec"]["template"]["spec"]["containers"]}
    assert images == {f"{hub['image']['name']}:{hub['image']['tag']}", *(c["image"] for c in hub["initContainers"])}


@needs_hub_chart
@pytest.mark.parametrize("kind", KINDS)
def test_the_hubs_chart_takes_the_values(kind: str, tmp_path: Path) -> None:
    """With the chart's own schema, which refuses a value that it does not know."""
    chart = tmp_path / "chart"
    shutil.copytree(HUB_CHART, chart)
    schema = chart / "values.schema.yaml"
    if schema.exists() and not (chart / "values.schema.json").exists():
        (chart / "values.schema.json").write_text(json.dumps(yaml.safe_load(schema.read_text())))
    documents = render(str(chart), ["base.yaml", f"{kind}.yaml"])
    pod = one(documents, "Deployment", "hub")["spec"]["template"]["spec"]
    assert {"state", "settings", "secrets", "files"} <= {volume["name"] for volume in pod["volumes"]}
    assert not [d for d in documents if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == "singleuser"], "the rules are ours"
    if kind == "production":
        assert "--host-routing" in one(documents, "Deployment", "proxy")["spec"]["template"]["spec"]["containers"][0]["args"]
        assert one(documents, "Ingress", "jupyterhub")["spec"]["tls"]
