"""The parts of a cluster and their settings: pure. Flags that are not obvious say why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.place import API_PORT, STORAGE_CLASS, Machine, Network, Place, first_machine

ETCD = "http://127.0.0.1:2379"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/ark/pause:1"


@dataclass(frozen=True)
class Part:
    """One process. ``after``: what must have answered before it is started (``api``, ``containerd`` or nothing)."""

    name: str
    command: tuple[str, ...]
    after: str = ""


def all_parts(place: Place, network: Network, config: Mapping[str, Any]) -> list[Part]:
    control = Path(config["control"])
    admin = str(place.pki / "admin.kubeconfig")
    disks = _flags({"kubeconfig": admin, "directory": place.disks, "class": STORAGE_CLASS})
    return [
        Part("etcd", (str(control / "etcd"), *_flags(etcd_flags(place)))),
        Part("kube-apiserver", (str(control / "kube-apiserver"), *_flags(apiserver_flags(place, network)))),
        Part("kube-controller-manager", (str(control / "kube-controller-manager"), *_flags(controller_flags(place))), after="api"),
        Part("kube-scheduler", (str(control / "kube-scheduler"), *_flags(scheduler_flags(place))), after="api"),
        Part("disks", (str(control / "disks"), *disks), after="api"),
        *machine_parts(place, network, first_machine(place, network), config),
    ]


def machine_parts(place: Place, network: Network, machine: Machine, config: Mapping[str, Any]) -> list[Part]:
    """What runs on every node."""
    control = Path(config["control"])
    policies = _flags({"kubeconfig": place.pki / "admin.kubeconfig", "node": machine.name, "services": network.services})
    return [
        Part("containerd", (str(Path(config["containerd"]) / "containerd"), "--config", str(machine.config / "containerd.toml"))),
        Part("kubelet", (str(control / "kubelet"), *_flags(kubelet_flags(place, machine))), after="api"),
        Part("kube-proxy", (str(control / "kube-proxy"), "--config", str(machine.config / "kube-proxy.json")), after="api"),
        Part("network-policies", (str(control / "network-policies"), *policies), after="api"),
    ]


def etcd_flags(place: Place) -> dict[str, object]:
    return {
        "data-dir": place.directory / "etcd",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "unsafe-no-fsync": "true",  # a test cluster may forget when the power fails
        "log-level": "warn",
    }


def apiserver_flags(place: Place, network: Network) -> dict[str, object]:
    pki = place.pki
    return {
        "etcd-servers": ETCD,
        "bind-address": "0.0.0.0",
        "secure-port": API_PORT,
        "advertise-address": network.node,
        "service-cluster-ip-range": network.services,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-client-certificate": pki / "apiserver-kubelet.crt",
        "kubelet-client-key": pki / "apiserver-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": pki / "service-accounts.key",
        "service-account-signing-key-file": pki / "service-accounts.key",
    }


def controller_flags(place: Place) -> dict[str, object]:
    pki = place.pki
    return {
        "kubeconfig": pki / "kube-controller-manager.kubeconfig",
        "leader-elect": "false",
        "root-ca-file": pki / "ca.crt",
        "service-account-private-key-file": pki / "service-accounts.key",
        "use-service-account-credentials": "true",
        "pvclaimbinder-sync-period": "1s",  # a claim was bound after 13 s otherwise
        # a lost node is told of, and its pods given up, within the minute that the platform promises
        "node-monitor-period": "2s",
        "node-monitor-grace-period": "16s",
    }


def scheduler_flags(place: Place) -> dict[str, object]:
    return {"kubeconfig": place.pki / "kube-scheduler.kubeconfig", "leader-elect": "false"}


def kubelet_flags(place: Place, machine: Machine) -> dict[str, object]:
    return {
        "config": machine.config / "kubelet.json",
        "kubeconfig": place.pki / f"node-{machine.name}.kubeconfig",
        "hostname-override": machine.name,
        "node-ip": machine.address,
        "root-dir": machine.home / "kubelet",
        "cert-dir": machine.home / "pki/kubelet",
    }


def kubelet_config(place: Place, machine: Machine, nameservers: list[str]) -> dict[str, Any]:
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(place.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{machine.cgroup}",
        "failCgroupV1": False,  # 1.36 refuses cgroup v1 otherwise
        "failSwapOn": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images were imported and cannot be pulled again
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": str(machine.home / "volume-plugins"),
        "resolvConf": "/run/resolv.conf",
        # names are the machine's business; without an address here every pod gets a warning event
        "clusterDNS": nameservers[:1],
        "clusterDomain": "cluster.local",
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 16,
        "maxPods": 250,
        "shutdownGracePeriod": "0s",
    }


def kube_proxy_config(place: Place, network: Network, machine: Machine) -> dict[str, Any]:
    return {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "clientConnection": {"kubeconfig": str(place.pki / "admin.kubeconfig")},
        "mode": "iptables",
        "hostnameOverride": machine.name,
        "clusterCIDR": network.pods,
        # these are the machine's, not the name space's
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def containerd_config(machine: Machine, snapshotter: str) -> str:
    return f"""version = 3
root = "{machine.home}/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "{machine.home}/opt"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "{snapshotter}"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "{machine.config}/registries"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{machine.config}/cni"
"""


def cni_config(machine: Machine, mtu: int) -> str:
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": machine.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
