"""Where a cluster's files lie, and which addresses are its own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from ark_extensions.environments import PROJECT

NODE = "ark-node"
#: joins a running cluster when a test asks for it (`tests.kubernetes.second`)
SECOND_NODE = "ark-second-node"
NAMESPACE = "ark"
STORAGE_CLASS = "ark-disks"
API_PORT = 6443
#: the containers' user
UID = 1000
#: hidden inside the cluster's mount name space, so that nothing of it lands in the host's
HIDDEN = ("/run", "/var/lib", "/var/log")


def default_directory() -> Path:
    return PROJECT / ".cluster"


@dataclass(frozen=True)
class Network:
    """The addresses of the ``number``-th cluster on this machine: 10.(200 + number).0.0/16."""

    number: int

    def _address(self, rest: str) -> str:
        return f"10.{200 + self.number}.{rest}"

    @property
    def link(self) -> str:
        """The host's end of the cable."""
        return f"ark-k{self.number}"

    @property
    def host(self) -> str:
        """The host as pods see it."""
        return self._address("0.1")

    @property
    def node(self) -> str:
        """The node, and the API server."""
        return self._address("0.2")

    @property
    def second_cable(self) -> tuple[str, str]:
        """Between the node and the second: the node's end, and the second node's address."""
        return self._address("0.5"), self._address("0.6")

    @property
    def pods(self) -> str:
        """All pods; each node has a half of it."""
        return self._address("16.0/20")

    @property
    def halves(self) -> tuple[str, str]:
        return self._address("16.0/21"), self._address("24.0/21")

    @property
    def services(self) -> str:
        return self._address("32.0/20")

    @property
    def whole(self) -> str:
        return self._address("0.0/16")

    @property
    def cgroup(self) -> str:
        """Under every controller's root."""
        return f"ark-k{self.number}"


@dataclass(frozen=True)
class Place:
    """One cluster's directory."""

    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def bin(self) -> Path:
        """`kubectl` and `ctr` for this cluster."""
        return self.directory / "bin"

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def disks(self) -> Path:
        """The data disks, one directory each."""
        return self.directory / "disks"

    @property
    def shared(self) -> Path:
        """What the claim for netdisk and catalogue holds."""
        return self.directory / "shared"

    def problem(self) -> str:
        """Why this directory cannot hold a cluster; empty: it can."""
        for hidden in HIDDEN:
            if self.directory.is_relative_to(hidden):
                return f"A cluster cannot lie under {hidden}: choose another place with `make cluster DIR=…`."
        return ""


@dataclass(frozen=True)
class Machine:
    """A node: its name and address, its pods' addresses, its cgroup, and the directory of what is its own."""

    name: str
    address: str
    pods: str
    cgroup: str
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "logs"


def first_machine(place: Place, network: Network) -> Machine:
    return Machine(NODE, network.node, network.halves[0], network.cgroup, place.directory)


def second_machine(place: Place, network: Network) -> Machine:
    return Machine(SECOND_NODE, network.second_cable[1], network.halves[1], f"{network.cgroup}/second", place.directory / "second")


@dataclass(frozen=True)
class Running:
    """What is on record of a cluster. ``pid``: its first process, as the host counts; ``began``: that process's start in
    clock ticks, so that another process with the same number is not taken for it."""

    number: int
    pid: int = 0
    began: int = 0
    forwarding_before: str = "1"

    @property
    def network(self) -> Network:
        return Network(self.number)

    @property
    def alive(self) -> bool:
        return self.pid > 0 and started_at(self.pid) == self.began

    def write(self, place: Place) -> None:
        draft = place.state.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        os.replace(draft, place.state)

    @classmethod
    def read(cls, place: Place) -> Running | None:
        try:
            return cls(**json.loads(place.state.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def started_at(pid: int) -> int:
    """When a process began, in clock ticks since the machine did; -1: there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])
