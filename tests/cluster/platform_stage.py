"""A platform on this machine whose workspaces are pods of the test cluster, in a name space of its own."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.conftest import Cluster
from tests.kubernetes import objects
from tests.platform import Platform
from tests.ports import free_port

PORTS = ("hub", "proxy_api", "console", "netdisk")


class ClusterPlatform(Platform):
    """Started with `start()` like any other. Its netdisk and catalogue reach pods as the claim that stands for NFS."""

    def __init__(self, cluster: Cluster, *, settings: Mapping[str, Any] | None = None, kubernetes: Mapping[str, Any] | None = None) -> None:
        self.cluster = cluster
        self.namespace = f"ark-{secrets.token_hex(4)}"
        ports = {name: free_port() for name in PORTS}
        of_cluster = {
            "namespace": self.namespace,
            "kubeconfig": str(cluster.kubeconfig),
            "storage_class": cluster.storage_class,
            # the catalogue's references, as the cluster knows them
            "images": {"workspace": cluster.image("workspace-base"), "pytorch": cluster.image("pytorch")},
            **(kubernetes or {}),
        }
        addresses = {"listen_host": "0.0.0.0", "hub_url": f"http://{cluster.host}:{ports['hub']}", "services_host": cluster.host}
        made = Path(tempfile.mkdtemp(prefix="ark-test-", dir=cluster.shared_files()))
        super().__init__(made, settings={"runtime": "kubernetes", "kubernetes": of_cluster, **addresses, **(settings or {})})
        (self.state_dir / "ports.json").write_text(json.dumps(ports))
        cluster.apply(objects.namespace(self.namespace), *objects.files(self.namespace, self.state_dir))

    def pods(self) -> list[dict[str, Any]]:
        found = self.cluster.get("pods", "-n", self.namespace)
        return list(found["items"]) if found else []

    def claims(self) -> list[dict[str, Any]]:
        """The data disks' claims."""
        found = self.cluster.get("pvc", "-n", self.namespace)
        return [claim for claim in found["items"] if claim["metadata"]["name"] != objects.FILES] if found else []

    def close(self, *, keep_logs: bool = False) -> None:
        """Workspaces outlive their Hub: the name space ends them, before the directories go that they have mounted."""
        if keep_logs:
            self._keep_events()
        try:
            self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=true", "--timeout=90s", seconds=100)
            self.cluster.kubectl("delete", "pv", f"{objects.FILES}-{self.namespace}", "--ignore-not-found", "--wait=false")
        finally:
            super().close(keep_logs=keep_logs)

    def _keep_events(self) -> None:
        """What the cluster says of it, among the logs."""
        logs = self.state_dir / "logs"
        logs.mkdir(exist_ok=True)
        said = self.cluster.kubectl("get", "pods,pvc,events", "-n", self.namespace, "-o", "wide", check=False)
        (logs / "cluster.log").write_text(said)
