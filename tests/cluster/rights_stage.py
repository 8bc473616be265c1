"""The cluster's API with exactly the rights that the chart grants to Ark's services."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ark_extensions.cluster_api import Access, ClusterApi, from_kubeconfig
from tests.cluster.conftest import Cluster
from tests.kubernetes import objects

CHART = Path(__file__).resolve().parents[2] / "helm-values/ark"
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def from_chart(namespace: str, kinds: set[str], *options: str) -> list[dict[str, Any]]:
    helm = Path(sys.executable).parent / "helm"
    command = [str(helm), "template", "it", str(CHART), "-n", namespace, "--set", "database.internal.enabled=true", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [document for document in yaml.safe_load_all(done.stdout) if document and document["kind"] in kinds]


@contextmanager
def granted(cluster: Cluster, namespace: str) -> Iterator[tuple[Cluster, ClusterApi]]:
    """A name space of its own, and the API as the service account `ark-services` of it."""
    here = replace(cluster, namespace=namespace)
    rights = from_chart(namespace, RIGHTS)
    here.apply(objects.namespace(namespace))
    here.kubectl("apply", "-n", namespace, "-f", "-", given=yaml.safe_dump_all(rights))
    try:
        token = here.kubectl("create", "token", "ark-services", "-n", namespace).strip()
        # the kubeconfig's own certificate stays out: the token alone speaks
        admin = from_kubeconfig(cluster.kubeconfig)
        assert admin.tls is not None
        tls = ssl.create_default_context(cadata="".join(map(ssl.DER_cert_to_PEM_cert, admin.tls.get_ca_certs(binary_form=True))))
        yield here, ClusterApi(Access(admin.server, tls, lambda: token))
    finally:
        here.kubectl("delete", "-n", namespace, "-f", "-", "--ignore-not-found", given=yaml.safe_dump_all(rights))
        here.kubectl("delete", "namespace", namespace, "--wait=true", seconds=120)
