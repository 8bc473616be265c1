"""One workspace's life on a real platform, from order to release: an operator reads each step of it by its id, in the logs and on
record, and finds no secret that was used on the way: not in a command line, a log, an event, a workspace, or in the clear in a database.

The platform is on PostgreSQL where there is one, with a password in the address, keys of payment and webhook, and SSH.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from ark_extensions.cli import preparation
from tests import postgresql
from tests.integration.crash_stage import PATIENCE, Someone
from tests.integration.ssh_stage import can_run
from tests.integration.test_signin import Browser
from tests.integration.test_ssh_platform import Laptop
from tests.platform import Platform, wait_until
from tests.ports import free_port

DATABASE_PASSWORD = "a-password-of-the-database-9f2c"
KEYS = {
    "stripe_secret_key": "sk_test_1a2b3c4d5e6f7g8h9i0j",
    "stripe_webhook_secret": "whsec_0f9e8d7c6b5a4f3e2d1c",
    "webhook_secret": "the-webhooks-own-secret-77aa",
    "smtp_password": "the-mail-servers-password-31bc",
}


@dataclass
class Life:
    """What was seen on the way. ``secrets``: what it is → its text."""

    platform: Platform
    workspace_id: str
    secrets: dict[str, str]
    command_lines: set[str] = field(default_factory=set)
    environments: dict[int, dict[str, str]] = field(default_factory=dict)
    dump: bytes = b""


@pytest.fixture(scope="module")
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    settings = {
        "settle_interval_seconds": 1,
        "payments": {"providers": ["stripe"]},
        "webhook_url": f"http://127.0.0.1:{free_port()}/",
        "mail": {"host": "127.0.0.1", "port": free_port(), "sender": "ark@example.org", "user": "ark"},
    }
    with ExitStack() as stack:
        server = None if postgresql.missing() else stack.enter_context(postgresql.server())
        if server is not None:  # it trusts everybody on its socket: the password is only to be looked for
            settings["database_url"] = server.database().replace("@/", f":{DATABASE_PASSWORD}@/")
        platform = Platform(settings=settings)
        stack.callback(lambda: platform.close(keep_logs=request.session.testsfailed > 0))
        (platform.state_dir / "secrets").mkdir(mode=0o700)
        for name, key in KEYS.items():
            (platform.state_dir / "secrets" / name).write_text(key + "\n")
        platform.start()
        yield live(platform, tmp_path_factory.mktemp("laptop"), server)


def live(platform: Platform, directory: Path, server: postgresql.Server | None) -> Life:
    someone = Someone(platform, "lives-once")
    password = platform.add_user(someone.name)
    browser = Browser(platform)
    browser.sign_in(someone.name, password)
    browser.go("GET", "/services/console/")
    someone.api("PATCH", "/me", {"email": "once@example.org"})
    codes = platform.ark("voucher", "make", "20", "--count", "2", "--reason", "a test").stdout.split()
    someone.api("POST", "/wallet/vouchers", {"code": codes[0]})
    # what the netdisk's page asks of the Hub in the user's name
    operator = (platform.state_dir / "secrets/operator_token").read_text().strip()
    wanted = {"note": "netdisk: rclone", "scopes": ["access:services!service=netdisk"]}
    made = platform.request("POST", f"/hub/api/users/{someone.name}/tokens", wanted, token=operator)
    assert made.status == 201, made.text
    assert platform.request("GET", "/services/netdisk/api/v1/usage", token=made.json["token"]).status == 200, platform.logs()
    someone.running("once", datasets=["digits"])
    workspace = someone.api("GET", "/workspaces/once")
    laptop = Laptop(someone, directory)
    if can_run():
        laptop.make_key()
        laptop.fetch()
        assert laptop.ssh("once", "echo here").stdout == "here\n"
    found = Life(platform, workspace["id"], {})
    found.command_lines, found.environments = command_lines(someone), environments(someone)
    while_it_ran = dump(platform, server)
    found.secrets = {
        **{
            f"the file {file.name}": file.read_text().strip()
            for file in (platform.state_dir / "secrets").iterdir()
            if file.suffix != ".pub"
        },
        "the user's password": password,
        "the user's token": platform.token(someone.name),
        **{f"voucher {number}": code for number, code in enumerate(codes)},
        "the netdisk token": made.json["token"],
        **{f"the workspace's {name}": value for env in found.environments.values() for name, value in env.items() if "TOKEN" in name},
        **{f"the cookie {name}": value for name, value in browser.cookies.items() if len(value) > 40},
        **({"the database's password": DATABASE_PASSWORD} if server else {}),
    }
    wait_until(lambda: someone.api("GET", "/bills")["items"], seconds=PATIENCE)  # it was charged while it ran
    someone.api("POST", "/workspaces/once/stop")
    someone.wait_for("stopped", name="once")
    assert platform.api("DELETE", "/workspaces/once", {"confirm": "once"}, user=someone.name).status < 300
    found.dump = while_it_ran + dump(platform, server)
    return found


def command_lines(someone: Someone) -> set[str]:
    """Of the platform's processes and the workspace's: everybody on the machine can read them."""
    found = set()
    for pid in {*someone.platform.processes(), *someone.processes("once")}:
        try:
            found.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def environments(someone: Someone) -> dict[int, dict[str, str]]:
    """What the processes of the workspace know, by process id."""
    found = {}
    for pid in someone.processes("once"):
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found[pid] = dict(item.decode(errors="replace").split("=", 1) for item in raw if b"=" in item)
    return found


def dump(platform: Platform, server: postgresql.Server | None) -> bytes:
    """Everything that is in both databases."""
    files = [platform.state_dir / "jupyterhub.sqlite", *([] if server else [platform.state_dir / "ark.sqlite"])]
    parts = []
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            parts += [line.encode() for line in connection.iterdump()]
    if server is not None:
        name = json.loads((platform.state_dir / "ark.yaml").read_text())["database_url"].partition("@/")[2].partition("?")[0]
        parts.append(server.run("pg_dump", "-h", str(server._directory), "-U", server._user, "--inserts", name).stdout)
    return b"\n".join(parts)


def test_every_step_of_it_is_told_by_its_id_in_order(life: Life) -> None:
    lines = [json.loads(line) for line in life.platform.ark("logs", life.workspace_id, "--json").stdout.splitlines()]
    times = [datetime.fromisoformat(line["at"]) for line in lines]
    assert times == sorted(times)
    steps = [line["text"].split(":")[0] for line in lines if line["source"] in ("order", "event", "run", "bill", "ssh")]
    expected = ["placed", "ordered", "starting", "running", "metered from", "stopping", "stopped", "charged", "released"]
    at = [steps.index(step) for step in expected]
    assert at == sorted(at), steps
    assert "charge_compute" in steps and "metered until" in steps
    assert not can_run() or {"session begins", "session ended"} <= set(steps)
    gate = next(line["text"] for line in lines if line["text"].startswith("starting: "))
    assert re.search(r"launch_id=\w{32}", gate) and "node=" in gate, "what was authorized, and where it is held"
    by_name = life.platform.ark("logs", "lives-once/once", "--json").stdout.splitlines()
    assert len(by_name) == len(lines)
    assert life.platform.ark("logs", "lives-once/never", check=False).returncode == 1


def test_the_processes_logs_alone_tell_it_too(life: Life) -> None:
    """What a collector of logs has of it, without the database: one word to look for."""
    told: dict[str, list[str]] = {}
    for log in (life.platform.state_dir / "logs").glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            if (match := re.match(rf"\S+ \w+ (ssh: session=\w+ )?workspace={life.workspace_id} event=(\w+)", line)) is not None:
                told.setdefault(log.stem, []).append(match[2])
            elif f"workspace={life.workspace_id} " in line:
                told.setdefault(log.stem, []).append("session")
    assert told["hub"] == ["starting", "running", "stopped", "charged"]
    assert told["console"] == ["ordered", "stopping", "released"]
    assert not can_run() or told["ssh"] == ["session", "session"]


def test_no_secret_is_on_a_command_line(life: Life) -> None:
    assert not [(what, line[:80]) for what, secret in life.secrets.items() for line in life.command_lines if secret in line]
    assert any("jupyterhub-singleuser" in line for line in life.command_lines), "the workspace's were looked at, too"


def test_no_secret_is_in_a_log(life: Life) -> None:
    logs = {file.name: file.read_text(errors="replace") for file in (life.platform.state_dir / "logs").iterdir()}
    found = {(what, name) for what, secret in life.secrets.items() for name, text in logs.items() if secret in text}
    # `make up` prints it at each start until it is changed, and a start in the background prints it there
    assert found <= {("the file admin_password", "ark.log")}


def test_no_secret_is_in_the_clear_in_a_database(life: Life) -> None:
    assert b"lives-once" in life.dump and life.workspace_id.encode() in life.dump, "this is what the databases hold"
    assert not [what for what, secret in life.secrets.items() if secret.encode() in life.dump]
    assert b"PRIVATE KEY" not in life.dump


def test_a_workspace_knows_its_own_token_and_no_other_secret(life: Life) -> None:
    theirs = {name: secret for name, secret in life.secrets.items() if not name.startswith("the workspace's ")}
    for environment in life.environments.values():
        assert not [(what, name) for what, secret in theirs.items() for name, value in environment.items() if secret in value]
        assert not {name for name in environment if name.startswith("ARK_")} & {f"ARK_{name.upper()}" for name in preparation.SECRETS}


def test_secrets_are_files_of_this_account_only(life: Life) -> None:
    for file in (life.platform.state_dir / "secrets").iterdir():
        if file.suffix != ".pub" and file.name not in KEYS:
            assert file.stat().st_mode & 0o077 == 0 and file.stat().st_uid == os.geteuid(), file.name
    listed = subprocess.run(["ls", "-ld", life.platform.state_dir / "secrets"], capture_output=True, text=True, check=True).stdout
    assert listed.startswith("drwx------")
