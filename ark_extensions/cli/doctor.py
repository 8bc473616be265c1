"""`ark doctor`: looks at everything an installation stands on, and says what to do about what is wrong. Changes nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from urllib.parse import urlsplit

import click
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from ark_extensions.cli import processes
from ark_extensions.cli.doctor_cluster import cluster
from ark_extensions.cli.finding import Finding
from ark_extensions.cli.installation import installation, opened, print_json
from ark_extensions.cli.limits import missing_controllers
from ark_extensions.environments import environments
from ark_extensions.loop import beat_file
from ark_extensions.nodes import discover_nodes
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, alembic_config
from ark_extensions.supervisor import lock
from ark_extensions.usecases.books import check_books

GIB = 2**30
LOW_GIB = 1.0
# a loop that has not finished a pass for so long hangs
SILENT_SECONDS = 300.0
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
        "local": [_database, _sandbox, _limits, _gpus, _editors, _disk, _running],
        "kubernetes": [_database, cluster, _services],
    }
    return [finding for check in checks[settings.runtime] for finding in check(settings)]


def _database(settings: Settings) -> Iterator[Finding]:
    with opened(settings) as storage:
        try:
            if not _has_present_form(storage):
                yield Finding(
                    "database", "problem", "It has an older form than this version of Ark needs.", "Start the platform once: `make up`."
                )
                return
            yield Finding("database", "ok", "It answers and has the present form.")
            differences = check_books(storage)
        except SQLAlchemyError as failure:
            reason = str(getattr(failure, "orig", failure)).splitlines()[0]
            yield Finding(
                "database", "problem", f"It cannot be read ({reason}).", "Check database_url in ark.yaml, and that the server runs."
            )
            return
    if differences:
        yield Finding("books", "problem", f"{len(differences)} differences.", "See `ark books check`, and report them: this must never be.")
    else:
        yield Finding("books", "ok", "Every balance and charge recomputes to what is kept.")


def _has_present_form(storage: Storage) -> bool:
    head = ScriptDirectory.from_config(alembic_config(storage.url)).get_current_head()
    with storage.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head


def _sandbox(settings: Settings) -> Iterator[Finding]:
    if not settings.sandbox:
        remedy = "Only let people in whom you trust, or set sandbox: true."
        yield Finding("sandbox", "note", "Off: workspaces see this machine and each other.", remedy)
        return
    try:
        answer = subprocess.run(SANDBOX, capture_output=True, text=True, timeout=20, check=False)
        why = "" if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    except FileNotFoundError:
        yield Finding("sandbox", "problem", "bubblewrap is not installed.", "Run `sudo apt-get install -y bubblewrap`.")
        return
    except subprocess.TimeoutExpired:
        why = "it does not end"
    if why:
        remedy = (
            "Allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`."
        )
        yield Finding("sandbox", "problem", f"bubblewrap cannot run ({why}).", remedy)
    else:
        yield Finding("sandbox", "ok", "bubblewrap runs.")


def _limits(settings: Settings) -> Iterator[Finding]:
    missing = missing_controllers()
    if missing:
        sentence = f"Limits of {', '.join(missing)} cannot be enforced here: a workspace can use more than it bought."
        yield Finding("limits", "note", sentence, "Run Ark as root, or in a systemd unit with Delegate=yes.")
    else:
        yield Finding("limits", "ok", "CPU, memory and process limits can be enforced.")


def _gpus(settings: Settings) -> Iterator[Finding]:
    node = discover_nodes(settings)[0]
    models = sorted({model for _, model in node.gpus})
    if models:
        yield Finding("gpus", "ok", f"{len(node.gpus)} found: {', '.join(models)}.")
    else:
        yield Finding("gpus", "note", "No NVIDIA driver answers: CPU offers only.", "With a GPU in the machine: install its driver.")


def _editors(settings: Settings) -> Iterator[Finding]:
    built = environments(settings.cache_dir)
    if not (built.workspace / "bin/python").exists():
        yield Finding("jupyterlab", "problem", "The environment of workspaces is not built.", "Run `make up`.")
    else:
        yield Finding("jupyterlab", "ok", "The environment of workspaces is there.")
    if built.code_server_entry.exists():
        yield Finding("vscode", "ok", "VS Code is there.")
    else:
        yield Finding("vscode", "note", "VS Code is missing: workspaces have JupyterLab only.", "Run `make vscode`.")


def _disk(settings: Settings) -> Iterator[Finding]:
    free_gib = shutil.disk_usage(settings.state_dir).free / GIB
    if free_gib < LOW_GIB:
        remedy = "Free some space: a full disk stops workspaces and the books."
        yield Finding("disk", "problem", f"{free_gib:.1f} GiB are free in {settings.state_dir}.", remedy)
    else:
        yield Finding("disk", "ok", f"{free_gib:.1f} GiB are free in {settings.state_dir}.")


def _services(settings: Settings) -> Iterator[Finding]:
    """Where something else starts the processes: whether they answer where the others look for them."""
    hub = urlsplit(settings.hub_api_url)
    places = [
        ("hub", hub.hostname or "", hub.port or 80, "/hub/health"),
        ("console", settings.services_host, settings.ports.console, "/services/console/health"),
        ("netdisk", settings.services_host, settings.ports.netdisk, "/services/netdisk/health"),
    ]
    for name, host, port, path in places:
        if processes.answers(host, port, path, seconds=5.0):
            yield Finding(name, "ok", f"It answers at {host}:{port}.")
        else:
            yield Finding(name, "problem", f"It does not answer at {host}:{port}.", "Look at its pod's log and events.")


def _gateway(settings: Settings) -> Finding:
    """Whether the SSH gateway greets who connects."""
    try:
        with socket.create_connection(
            (processes.local_address(settings.ssh_host or settings.host), settings.ssh_port), timeout=5.0
        ) as door:
            greets = door.recv(4) == b"SSH-"
    except OSError:
        greets = False
    if greets:
        return Finding(processes.SSH, "ok", f"It answers on port {settings.ssh_port}.")
    return Finding(
        processes.SSH, "problem", f"It does not answer on port {settings.ssh_port}.", f"See {settings.state_dir / 'logs/ssh'}.log."
    )


def _running(settings: Settings) -> Iterator[Finding]:
    if lock.holder(settings.state_dir) is None:
        yield Finding("services", "note", "The platform does not run.", "Start it with `make up`.")
        return
    log = settings.state_dir / "logs"
    for name, port, path in (
        ("hub", settings.ports.hub, "/hub/health"),
        ("console", settings.ports.console, "/services/console/health"),
        ("netdisk", settings.ports.netdisk, "/services/netdisk/health"),
        ("proxy", settings.port, "/hub/health"),
    ):
        if processes.answers(settings.host if name == "proxy" else "127.0.0.1", port, path, seconds=5.0):
            yield Finding(name, "ok", f"It answers on port {port}.")
        else:
            yield Finding(name, "problem", f"It does not answer on port {port}.", f"See {log / name}.log.")
    if processes.SSH in processes.loops(settings):
        yield _gateway(settings)
    for name in ("netdisk", *processes.loops(settings)):
        beat = beat_file(settings.state_dir, name)
        silent = time.time() - beat.stat().st_mtime if beat.exists() else None
        if silent is not None and silent < SILENT_SECONDS:
            yield Finding(name, "ok", f"Its last pass ended {int(silent)} s ago.")
        else:
            yield Finding(name, "problem", "It has not finished a pass for five minutes.", f"See {log / name}.log.")
