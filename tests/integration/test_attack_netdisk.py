"""Who may call what at the netdisk: every address that the service registers × every kind of caller. An address without a row fails."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ark_extensions.netdisk import app as netdisk_app
from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, migrate
from ark_extensions.volumes.local_dir import LocalDirVolumes
from ark_extensions.web.oauth import service_oauth
from tests.integration.netdisk_client import Answer, ask, basic
from tests.netdisk_server import Server, StandInHub

API = "/api/v1"
FILES, ACCOUNT, ANYBODY, BROWSER = "files", "account", "anybody", "browser"

#: pattern, below the service's prefix → (who may, [(method, an address that fits)])
ROWS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "/dav(?:/.*)?": (FILES, [(m, "/dav/x") for m in ("GET", "PROPFIND", "PUT", "DELETE", "MKCOL", "LOCK", "MOVE", "COPY")]),
    "/tus/?": (FILES, [("POST", "/tus/")]),
    "/tus/([0-9a-f]{32})": (FILES, [(m, "/tus/" + "0" * 32) for m in ("HEAD", "PATCH", "DELETE")]),
    "/health": (ANYBODY, [("GET", "/health")]),
    f"{API}/openapi\\.json": (ANYBODY, [("GET", f"{API}/openapi.json")]),
    f"{API}/usage": (FILES, [("GET", f"{API}/usage")]),
    f"{API}/list": (FILES, [("GET", f"{API}/list")]),
    f"{API}/search": (FILES, [("GET", f"{API}/search?q=x")]),
    f"{API}/folders": (FILES, [("POST", f"{API}/folders")]),
    f"{API}/moves": (FILES, [("POST", f"{API}/moves")]),
    f"{API}/copies": (FILES, [("GET", f"{API}/copies"), ("POST", f"{API}/copies")]),
    f"{API}/copies/([0-9a-f]{{16}})": (FILES, [(m, f"{API}/copies/" + "0" * 16) for m in ("GET", "DELETE")]),
    f"{API}/imports": (FILES, [("GET", f"{API}/imports"), ("POST", f"{API}/imports")]),
    f"{API}/trash": (FILES, [(m, f"{API}/trash") for m in ("GET", "POST", "DELETE")]),
    f"{API}/trash/restore": (FILES, [("POST", f"{API}/trash/restore")]),
    f"{API}/uploads": (FILES, [(m, f"{API}/uploads") for m in ("GET", "DELETE")]),
    f"{API}/files/(.+)": (FILES, [(m, f"{API}/files/x") for m in ("GET", "HEAD", "PUT")]),
    f"{API}/zip": (FILES, [("GET", f"{API}/zip?path=x")]),
    f"{API}/preview/(.+)": (FILES, [("GET", f"{API}/preview/x")]),
    f"{API}/view/(.+)": (FILES, [("GET", f"{API}/view/x.png")]),
    f"{API}/render/(.+)": (FILES, [("GET", f"{API}/render/x.ipynb")]),
    f"{API}/tokens": (ACCOUNT, [(m, f"{API}/tokens") for m in ("GET", "POST")]),
    f"{API}/tokens/([A-Za-z0-9]{{1,40}})": (ACCOUNT, [("DELETE", f"{API}/tokens/x1")]),
    "/?": (BROWSER, [("GET", "/")]),
    "/oauth_callback": (BROWSER, [("GET", "/oauth_callback")]),
    "/preferences": (BROWSER, [("POST", "/preferences")]),
    "/static/(.*)": (BROWSER, [("GET", "/static/x")]),
}
CASES = [(pattern, method, path) for pattern, (access, asked) in ROWS.items() if access != BROWSER for method, path in asked]

#: caller → the Authorization header; tokens are those of `StandInHub`
CALLERS = {
    "stranger": "",
    "invented token": "token 0123",
    "workspace's own token": "token foreign-{user}",
    "another user under this name": "basic",
    "netdisk token": "token token-{user}",
    "account": "token account-{user}",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("netdisk")).start()
    one.user = f"m{uuid.uuid4().hex[:6]}"
    one.data()
    yield one
    one.stop()


def test_every_address_has_a_row(tmp_path: Path) -> None:
    """With the page, as the running service has it."""
    (tmp_path / "secrets").mkdir()
    for name in ("cookie_secret", "netdisk_token"):
        (tmp_path / "secrets" / name).write_text("0" * 64)
    settings = Settings(state_dir=tmp_path)
    migrate(settings.resolved_database_url)
    storage = Storage(settings.resolved_database_url)
    app = netdisk_app.make_app(settings, storage, LocalDirVolumes(tmp_path), StandInHub(), service_oauth(settings, "netdisk"))
    served = {rule.matcher.regex.pattern.removesuffix("$") for rule in app.wildcard_router.rules}  # type: ignore[attr-defined]
    assert {pattern.removeprefix(PREFIX) for pattern in served} == set(ROWS)
    app.settings["office"].close()
    storage.close()


def call(server: Server, method: str, path: str, header: str) -> Answer:
    said = basic(server.user, "token-somebody-else") if header == "basic" else header.format(user=server.user)
    return ask(server, method, path, b"" if method in ("POST", "PUT", "PATCH") else None, headers={"Authorization": said})


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("pattern", "method", "path"), CASES)
def test_who_may_call_the_netdisk(server: Server, pattern: str, method: str, path: str, caller: str) -> None:
    access = ROWS[pattern][0]
    status = call(server, method, path, CALLERS[caller]).status
    if access == ANYBODY:
        assert status == 200
    elif caller in ("stranger", "invented token", "another user under this name"):
        assert status == 401
    elif caller == "workspace's own token" or (access == ACCOUNT and caller == "netdisk token"):
        assert status == 403
    else:
        assert status not in (401, 403, 500), status


@pytest.mark.parametrize("who", ["token", "account"])
def test_every_answer_is_as_documented(server: Server, tmp_path: Path, who: str) -> None:
    """schemathesis on the netdisk's own OpenAPI document, seeded: nobody's input is a fault of ours."""
    user = f"fuzz-{who}"
    server.data(user)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}{API}/openapi.json", "--url", f"{server.url}{API}"]
    command += ["--header", f"Authorization: token {who}-{user}", "--checks", "not_a_server_error,response_schema_conformance"]
    command += ["--phases", "coverage,fuzzing", "--seed", "1", "--max-time", "15", "--max-examples", "20", "--continue-on-failure"]
    command += ["--exclude-path-regex", "/tokens" if who == "account" else "^$"]  # tokens are made at a Hub, and there is none
    command += ["--no-shrink", "--request-timeout", "20", "--warnings", "off", "--generation-database", "none", "--suppress-health-check"]
    done = subprocess.run([*command, "all", "--no-color"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)[-12_000:] + done.stderr[-2000:]
