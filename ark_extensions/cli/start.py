"""`ark up`, `ark down`, `ark status`: the platform as one thing that runs or does not."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import click

from ark_extensions.cli import preparation, processes
from ark_extensions.cli.installation import NotSetUp, installation, load_settings, opened, print_json, state_directory
from ark_extensions.environments import environments
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, migrate
from ark_extensions.storage.schema import schema_age
from ark_extensions.supervisor import lock
from ark_extensions.supervisor.background import report_ready, start_in_background
from ark_extensions.supervisor.supervise import Supervisor
from ark_extensions.supervisor.words import NEWER_DATABASE, phrase
from ark_extensions.usecases import users

SSH_PORT_TAKEN = "Port {port} for SSH is taken by another program: the platform starts without SSH; set another ssh_port in ark.yaml."
BACKGROUND_SECONDS = 120.0
STOP_SECONDS = 120.0


@click.command()
@click.option("--host", help="Address to listen on (setting: host).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port that people open in the browser (setting: port).")
@click.option("--no-sandbox", is_flag=True, help="Run workspaces without bubblewrap: only where everybody is trusted.")
@click.option("--background", is_flag=True, help="Return when the platform answers; `ark down` ends it.")
def up(host: str | None, port: int | None, no_sandbox: bool, background: bool) -> None:
    """Start the platform and keep it running until Ctrl-C."""
    state_dir = state_directory()
    given = {"ARK_HOST": host, "ARK_PORT": port and str(port), "ARK_SANDBOX": "false" if no_sandbox else None}
    os.environ.update({name: value for name, value in given.items() if value})
    if background:
        os.environ["ARK_STATE_DIR"] = str(state_dir)
        command = [sys.executable, "-m", "ark_extensions.cli", "up"]
        log = state_dir / "logs/ark.log"
        raise SystemExit(start_in_background(command, environment=os.environ, log=log, timeout_seconds=BACKGROUND_SECONDS))
    os.umask(0o077)
    preparation.make_directories(state_dir)
    try:
        with lock.hold(state_dir):
            raise SystemExit(_run(state_dir))
    except lock.AlreadyRunning as other:
        address = lock.noted(state_dir).get("address") or f"process {other.pid}"
        sentence = phrase("Ark already runs on {dir} at {address}: stop it with `make down DIR={dir}`.", dir=state_dir, address=address)
        raise NotSetUp(sentence) from None


@click.command()
def down() -> None:
    """Stop the platform, workspaces first, and wait until it has stopped."""
    state_dir = state_directory()
    if lock.holder(state_dir) is None:
        click.echo(phrase("Ark does not run on {dir}.", dir=state_dir))
        return
    if not lock.stop(state_dir, timeout_seconds=STOP_SECONDS):
        log = state_dir / "logs/ark.log"
        raise NotSetUp(phrase("It has not stopped within {seconds} s. Its log: {log}", seconds=int(STOP_SECONDS), log=log))
    click.echo(phrase("Ark has stopped. Workspaces, files and money are kept."))


@click.command()
def prepare() -> None:
    """Bring database, administrators and offers up to date, and end: before services that something else starts, a cluster's say."""
    settings = load_settings(state_directory())
    _migrate(settings)
    with opened(settings) as storage:
        preparation.make_administrators(storage, settings)
        preparation.fill_catalogue(storage, settings, click.echo, made=settings.state_dir / "demo")  # by an image that can


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Say whether the platform runs, where, and as which processes. Status 3: it does not run."""
    settings = installation()
    pid = lock.holder(settings.state_dir)
    facts = lock.noted(settings.state_dir) if pid else {}
    answering = bool(pid) and processes.platform_answers(settings)
    document = {
        "state_dir": str(settings.state_dir),
        "running": pid is not None,
        "answering": answering,
        "pid": pid,
        "address": facts.get("address"),
        "processes": facts.get("processes", {}),
    }
    if as_json:
        print_json(document)
    elif pid is None:
        click.echo(f"Ark does not run on {settings.state_dir}: start it with `make up`.")
    else:
        click.echo(f"Ark runs on {settings.state_dir} at {facts.get('address')} ({'answering' if answering else 'not answering yet'}).")
        for name, number in facts.get("processes", {}).items():
            click.echo(f"  {name}: process {number}")
    raise SystemExit(0 if pid is not None else 3)


def _run(state_dir: Path) -> int:
    began = time.time() - _seconds_since_start()
    preparation.write_settings_file(state_dir)
    preparation.make_secrets(state_dir)
    preparation.choose_ports(state_dir)
    settings = load_settings(state_dir)
    built = environments(settings.cache_dir)
    if not built.proxy_script.exists() or not (built.node_bin / "node").exists():
        raise NotSetUp(phrase("The proxy is not installed yet: `make up` installs what is missing."))
    supervisor = Supervisor(
        state_dir,
        probe=partial(processes.platform_answers, settings),
        on_ready=lambda: _on_ready(supervisor, settings, began),
        on_restart=lambda name: _on_restart(supervisor, settings, name),
        out=partial(print, flush=True),
    )
    supervisor.clear_leftovers()
    if processes.SSH in processes.loops(settings) and not preparation.is_free(settings.ssh_port, settings.ssh_host or settings.host):
        print(phrase(SSH_PORT_TAKEN, port=settings.ssh_port), flush=True)
    _prepare_database(settings)
    preparation.write_command(settings)
    everything = processes.services(settings, built, processes.child_environment(settings))
    supervisor.catch_signals()
    supervisor.expect([everything[name] for name in processes.loops(settings)])
    for name in processes.FIRST:
        supervisor.add(everything[name])
    _note(supervisor, settings, ready=False)
    return supervisor.run(processes.STOP_ORDER)


def _migrate(settings: Settings) -> None:
    """Bring the database to the present form; refuses one that a later version of Ark has migrated."""
    storage = Storage(settings.resolved_database_url)
    try:
        if schema_age(storage) == "newer":
            raise NotSetUp(phrase(NEWER_DATABASE))
    finally:
        storage.close()
    migrate(settings.resolved_database_url)


def _prepare_database(settings: Settings) -> None:
    _migrate(settings)
    storage = Storage(settings.resolved_database_url)
    try:
        preparation.make_administrators(storage, settings)
        preparation.fill_catalogue(storage, settings, lambda what: print(phrase("Preparing: {what} …", what=phrase(what)), flush=True))
    finally:
        storage.close()


def _on_ready(supervisor: Supervisor, settings: Settings, began: float) -> None:
    print()
    print(phrase("Ark is ready: {address}   ({seconds} s)", address=settings.base_url, seconds=f"{time.time() - began:.1f}"))
    for line in _how_to_sign_in(settings):
        print(line)
    print(phrase("It runs until Ctrl-C or `make down`. State: {dir}", dir=settings.state_dir), flush=True)
    _note(supervisor, settings, ready=True)
    report_ready()


def _how_to_sign_in(settings: Settings) -> list[str]:
    if settings.oauth is not None:
        return [phrase("Sign in with your account at {provider}.", provider=settings.oauth.provider)]
    if not settings.administrators:
        return [phrase("No administrator is set: add one with {command}.", command=f"{settings.state_dir}/bin/ark user add NAME --admin")]
    name, password = settings.administrators[0], settings.secret("admin_password")
    storage = Storage(settings.resolved_database_url)
    try:
        unchanged = users.check_password(storage, user=name, password=password)
    finally:
        storage.close()
    if not unchanged:
        return [phrase("Sign in as {name} with the password you chose.", name=name)]
    return [phrase("Sign in as {name} with the password {password}", name=name, password=password)]


def _on_restart(supervisor: Supervisor, settings: Settings, name: str) -> None:
    """A new proxy knows no routes: the Hub tells it."""
    if name == "proxy":
        processes.restore_routes(settings)
    _note(supervisor, settings, ready=True)


def _note(supervisor: Supervisor, settings: Settings, *, ready: bool) -> None:
    facts = {"pid": os.getpid(), "address": settings.base_url, "host": settings.host, "port": settings.port}
    lock.note(settings.state_dir, {**facts, "ready": ready, "processes": supervisor.pids(), "failures": supervisor.failures()})


def _seconds_since_start() -> float:
    """How long this start has taken so far, set-up included."""
    began = os.environ.pop("ARK_BEGAN", None)
    return time.time() - float(began) if began else time.process_time()
