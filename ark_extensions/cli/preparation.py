"""What `ark up` makes sure of before it starts anything: directories, settings file, secrets, ports, users, catalogue.

Each is made once and then left alone; a start that was interrupted is completed by the next one.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from ark_extensions.catalogue import install_demo
from ark_extensions.cli.installation import NotSetUp, utc_now
from ark_extensions.environments import PROJECT
from ark_extensions.nodes import discover_nodes
from ark_extensions.settings import Ports, Settings
from ark_extensions.storage import Storage
from ark_extensions.supervisor.words import phrase
from ark_extensions.usecases import users

DIRECTORIES = ("secrets", "logs", "netdisk", "disks", "catalog", "runs", "bin", "runtime")
SECRETS = (
    *("cookie_secret", "proxy_token", "console_token", "netdisk_token"),
    *("billing_token", "autostop_token", "reconcile_token", "ssh_token", "operator_token", "voucher_key"),
)
# below the range from which the kernel takes ports for outgoing connections
PORT_RANGE = (20000, 32000)
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # none that are read as another


def make_directories(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in DIRECTORIES:
        (state_dir / name).mkdir(mode=0o700, exist_ok=True)
    (state_dir / "secrets").chmod(0o700)


def write_settings_file(state_dir: Path) -> None:
    """A file that sets nothing and explains everything."""
    file = state_dir / "ark.yaml"
    if file.exists() or "ARK_SETTINGS" in os.environ:
        return
    lines = ["# Settings of this installation. Everything below is the default: take the # away to change it, then start again.", ""]
    for name, field in Settings.model_fields.items():
        if name in ("state_dir", "cache_dir"):
            continue
        default = field.get_default(call_default_factory=True)
        shown = default.model_dump() if isinstance(default, BaseModel) else default
        lines += [f"# {field.description}", f"# {name}: {json.dumps(shown, ensure_ascii=False)}", ""]
    file.write_text("\n".join(lines))


def make_secrets(state_dir: Path) -> None:
    for name in SECRETS:
        keep_secret(state_dir, name, lambda: secrets.token_hex(32))


def keep_secret(state_dir: Path, name: str, make: Callable[[], str]) -> None:
    """Write a secret that is not there yet, readable by this account only."""
    file = state_dir / "secrets" / name
    if file.exists():
        return
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(make() + "\n")
    draft.rename(file)


def new_password() -> str:
    """Eighteen characters in groups, from 32: 90 bits, and still easy to type."""
    letters = [secrets.choice(ALPHABET) for _ in range(18)]
    return "-".join("".join(letters[start : start + 6]) for start in (0, 6, 12))


def choose_ports(state_dir: Path) -> None:
    """Internal ports, chosen once: a workspace that outlives the Hub calls the next one on the same port."""
    file = state_dir / "ports.json"
    try:
        ports: dict[str, int] = json.loads(file.read_text())
    except (OSError, ValueError):
        ports = {}
    kept = dict(ports)
    for name in Ports.model_fields:
        if name in ports and is_free(ports[name]):
            continue
        if name == "hub" and name in ports and any((state_dir / "runs").iterdir()):
            msgid = "Port {port}, on which running workspaces expect the Hub, is taken by another program: stop that one, then start again."
            raise NotSetUp(phrase(msgid, port=ports[name]))
        ports[name] = _free_port(set(ports.values()))
    if ports != kept:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(ports) + "\n")
        draft.rename(file)


def _free_port(taken: set[int]) -> int:
    for _ in range(1000):
        port = random.randrange(*PORT_RANGE)
        if port not in taken and is_free(port):
            return port
    raise NotSetUp(phrase("No free port was found between {low} and {high}: stop other programs.", low=PORT_RANGE[0], high=PORT_RANGE[1]))


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether this account can listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def make_administrators(storage: Storage, settings: Settings) -> None:
    """The users of the setting, and a generated password for the first where the platform has its own passwords."""
    for name in settings.administrators:
        users.ensure_user(storage, name=name, admin=True, opening_credit_micros=settings.opening_credit_micros, now=utc_now())
    if settings.oauth is not None or not settings.administrators:
        return
    if not (settings.state_dir / "secrets/admin_password").exists():
        password = new_password()
        # in this order: a start that is killed in between makes another one next time, instead of keeping a wrong note
        users.set_password(storage, user=settings.administrators[0], password=password)
        keep_secret(settings.state_dir, "admin_password", lambda: password)
    elif not users.has_password(storage, user=settings.administrators[0]):  # made elsewhere: a cluster's secrets are
        users.set_password(storage, user=settings.administrators[0], password=settings.secret("admin_password"))


def fill_catalogue(storage: Storage, settings: Settings, progress: Callable[[str], None], *, made: Path | None = None) -> None:
    """``made``: where the demo dataset and model are already; else they are made by the environment of workspaces on this machine."""
    install_demo(storage, settings, nodes=discover_nodes(settings), now=utc_now(), progress=progress, made=made)


def write_command(settings: Settings) -> None:
    """DIR/bin/ark: the `ark` command for this installation, from anywhere."""
    file = settings.state_dir / "bin/ark"
    variables = {"ARK_STATE_DIR": settings.state_dir, "ARK_CACHE_DIR": settings.cache_dir, "PYTHONPATH": PROJECT}
    script = (
        "#!/bin/sh\n"
        f"export {' '.join(f'{name}={shlex.quote(str(value))}' for name, value in variables.items())}\n"
        f'exec {shlex.quote(sys.executable)} -m ark_extensions.cli "$@"\n'
    )
    if not file.exists() or file.read_text() != script:
        draft = file.with_suffix(".draft")
        draft.write_text(script)
        draft.chmod(0o755)
        draft.rename(file)
