"""What the tests of the console and of the Hub's client stand on: a real JupyterHub with a toy spawner (no proxy), and the
console as its own process on a fresh database. Started once for a test run; a test brings its own users.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from ark_extensions.domain.offers import Node
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import market, users
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
ADMIN = "root-admin"
CREDIT = 100_000_000
CATALOG: dict[str, Any] = {
    "offers": [
        {
            "id": "cpu-1",
            "name": "1 vCPU",
            "plan": "payg",
            "vcpu": 1,
            "memory_mib": 512,
            "system_disk_gib": 5,
            "price": "0.50",
            "per": "hour",
        },
        {
            "id": "cpu-4",
            "name": "4 vCPU",
            "plan": "payg",
            "vcpu": 4,
            "memory_mib": 2048,
            "system_disk_gib": 5,
            "price": "2.00",
            "per": "hour",
        },
        {
            "id": "dear",
            "name": "Dear",
            "plan": "payg",
            "vcpu": 1,
            "memory_mib": 512,
            "system_disk_gib": 5,
            "price": "999.00",
            "per": "hour",
        },
        {
            "id": "huge",
            "name": "Huge",
            "plan": "payg",
            "vcpu": 100000,
            "memory_mib": 512,
            "system_disk_gib": 5,
            "price": "1",
            "per": "hour",
        },
        {
            "id": "going",
            "name": "Going",
            "plan": "payg",
            "vcpu": 1,
            "memory_mib": 512,
            "system_disk_gib": 5,
            "price": "0.50",
            "per": "hour",
        },
    ],
    "images": [
        {"id": "python-cpu", "name": "Python", "reference": "toy", "framework": "python"},
        {"id": "going", "name": "Going", "reference": "toy"},
    ],
    "disks": [{"size_gib": 200, "price": "1.20"}, {"size_gib": 500, "price": "3.00"}],
}

#: ways to pay in that need no server of others to be begun or to be heard of
PAYMENTS = {"providers": ["manual", "stripe"], "manual_instructions": "Account 123"}
WEBHOOK_SECRET = "whsec_test_only"

HUB_CONFIG = """
import os, sys
sys.path.insert(0, os.environ["STAGE_ROOT"])
from tests.toy_hub import NoProxy, ToySpawner
c = get_config()  # noqa
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.Authenticator.admin_users = {"root-admin"}
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.spawner_class = ToySpawner
c.JupyterHub.bind_url = "http://127.0.0.1:" + os.environ["STAGE_PUBLIC_PORT"]
c.JupyterHub.hub_bind_url = "http://127.0.0.1:" + os.environ["STAGE_HUB_PORT"]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = os.path.abspath("hub_cookie_secret")
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 2}
c.JupyterHub.log_level = "WARN"
c.Spawner.consecutive_failure_limit = 0
c.Spawner.server_token_scopes = ["access:servers!server", "users:activity!user", "access:services!service=console"]
c.JupyterHub.custom_scopes = {"custom:ark:account": {"description": "act as the whole account"}}
own = ["self", "custom:ark:account", "access:services!service=console", "access:services!service=other"]
c.JupyterHub.services = [
    {"name": "console", "api_token": os.environ["STAGE_CONSOLE_TOKEN"], "url": "http://127.0.0.1:" + os.environ["STAGE_CONSOLE_PORT"],
     "oauth_client_allowed_scopes": ["self", "custom:ark:account", "access:services!service=console"], "oauth_no_confirm": True},
    {"name": "other", "api_token": os.environ["STAGE_OTHER_TOKEN"]},
    {"name": "setup", "api_token": os.environ["STAGE_SETUP_TOKEN"]},
]
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": own},
    {"name": "console", "services": ["console"], "scopes": ["delete:servers"]},
    {"name": "other", "services": ["other"], "scopes": ["access:services!service=console", "read:users", "servers"]},
    {"name": "setup", "services": ["setup"], "scopes": ["admin:users", "tokens", "admin:servers"]},
]
"""


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def field(self) -> str | None:
        found: str | None = self.json["error"]["field"]
        return found


def ask(
    port: int, method: str, path: str, *, body: Any = None, raw: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on its own connection. ``body`` goes as JSON, ``raw`` as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection.request(method, path, body=data, headers={"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return Answer(
            response.status, {k.title(): v for k, v in response.getheaders()}, response.read(), response.headers.get_all("Set-Cookie") or []
        )
    finally:
        connection.close()


def until(check: Any, *, seconds: float = 60.0, every: float = 0.05) -> Any:
    """Poll until ``check()`` is true; fails with what it last answered."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {found!r}"
        time.sleep(every)


@dataclass
class Stage:
    """The running Hub and console. Tokens by who holds them; ``api`` calls the console's API."""

    hub_port: int
    console_port: int
    directory: Path
    settings: Settings
    storage: Storage
    tokens: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def hub(self, method: str, path: str, *, token: str | None = None, body: Any = None) -> Answer:
        headers = {"Authorization": f"token {token or self.tokens['setup']}"}
        return ask(self.hub_port, method, f"/hub/api{path}", body=body, headers=headers)

    def api(self, method: str, path: str, *, token: str | None = None, **rest: Any) -> Answer:
        headers = {"Accept-Language": "en", **rest.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"token {token}"
        return ask(self.console_port, method, f"/services/console/api/v1{path}", headers=headers, **rest)

    def user(self, name: str, *, credit_micros: int = CREDIT) -> str:
        """Make a user known to the Hub and the platform; returns a token of their whole account."""
        if name not in self.tokens:
            self.hub("POST", f"/users/{quote(name)}", body={"admin": name == ADMIN})
            self.tokens[name] = self.token(name)
            users.ensure_user(self.storage, name=name, admin=name == ADMIN, opening_credit_micros=credit_micros, now=datetime.now(UTC))
        return self.tokens[name]

    def token(self, name: str, *, scopes: list[str] | None = None, expires_in: int = 3600) -> str:
        answer = self.hub("POST", f"/users/{quote(name)}/tokens", body={"expires_in": expires_in, **({"scopes": scopes} if scopes else {})})
        assert answer.status == 201, answer.body
        return str(answer.json["token"])

    def server_token(self, user: str, name: str) -> str:
        """The own token of a workspace that was ordered: the toy spawner leaves what the server was given."""
        path = self.directory / "server-tokens" / f"{user}--{name}"
        until(path.exists)
        until(lambda: self.api("GET", f"/workspaces/{name}", token=self.user(user)).json["state"] == "running")
        return path.read_text()

    def state(self, user: str, name: str) -> str:
        return str(self.api("GET", f"/workspaces/{name}", token=self.user(user)).json["state"])

    def order(self, user: str, **changes: Any) -> Answer:
        body = {"request_id": f"r-{time.monotonic_ns()}", "offer": "cpu-1", "image": "python-cpu", **changes}
        return self.api("POST", "/workspaces", token=self.user(user), body={k: v for k, v in body.items() if v is not ...})

    def start_console(self) -> None:
        environment = {**os.environ, "ARK_STATE_DIR": str(self.directory / "state"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "ark_extensions.console"]
        with (self.directory / "console.log").open("ab") as log:
            self.processes["console"] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.directory)

    def console_answers(self) -> bool:
        try:
            return ask(self.console_port, "GET", "/services/console/health").status == 200
        except OSError:
            return False


def _state(directory: Path, ports: dict[str, int], secrets: dict[str, str], more: Mapping[str, Any] | None = None) -> Settings:
    state = directory / "state"
    (state / "secrets").mkdir(parents=True)
    keys = {"stripe_secret_key": "sk_test_only", "stripe_webhook_secret": WEBHOOK_SECRET, "voucher_key": "v" * 64}
    for name, value in {**keys, **secrets}.items():
        (state / "secrets" / name).write_text(value)
    text: dict[str, Any] = {"state_dir": str(state), "language": "en", "administrators": [ADMIN], "ports": ports, "payments": PAYMENTS}
    text |= more or {}
    (state / "ark.yaml").write_text(json.dumps(text))  # JSON is YAML
    return Settings(**text)


def _fill(storage: Storage) -> None:
    now = datetime.now(UTC)
    market.set_nodes(storage, nodes=[Node("toy", 64, 65_536)])
    market.seed_catalog(storage, catalog=CATALOG, now=now)
    for kind, name in (("dataset", "digits"), ("dataset", "going"), ("model", "digits-mlp")):
        market.add_item_version(
            storage,
            kind=kind,
            name=name,
            title=name,
            description="",
            license="BSD",
            content_hash=name,
            size_bytes=10,
            file_count=1,
            now=now,
        )


def _start_hub(stage: Stage, more: str) -> None:
    (stage.directory / "hub_config_of_stage.py").write_text(HUB_CONFIG + more)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ARK_STATE_DIR": str(stage.directory / "state"),
        "STAGE_ROOT": str(ROOT),
        "STAGE_PUBLIC_PORT": str(free_port()),
        "STAGE_HUB_PORT": str(stage.hub_port),
        "STAGE_CONSOLE_PORT": str(stage.console_port),
        "STAGE_CONSOLE_TOKEN": stage.tokens["console"],
        "STAGE_OTHER_TOKEN": stage.tokens["other"],
        "STAGE_SETUP_TOKEN": stage.tokens["setup"],
        "STAGE_DATABASE": stage.settings.resolved_database_url,
        "STAGE_TOKENS": str(stage.directory / "server-tokens"),
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", str(stage.directory / "hub_config_of_stage.py")]
    with (stage.directory / "hub.log").open("ab") as log:
        stage.processes["hub"] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=stage.directory)


def _hub_answers(stage: Stage) -> bool:
    assert stage.processes["hub"].poll() is None, (stage.directory / "hub.log").read_text()[-3000:]
    try:
        return ask(stage.hub_port, "GET", "/hub/health").status == 200
    except OSError:
        return False


def _console_answers(stage: Stage) -> bool:
    assert stage.processes["console"].poll() is None, (stage.directory / "console.log").read_text()[-3000:]
    return stage.console_answers()


@contextmanager
def running_stage(*, hub_config: str = "", **settings: Any) -> Iterator[Stage]:
    """``hub_config``, ``settings``: what comes after the stage's own."""
    with tempfile.TemporaryDirectory(prefix="ark-console-") as name:
        directory = Path(name)
        (directory / "server-tokens").mkdir()
        ports = {"hub": free_port(), "console": free_port(), "proxy_api": free_port()}
        tokens = {key: f"{key}-" + os.urandom(16).hex() for key in ("console", "other", "setup")}
        own = {"console_token": tokens["console"], "cookie_secret": os.urandom(32).hex()}
        made = _state(directory, ports, own, settings)
        migrate(made.resolved_database_url)
        storage = Storage(made.resolved_database_url)
        _fill(storage)
        stage = Stage(ports["hub"], ports["console"], directory, made, storage, tokens)
        try:
            stage.start_console()
            _start_hub(stage, hub_config)
            until(functools.partial(_hub_answers, stage), seconds=60)
            until(functools.partial(_console_answers, stage), seconds=60)
            yield stage
        finally:
            for process in stage.processes.values():
                process.send_signal(signal.SIGTERM)
            for process in stage.processes.values():
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
            storage.close()


_SHARED: list[tuple[Any, Stage]] = []


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The one stage of a test run, shared by every module that imports this fixture; gone when the run ends."""
    if _SHARED:
        yield _SHARED[0][1]
        return
    context = running_stage()
    _SHARED.append((context, context.__enter__()))
    try:
        yield _SHARED[0][1]
    finally:
        _SHARED.pop()[0].__exit__(None, None, None)


class Browser:
    """A browser's part that matters here: cookies by path, redirects between the Hub and the console, both on one host."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cookies: dict[tuple[str, str], str] = {}

    def go(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None, follow: bool = True
    ) -> Answer:
        for _ in range(15):
            port = self.stage.console_port if path.startswith("/services/console") else self.stage.hub_port
            sent = {"Sec-Fetch-Mode": "navigate", "Cookie": self._cookie_header(path), "User-Agent": "test", **(headers or {})}
            answer = ask(port, method, path, raw=body, headers=sent)
            for line in answer.cookies:
                for key, morsel in SimpleCookie(line).items():
                    self.cookies[(key, morsel["path"] or "/")] = morsel.value
            if not follow or answer.status not in (302, 303):
                return answer
            target = urlsplit(answer.headers["Location"])
            method, body, path = "GET", None, target.path + (f"?{target.query}" if target.query else "")
        raise AssertionError("redirected in circles")

    def _cookie_header(self, path: str) -> str:
        fitting = sorted(((k, v) for k, v in self.cookies.items() if path.startswith(k[1])), key=lambda kv: -len(kv[0][1]))
        return "; ".join(f"{name}={value}" for (name, _), value in fitting if value)

    def cookie(self, name: str, path: str) -> str:
        return self.cookies[(name, path)]

    def sign_in(self, user: str) -> None:
        page = self.go("GET", "/hub/login")
        assert page.status == 200
        form = f"username={quote(user)}&password=x&_xsrf={quote(self.cookie('_xsrf', '/hub/'))}"
        signed = self.go(
            "POST", "/hub/login?next=%2Fhub%2Ftoken", body=form.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert signed.status == 200, (signed.status, signed.body[:500])
