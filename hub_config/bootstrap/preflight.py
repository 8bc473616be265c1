"""Look before changing anything: every problem at once, each a sentence with its remedy.

`examine` asks the machine, `problems` and `packages` decide from what it found; the deciding is what the tests drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ark_extensions.supervisor import lock
from ark_extensions.supervisor.words import DISK_FULL, NO_PYTHON, SANDBOX_PROBLEM, phrase
from hub_config.bootstrap import machine
from hub_config.bootstrap.builds import PINS

FIRST_TIME_GIB = 6.0
FIRST_TIME_PYTORCH_GIB = 14.0
LATER_GIB = 1.0
VSCODE_PACKAGES = ("build-essential", "libkrb5-dev")


@dataclass(frozen=True)
class Request:
    """What the person asked for."""

    state_dir: Path
    cache: Path
    host: str = "127.0.0.1"
    port: int = 8000
    sandbox: bool = True
    vscode: bool = True
    pytorch: bool = False
    starts: bool = True  # False: environments only, nothing will listen


@dataclass(frozen=True)
class Facts:
    """What the machine has. ``free_gib``: (place, free) for each file system that will be written to."""

    root: bool
    apt: bool
    python: Path | None
    uv: bool
    virtual_environments: bool
    bubblewrap: bool
    sandbox_problem: str | None
    missing_packages: tuple[str, ...]
    running_pid: int | None
    running_address: str | None
    port_free: bool
    state_dir_writable: bool
    cache_writable: bool
    free_gib: tuple[tuple[Path, float, float], ...] = field(default=())  # place, free, needed


def examine(request: Request, missing: Sequence[str]) -> Facts:
    """Ask the machine. ``missing``: names of the environments that will be built (see `builds.missing`)."""
    bubblewrap = machine.run(["bwrap", "--version"]).returncode == 0 if request.sandbox else True
    python = machine.workspace_python()
    builds_python = any(name not in PINS for name in missing)
    uv = not builds_python or machine.run(["uv", "--version"]).returncode == 0 or any(request.cache.glob("uv-*/bin/uv"))
    pid = lock.holder(request.state_dir)
    return Facts(
        root=machine.is_root(),
        apt=machine.has_apt(),
        python=python,
        uv=uv,
        virtual_environments=uv or machine.can_make_virtual_environments(python or machine.any_python()),
        bubblewrap=bubblewrap,
        sandbox_problem=machine.sandbox_problem() if request.sandbox and bubblewrap else None,
        missing_packages=_packages_vscode_needs() if request.vscode and "code_server" in missing else (),
        running_pid=pid,
        running_address=str(lock.noted(request.state_dir).get("address", "")) or None if pid else None,
        port_free=not request.starts or pid is not None or machine.port_is_free(request.host, request.port),
        state_dir_writable=not request.starts or machine.is_writable(request.state_dir),
        cache_writable=not missing or machine.is_writable(request.cache),
        free_gib=_space(request, missing),
    )


def problems(request: Request, facts: Facts) -> list[str]:
    """Everything that stands in the way, as sentences; empty: go on."""
    if request.starts and facts.running_pid:
        where = facts.running_address or f"process {facts.running_pid}"
        return [phrase("Ark already runs on {dir} at {address}: stop it with `make down DIR={dir}`.", dir=request.state_dir, address=where)]
    found = _tool_problems(request, facts)
    if not facts.port_free:
        other = request.port + 100 if request.port < 65000 else 8100
        taken = "Port {port} on {host} is taken by another program: choose a free one with `make up PORT={other}`."
        found.append(phrase(taken, port=request.port, host=request.host, other=other))
    for place, writable in ((request.state_dir, facts.state_dir_writable), (request.cache, facts.cache_writable)):
        if not writable:
            unwritable = "{place} cannot be written to: choose another place with `make up {option}…`, or change its owner."
            found.append(phrase(unwritable, place=place, option="DIR=" if place == request.state_dir else "ARK_CACHE="))
    for place, free, needed in facts.free_gib:
        if free < needed:
            found.append(phrase(DISK_FULL, place=place, free=f"{free:.1f}", needed=f"{needed:.0f}"))
    return found


def packages(request: Request, facts: Facts) -> list[str]:
    """The Debian packages that are missing."""
    wanted = []
    if request.sandbox and not facts.bubblewrap:
        wanted.append("bubblewrap")
    if not facts.virtual_environments:
        wanted.append("python3-venv")
    return [*wanted, *facts.missing_packages]


def _tool_problems(request: Request, facts: Facts) -> list[str]:
    found = []
    if facts.python is None and request.sandbox:
        found.append(phrase(NO_PYTHON))
    installs_itself = facts.root and facts.apt
    wanted = packages(request, facts)
    if wanted and not installs_itself:
        command = f"sudo apt-get install -y {' '.join(wanted)}"
        sentence = phrase("These packages are missing: {names}. Install them with `{command}`.", names=", ".join(wanted), command=command)
        without = phrase("VS Code needs them; to start without it: `make up NO_VSCODE=1`.")
        found.append(f"{sentence} {without}" if facts.missing_packages else sentence)
    if facts.sandbox_problem is not None:
        found.append(sandbox_sentence(facts.sandbox_problem))
    return found


def sandbox_sentence(why: str) -> str:
    return phrase(SANDBOX_PROBLEM, why=why)


def _packages_vscode_needs() -> tuple[str, ...]:
    have_compiler = all(machine.run([tool, "--version"]).returncode == 0 for tool in ("make", "g++"))
    have_kerberos = any(Path(header).exists() for header in ("/usr/include/gssapi/gssapi.h", "/usr/include/gssapi.h"))
    return tuple(name for name, there in zip(VSCODE_PACKAGES, (have_compiler, have_kerberos), strict=True) if not there)


def _space(request: Request, missing: Sequence[str]) -> tuple[tuple[Path, float, float], ...]:
    """Each file system once, with the sum of what will be put on it."""
    building = 0.0 if not missing else FIRST_TIME_PYTORCH_GIB if "pytorch" in missing else FIRST_TIME_GIB
    state = LATER_GIB if request.starts else 0.0
    if machine.same_file_system(request.cache, request.state_dir):
        place = request.cache if building else request.state_dir
        return ((place, machine.free_gib(place), max(building, state)),)
    places = [(request.cache, machine.free_gib(request.cache), building), (request.state_dir, machine.free_gib(request.state_dir), state)]
    return tuple(place for place in places if place[2])
