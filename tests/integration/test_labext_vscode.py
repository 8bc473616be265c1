"""A real Jupyter server of the workspace environment in a real browser, against a stand-in for the platform's API:
the status item and its menu, warnings, VS Code on its socket, and what is reported as activity."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT, environments
from tests.ports import free_port

ENVS = environments()
WORKSPACE = PROJECT / "ark_extensions/workspace"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run", "--disable-sync"]
pytestmark = [
    pytest.mark.skipif(not (ENVS.workspace / "bin/jupyter").exists(), reason="the workspace environment is not built"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def until(condition: Callable[[], object], seconds: float = 60) -> object:
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return answer


@dataclass
class Platform:
    """The stand-in: one workspace record, and the calls that were made."""

    state: str = "running"
    auto_stop_at: datetime | None = None
    idle_stop_minutes: int | None = None
    down: bool = False
    calls: list[tuple[str, str, str, str]] = field(default_factory=list)

    def record(self) -> dict[str, object]:
        at = self.auto_stop_at.isoformat() if self.auto_stop_at else None
        cost = {name: {"amount": "6.400001", "currency": "CNY"} for name in ("this_run", "total")}
        began = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        why = ["Runs since 10:00."]
        return {"name": "ws1", "state": self.state, "auto_stop_at": at, "idle_stop_minutes": self.idle_stop_minutes} | {
            "started_at": began,
            "cost": cost,
            "why": why,
            "secret": "not for the browser",
        }

    def answer(self, method: str, path: str, body: str) -> tuple[int, dict[str, object] | None]:
        if path.endswith("/activity"):
            return 204, None
        if self.down:
            return 502, None
        if method == "PATCH":
            wish = json.loads(body)["auto_stop"]
            self.auto_stop_at = datetime.now(UTC) + timedelta(minutes=wish["after_minutes"]) if wish else None
        if path.endswith("/stop"):
            self.state = "stopping"
        return 200, self.record()

    def serve(self) -> ThreadingHTTPServer:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                platform.calls.append((self.command, self.path, body, self.headers.get("Authorization", "")))
                status, answer = platform.answer(self.command, self.path, body)
                text = json.dumps(answer).encode() if answer is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = _do

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def activities(self) -> int:
        return sum(path.endswith("/activity") for _, path, *_ in self.calls)


@dataclass
class Server:
    url: str
    home: Path
    temporary: Path
    platform: Platform

    def call(self, path: str, body: object = None, token: str | None = "secret") -> tuple[int, object]:
        headers = {"Authorization": f"token {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("tmp")
    platform = Platform()
    api = platform.serve()
    port = free_port()
    env = {
        "PATH": f"{ENVS.workspace}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(WORKSPACE / "lib"),
        "JUPYTER_CONFIG_PATH": str(WORKSPACE / "etc/jupyter"),
        "JUPYTER_PATH": str(WORKSPACE / "share/jupyter"),
        "ARK_API_URL": f"http://127.0.0.1:{api.server_port}/services/console/api/v1",
        "ARK_WORKSPACE": "ws1",
        "JUPYTERHUB_API_TOKEN": "server-token",
        "ARK_CODE_SERVER": str(ENVS.code_server / "node_modules/code-server"),
        "ARK_NODE": str(ENVS.node_bin.parent),
        "ARK_ACTIVITY_SECONDS": "3",
    }
    command = [ENVS.workspace / "bin/jupyter", "lab", "--allow-root", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    log = temporary / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--IdentityProvider.token=secret"], env=env, cwd=home, stdout=out, stderr=out, start_new_session=True
        )
    found = Server(f"http://127.0.0.1:{port}", home, temporary, platform)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return found.call("api/status")[0] == 200
        except OSError:
            return False

    try:
        until(answers, 60)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        api.shutdown()
        api.server_close()


@pytest.fixture(autouse=True)
def fresh(server: Server) -> None:
    server.platform.__init__()  # type: ignore[misc]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server: Server):
    page = browser.new_page(locale="en-US", viewport={"width": 1200, "height": 700})
    yield page
    page.close()


def open_lab(page, server: Server) -> None:
    page.goto(f"{server.url}/lab?token=secret")
    page.wait_for_selector(".ark-Status", timeout=60_000)


def refresh(page) -> None:
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_the_server_extension_speaks_for_its_workspace_only(server: Server) -> None:
    status, record = server.call("ark/status")
    assert status == 200 and isinstance(record, dict)
    assert record["cost"]["this_run"]["amount"] == "6.400001"
    assert "secret" not in record
    assert server.platform.calls[-1][1] == "/services/console/api/v1/workspaces/ws1"
    assert server.platform.calls[-1][3] == "token server-token"
    assert server.call("ark/auto-stop", {"after_minutes": 90})[0] == 200
    assert json.loads(server.platform.calls[-1][2]) == {"auto_stop": {"after_minutes": 90}}
    assert server.call("ark/auto-stop", {"after_minutes": None})[0] == 200
    assert server.platform.auto_stop_at is None


@pytest.mark.parametrize("bad", [{}, {"after_minutes": 0}, {"after_minutes": True}, {"after_minutes": 10**9}, {"at": 1}, [1], "x"])
def test_nonsense_never_reaches_the_platform(server: Server, bad: object) -> None:
    assert server.call("ark/auto-stop", bad)[0] == 400
    assert [path for _, path, *_ in server.platform.calls if not path.endswith("/activity")] == []


def test_strangers_and_other_sites_are_refused(server: Server) -> None:
    for path, body in (
        ("ark/status", None),
        ("ark/vscode", None),
        ("ark/auto-stop", {"after_minutes": 5}),
        ("ark/stop", {}),
        ("ark/here", {}),
    ):
        assert server.call(path, body, token=None)[0] == 403
        assert server.call(path, body, token="wrong")[0] == 403
    with urllib.request.urlopen(f"{server.url}/vscode/?folder=/", timeout=60) as answer:
        assert "/login?" in answer.url
    assert server.call("ark/vscode")[1] == {"state": "absent", "seconds": 0}, "a stranger starts nothing"
    assert server.platform.state == "running"


def test_a_platform_that_is_down_is_said(server: Server) -> None:
    server.platform.down = True
    status, answer = server.call("ark/status")
    assert status == 503 and isinstance(answer, dict)
    assert answer["error"]["code"] == "unavailable"


def test_the_status_bar_shows_extends_holds_and_stops(server: Server, page) -> None:
    server.platform.auto_stop_at = datetime.now(UTC) + timedelta(minutes=90, seconds=30)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" and "ark" in message.text else None)
    open_lab(page, server)
    item = page.locator(".ark-Status")
    until(lambda: item.inner_text() == "¥6.40 · stops in 1 h 30 min")
    item.click()
    page.get_by_text("Extend by 4 hours").click()
    until(lambda: item.inner_text() in ("¥6.40 · stops in 5 h 30 min", "¥6.40 · stops in 5 h 31 min"))
    item.press("Enter")  # by keyboard
    page.get_by_text("Cancel auto-stop").click()
    until(lambda: item.inner_text() == "¥6.40 · no auto-stop")
    item.click()
    page.get_by_text("Stop the workspace…").click()
    page.locator(".jp-Dialog .jp-mod-warn").click()
    until(lambda: item.inner_text() == "¥6.40 · stopping…")
    assert server.platform.state == "stopping"
    assert problems == []


def test_a_stop_is_announced_with_a_way_out(server: Server, page) -> None:
    server.platform.auto_stop_at = datetime.now(UTC) + timedelta(minutes=14, seconds=30)
    open_lab(page, server)
    toast = page.locator(".Toastify__toast--warning")
    toast.wait_for(timeout=60_000)
    assert "stops in 14 min" in toast.inner_text()
    server.platform.auto_stop_at = datetime.now(UTC) + timedelta(minutes=4, seconds=30)
    refresh(page)
    until(lambda: "stops in 4 min" in "".join(page.locator(".Toastify__toast--warning").all_inner_texts()))
    page.locator(".Toastify__toast--warning").last.get_by_role("button", name="Extend 1 h").click()
    until(lambda: page.locator(".ark-Status").inner_text().endswith(("1 h 4 min", "1 h 5 min")))
    assert server.platform.auto_stop_at > datetime.now(UTC) + timedelta(minutes=60)


def test_an_idle_stop_is_announced_and_called_off(server: Server, page) -> None:
    server.platform.idle_stop_minutes = 10
    open_lab(page, server)
    page.get_by_role("button", name="I am working").click(timeout=60_000)
    until(lambda: server.platform.activities() > 0)


def test_chinese_where_the_browser_is(server: Server, browser) -> None:
    page = browser.new_page(locale="zh-CN")
    server.platform.auto_stop_at = datetime.now(UTC) + timedelta(minutes=90, seconds=30)
    open_lab(page, server)
    until(lambda: page.locator(".ark-Status").inner_text() == "¥6.40 · 1 小时 30 分钟后停止")
    page.close()


def test_the_file_browser_deletes_folders_but_not_mounts(server: Server) -> None:
    for name in ("data", "old", "imported_datasets/digits"):
        (server.home / name).mkdir(parents=True)
        (server.home / name / "file").write_text("x")

    def delete(path: str) -> int:
        request = urllib.request.Request(f"{server.url}/api/contents/{path}", method="DELETE", headers={"Authorization": "token secret"})
        try:
            return urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as error:
            return error.code

    assert delete("old") == 204
    assert not (server.home / "old").exists()
    assert not (server.home / ".local/share/Trash").exists()
    assert [delete(path) for path in ("data", "imported_datasets", "imported_datasets/digits", "data/")] == [403] * 4
    assert delete("data/file") == 204
    assert (server.home / "imported_datasets/digits/file").exists()


@pytest.mark.skipif(not ENVS.code_server_entry.exists(), reason="code-server is not built")
def test_vscode_opens_on_a_private_socket_and_its_terminal_is_the_workspaces(server: Server, page) -> None:
    page.goto(f"{server.url}/lab?token=secret")
    page.goto(f"{server.url}/vscode/?folder={server.home}")
    assert page.get_by_role("status").inner_text() == "VS Code is starting…", "nobody looks at a white page"
    page.wait_for_selector(".monaco-workbench .explorer-folders-view", timeout=180_000)
    (sock,) = server.temporary.glob("vscode-*/socket")
    assert stat.S_IMODE(sock.stat().st_mode) == 0o600
    assert stat.S_IMODE(sock.parent.stat().st_mode) == 0o700
    page.keyboard.press("Control+`")
    page.locator(".terminal-wrapper.active .xterm").click(timeout=60_000)
    answer = server.home / "answer.txt"

    def typed() -> bool:
        page.keyboard.type("echo $ARK_WORKSPACE [$PYTHONPATH] $(command -v python) > answer.txt\n")
        page.wait_for_timeout(500)
        return answer.exists() and answer.read_text() != ""

    until(typed, 60)
    assert answer.read_text().split() == ["ws1", "[]", f"{ENVS.workspace}/bin/python"]
    page.locator(".explorer-folders-view").get_by_text("answer.txt").dblclick(timeout=60_000)
    page.get_by_text("ws1 []").first.wait_for(timeout=60_000)


@pytest.mark.skipif(not ENVS.code_server_entry.exists(), reason="code-server is not built")
def test_vscode_comes_back_after_its_server_was_killed(server: Server, page) -> None:
    """As the kernel does when memory runs out: it takes the larger half, and the other half then ends without an error."""

    def halves() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
            except OSError:
                continue
            if f"HOME={server.home}".encode() in _environment(entry) and b"out/node/entry" in command:
                found.append(int(entry.name))
        return sorted(found)

    page.goto(f"{server.url}/lab?token=secret")
    page.goto(f"{server.url}/vscode/?folder={server.home}")
    page.wait_for_selector(".monaco-workbench .explorer-folders-view", timeout=180_000)
    before = halves()
    os.kill(before[-1], signal.SIGKILL)
    until(lambda: not set(before) & set(halves()))
    page.goto(f"{server.url}/vscode/?folder={server.home}")
    page.wait_for_selector(".monaco-workbench .explorer-folders-view", timeout=180_000)


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def test_an_open_but_idle_tab_is_no_activity_and_work_is(server: Server, page) -> None:
    """The editor of the test before may still be running: idle, it does not count either."""
    open_lab(page, server)

    def quiet() -> bool:
        before = server.platform.activities()
        page.wait_for_timeout(13_000)  # four looks, in which the tab goes on polling
        return server.platform.activities() == before

    until(quiet, 90)
    hub_would_see = server.call("api/status")[1]["last_activity"]
    for path in ("api/kernels", "api/terminals", "api/contents"):
        server.call(path)
    assert server.call("api/status")[1]["last_activity"] == hub_would_see

    seen = server.platform.activities()
    assert server.call("api/terminals", {})[0] == 200  # a new shell's prompt is output
    until(lambda: server.platform.activities() > seen, 20)
    until(lambda: server.call("api/status")[1]["last_activity"] > hub_would_see)
