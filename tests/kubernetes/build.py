"""The cluster's programs: built once from pinned Go modules into the project's cache, the rest from Debian."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ark_extensions.environments import cache_directory, fingerprint
from hub_config.bootstrap import machine
from hub_config.bootstrap.builds import one_at_a_time, unfinished
from hub_config.bootstrap.commands import install_packages
from hub_config.bootstrap.progress import Steps

GO = Path(__file__).resolve().parent / "go"
LOWEST_GO = (1, 26)
#: package → the program whose absence calls for it
PACKAGES = {
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "/usr/sbin/iptables",
    "ipset": "/usr/sbin/ipset",
    "iproute2": "/usr/sbin/ip",
    "conntrack": "/usr/sbin/conntrack",
    "util-linux": "/usr/bin/unshare",
}
#: what the one binary of the control plane is called as
PARTS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    *("certificates", "disks", "network-policies"),
)
CONTAINERD_MODULE = "github.com/containerd/containerd/v2"
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")


@dataclass(frozen=True)
class Programs:
    """Directories of finished programs; one that exists is whole."""

    control: Path
    containerd: Path

    @property
    def path(self) -> str:
        """PATH for the cluster's processes."""
        return f"{self.control}:{self.containerd}:/usr/sbin:/usr/bin:/sbin:/bin"


def programs() -> Programs:
    def place(name: str, module: str, requirement: str) -> Path:
        return cache_directory() / f"{name}-{version(module, requirement)}-{fingerprint(*_sources(module))}"

    return Programs(place("kubernetes", "control", "k8s.io/kubernetes"), place("containerd", "containerd", CONTAINERD_MODULE))


def version(module: str, requirement: str) -> str:
    """What a module of ours pins, for example ``v1.36.3``."""
    found = re.search(rf"{re.escape(requirement)} (v\S+)", (GO / module / "go.mod").read_text())
    if found is None:
        raise ValueError(f"{module}/go.mod does not require {requirement}")
    return found[1]


def missing_packages() -> list[str]:
    return [package for package, program in PACKAGES.items() if not Path(program).exists()]


def problems() -> list[str]:
    """Why this machine cannot have a cluster, as sentences; empty: it can. Nothing is changed."""
    found = []
    if not machine.is_root():
        found.append("a cluster needs root (name spaces, mounts, cgroups)")
    if not Path("/sys/fs/cgroup").is_dir() or not os.access("/sys/fs/cgroup", os.W_OK):
        found.append("cgroups are not to be had")
    if not Path("/dev/kmsg").exists():
        found.append("there is no /dev/kmsg, without which the kubelet does not start")
    built = programs()
    if not (built.control.is_dir() and built.containerd.is_dir()) and go_version() < LOWEST_GO:
        found.append(f"Go {LOWEST_GO[0]}.{LOWEST_GO[1]} or newer is missing, with which Kubernetes is built")
    if (packages := missing_packages()) and not (machine.is_root() and machine.has_apt()):
        found.append(f"these packages are missing: {', '.join(packages)}")
    return found


def go_version() -> tuple[int, int]:
    answer = re.search(r"go(\d+)\.(\d+)", machine.run(["go", "env", "GOVERSION"]).stdout)
    return (int(answer[1]), int(answer[2])) if answer else (0, 0)


def ensure(built: Programs) -> None:
    """Install and build what is missing; raises `StepFailed`."""
    packages = missing_packages()
    to_build = [place for place in (built.control, built.containerd) if not place.is_dir()]
    if not packages and not to_build:
        return
    steps = Steps(bool(packages) + len(to_build), log_dir=cache_directory() / "logs")
    if packages:
        install_packages(packages, steps)
    with one_at_a_time(cache_directory()):
        if not built.control.is_dir():
            steps.begin("Kubernetes from source (10 to 20 minutes, once)")
            with unfinished(built.control) as draft:
                _build_control(draft, steps)
            steps.end()
        if not built.containerd.is_dir():
            steps.begin("containerd from source (2 to 4 minutes, once)")
            with unfinished(built.containerd) as draft:
                _build_containerd(draft, steps)
            steps.end()


def _build_control(draft: Path, steps: Steps) -> None:
    number = version("control", "k8s.io/kubernetes")
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={number} -X k8s.io/client-go/pkg/version.gitVersion={number}"
    _go_build("control", flags, ["-o", str(draft / "ark-kubernetes"), "."], draft, steps)
    _go_build("control", "-s -w", ["-o", str(draft / "pause"), "./pause"], draft, steps)
    for part in PARTS:
        (draft / part).symlink_to("ark-kubernetes")


def _build_containerd(draft: Path, steps: Steps) -> None:
    flags = f"-s -w -X {CONTAINERD_MODULE}/version.Version={version('containerd', CONTAINERD_MODULE)}"
    _go_build("containerd", flags, ["-o", f"{draft}/", *(f"{CONTAINERD_MODULE}/cmd/{name}" for name in CONTAINERD)], draft, steps)


def _go_build(module: str, flags: str, arguments: Sequence[str], draft: Path, steps: Steps) -> None:
    draft.mkdir(exist_ok=True)
    # low priority: a build of many minutes should leave the machine usable
    nice = ["nice", "-n", "5"] if shutil.which("nice") else []
    command = [*nice, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", flags, *arguments]
    steps.run(command, log_name=f"build-{module}", cwd=GO / module, environment={"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"})


def _sources(module: str) -> list[Path]:
    place = GO / module
    return [*sorted(place.rglob("*.go")), place / "go.mod", place / "go.sum"]
