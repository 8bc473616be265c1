"""`ark doctor`: looks at everything an installation stands on, and says what to do about what is wrong. Changes nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from urllib.parse import urlsplit

import click

from ark_extensions.cli import processes
from ark_extensions.cli.doctor_cluster import cluster
from ark_extensions.cli.doctor_records import records
from ark_extensions.cli.finding import Finding
from ark_extensions.cli.installation import installation, print_json
from ark_extensions.environments import environments
from ark_extensions.loop import beat_file
from ark_extensions.nodes import discover_nodes
from ark_extensions.settings import Settings
from ark_extensions.supervisor import lock
from ark_extensions.supervisor.children import STEADY_SECONDS, age_seconds
from ark_extensions.supervisor.words import phrase
from ark_spawner.cgroups import missing_controllers

GIB = 2**30
LOW_GIB = 1.0
LOW_FILES = 10_000
# a loop that has not finished a pass for so long hangs
SILENT_SECONDS = 300.0
# so many ends in a row, each soon after the start, are no accident
OFTEN = 3
ALLOW = "sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
SANDBOX = (
    "bwrap --unshare-user --uid 1000 --gid 1000 --unshare-pid --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 "
    "--proc /proc --dev /dev -- /usr/bin/true"
).split()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation and the machine. Status 1: there is a problem."""
    settings = installation()
    findings = examine(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": "✓", "note": "·", "problem": "✗"}[finding.state]
            click.echo(f"{mark} {finding.name}: {finding.sentence}" + (f" {finding.remedy}" if finding.remedy else ""))
    raise SystemExit(1 if any(finding.state == "problem" for finding in findings) else 0)


def examine(settings: Settings) -> list[Finding]:
    checks: dict[str, list[Callable[[Settings], Iterator[Finding]]]] = {
        "local": [_local_records, _sandbox, _limits, _gpus, _editors, _disk, _running],
        "kubernetes": [partial(records, runs=True), cluster, _services],
    }
    return [finding for check in checks[settings.runtime] for finding in check(settings)]


def _local_records(settings: Settings) -> Iterator[Finding]:
    yield from records(settings, runs=lock.holder(settings.state_dir) is not None)


def _sandbox(settings: Settings) -> Iterator[Finding]:
    if not settings.sandbox:
        remedy = phrase("Only let people in whom you trust, or set sandbox: true.")
        yield Finding("sandbox", "note", phrase("Off: workspaces see this machine and each other."), remedy)
        return
    try:
        answer = subprocess.run(SANDBOX, capture_output=True, text=True, timeout=20, check=False)
        why = "" if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["?"])[-1]
    except FileNotFoundError:
        yield Finding("sandbox", "problem", phrase("bubblewrap is not installed."), phrase("Run `sudo apt-get install -y bubblewrap`."))
        return
    except subprocess.TimeoutExpired:
        why = "it does not end"
    if why:
        remedy = phrase("Allow user namespaces: `{command}`.", command=ALLOW)
        yield Finding("sandbox", "problem", phrase("bubblewrap cannot run ({why}).", why=why), remedy)
    else:
        yield Finding("sandbox", "ok", phrase("bubblewrap runs."))


def _limits(settings: Settings) -> Iterator[Finding]:
    missing = missing_controllers()
    if missing:
        sentence = phrase("Limits of {names} cannot be enforced here: a workspace can use more than it bought.", names=", ".join(missing))
        yield Finding("limits", "note", sentence, phrase("Run Ark as root, or in a systemd unit with Delegate=yes."))
    else:
        yield Finding("limits", "ok", phrase("CPU, memory and process limits can be enforced."))


def _gpus(settings: Settings) -> Iterator[Finding]:
    node = discover_nodes(settings)[0]
    models = sorted({model for _, model in node.gpus})
    if models:
        yield Finding("gpus", "ok", phrase("{count} found: {models}.", count=len(node.gpus), models=", ".join(models)))
    else:
        yield Finding(
            "gpus", "note", phrase("No NVIDIA driver answers: CPU offers only."), phrase("With a GPU in the machine: install its driver.")
        )


def _editors(settings: Settings) -> Iterator[Finding]:
    built = environments(settings.cache_dir)
    if not (built.workspace / "bin/python").exists():
        yield Finding("jupyterlab", "problem", phrase("The environment of workspaces is not built."), phrase("Run `make up`."))
    else:
        yield Finding("jupyterlab", "ok", phrase("The environment of workspaces is there."))
    if built.code_server_entry.exists():
        yield Finding("vscode", "ok", phrase("VS Code is there."))
    else:
        yield Finding("vscode", "note", phrase("VS Code is missing: workspaces have JupyterLab only."), phrase("Run `make vscode`."))


def _disk(settings: Settings) -> Iterator[Finding]:
    place = os.statvfs(settings.state_dir)
    free_gib, files = place.f_bavail * place.f_frsize / GIB, place.f_favail
    sentence = phrase("{gib} GiB are free in {path}.", gib=f"{free_gib:.1f}", path=settings.state_dir)
    remedy = phrase(
        "Free some space: a full disk stops workspaces and the books. `du -sh {path}/*` says who has it.", path=settings.state_dir
    )
    if free_gib < LOW_GIB:
        yield Finding("disk", "problem", sentence, remedy)
    elif place.f_files and files < LOW_FILES:
        yield Finding("disk", "problem", phrase("Only {files} more files fit in {path}.", files=files, path=settings.state_dir), remedy)
    else:
        yield Finding("disk", "ok", sentence)


def _answer(name: str, host: str, port: int, path: str, remedy: str) -> Finding:
    if processes.answers(host, port, path, seconds=5.0):
        return Finding(name, "ok", phrase("It answers at {place}.", place=f"{host}:{port}"))
    return Finding(name, "problem", phrase("It does not answer at {place}.", place=f"{host}:{port}"), remedy)


def _services(settings: Settings) -> Iterator[Finding]:
    """Where something else starts the processes: whether they answer where the others look for them."""
    hub = urlsplit(settings.hub_api_url)
    for name, host, port, path in (
        ("hub", hub.hostname or "", hub.port or 80, "/hub/health"),
        ("console", settings.services_host, settings.ports.console, "/services/console/health"),
        ("netdisk", settings.services_host, settings.ports.netdisk, "/services/netdisk/health"),
    ):
        yield _answer(name, host, port, path, phrase("Look at its pod's log and events."))


def _running(settings: Settings) -> Iterator[Finding]:
    if lock.holder(settings.state_dir) is None:
        yield Finding("services", "note", phrase("The platform does not run."), phrase("Start it with `make up`."))
        return
    local = "127.0.0.1"
    for name, host, port, path in (
        ("hub", local, settings.ports.hub, "/hub/health"),
        ("console", local, settings.ports.console, "/services/console/health"),
        ("netdisk", local, settings.ports.netdisk, "/services/netdisk/health"),
        ("proxy", settings.host, settings.port, "/hub/health"),
    ):
        yield _answer(name, host, port, path, _see_log(settings, name))
    if processes.SSH in processes.loops(settings):
        yield _gateway(settings)
    noted = lock.noted(settings.state_dir)
    for name in ("netdisk", *processes.loops(settings)):
        yield _alive(settings, name, noted.get("processes", {}).get(name), noted.get("failures", {}).get(name, 0))


def _alive(settings: Settings, name: str, pid: int | None, failures: int = 0) -> Finding:
    """Whether a service has a process, and whether that has done its work lately."""
    beat = beat_file(settings.state_dir, name)
    silent = time.time() - beat.stat().st_mtime if beat.exists() else None
    age = age_seconds(pid) if pid is not None else None
    if age is None or (failures >= OFTEN and age < STEADY_SECONDS):
        return Finding(name, "problem", phrase("It ends as often as it is started."), _see_log(settings, name))
    if silent is not None and silent < SILENT_SECONDS:
        return Finding(name, "ok", phrase("Its last pass ended {seconds} s ago.", seconds=int(silent)))
    return Finding(name, "problem", phrase("It has not finished a pass for five minutes."), _see_log(settings, name))


def _gateway(settings: Settings) -> Finding:
    """Whether the SSH gateway greets who connects, and is ours: another installation's may have the port."""
    place = (processes.local_address(settings.ssh_host or settings.host), settings.ssh_port)
    try:
        with socket.create_connection(place, timeout=5.0) as door:
            greets = door.recv(4) == b"SSH-"
    except OSError:
        greets = False
    if not greets:
        return Finding(
            processes.SSH, "problem", phrase("It does not answer at {place}.", place=f"{place[0]}:{place[1]}"), _see_log(settings, "ssh")
        )
    pid = lock.noted(settings.state_dir).get("processes", {}).get(processes.SSH)
    if pid is not None and not _listens(pid, settings.ssh_port):
        sentence = phrase("Another program answers at {place}.", place=f"{place[0]}:{place[1]}")
        return Finding(processes.SSH, "problem", sentence, phrase("Set another ssh_port in ark.yaml, and start the platform again."))
    return Finding(processes.SSH, "ok", phrase("It answers at {place}.", place=f"{place[0]}:{place[1]}"))


def _listens(pid: int, port: int) -> bool:
    """Whether a process of this account has a socket that listens on the port; True when nobody can say."""
    wanted = f":{port:04X}"
    try:
        held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        rows = [line.split() for name in ("tcp", "tcp6") for line in _lines(f"/proc/{pid}/net/{name}")]
    except OSError:
        return True
    return any(row[1].endswith(wanted) and row[3] == "0A" and f"socket:[{row[9]}]" in held for row in rows if len(row) > 9)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except FileNotFoundError:
        return []


def _see_log(settings: Settings, name: str) -> str:
    return phrase("See {log}.", log=f"{settings.state_dir / 'logs' / name}.log")
