"""From inside a workspace with a real sandbox: what its program reaches of other users, of the platform and of the machine, with all
that it finds there: its own token, the loopback, the files and processes that it sees."""

from __future__ import annotations

import asyncio
import http.client
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.platform import Platform, wait_until

MINE, THEIRS = "inside-mallory", "inside-victim"

#: what every attack begins with: `ask` with the workspace's own token, or none
TOOLS = """
import http.client, json, os, socket, sys
TOKEN = os.environ["JUPYTERHUB_API_TOKEN"]
def ask(port, method, path, body=None, token=TOKEN):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "token " + token
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")[:5000]
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
"""


class Kernel:
    """A Python in somebody's workspace."""

    def __init__(self, platform: Platform, user: str, name: str) -> None:
        self.platform, self.user = platform, user
        self.base = f"/user/{user}/{name}"
        self.id = ""

    def run(self, code: str) -> Any:
        """What ``code`` leaves in ``found``."""
        if not self.id:
            made = self.platform.request("POST", f"{self.base}/api/kernels", {}, user=self.user)
            assert made.status == 201, made.text
            self.id = made.json["id"]
        return asyncio.run(self._run(self.id, TOOLS + code + "\nprint('FOUND' + json.dumps(found))"))

    async def _run(self, kernel: str, code: str) -> Any:
        url = f"ws://127.0.0.1:{self.platform.port}{self.base}/api/kernels/{kernel}/channels"
        headers = {"Authorization": f"token {self.platform.token(self.user)}"}
        socket = await websocket_connect(HTTPRequest(url, headers=headers, request_timeout=60))
        about = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {"header": about, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
        await socket.write_message(json.dumps(message))
        said = ""
        try:
            while "FOUND" not in said or "\n" not in said.split("FOUND")[1]:
                got = await asyncio.wait_for(socket.read_message(), 120)
                assert isinstance(got, str), "the kernel is gone"
                answer = json.loads(got)
                assert answer["msg_type"] != "error", answer["content"]
                if answer["msg_type"] == "stream":
                    said += answer["content"]["text"]
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass
        return json.loads(said.split("FOUND")[1])


@pytest.fixture(scope="module")
def inside(platform: Platform) -> Iterator[Kernel]:
    """Mallory's running workspace, beside which the victim's runs."""
    platform.make_room()
    for user in (MINE, THEIRS):
        platform.add_user(user)
        offer = platform.api("GET", "/offers", user=user).json["items"][0]["id"]
        order = {"offer": offer, "image": "python-cpu", "request_id": f"{user}-1", "name": "ws"}
        made = platform.api("POST", "/workspaces", order, user=user)
        assert made.status == 201, made.text
        wait_until(lambda user=user: platform.api("GET", "/workspaces/ws", user=user).json["state"] == "running")
    platform.request(
        "PUT", f"/user/{THEIRS}/ws/api/contents/secret.txt", {"type": "file", "format": "text", "content": "hunter2"}, user=THEIRS
    )
    yield Kernel(platform, MINE, "ws")
    platform.make_room()


@pytest.fixture(scope="module")
def ports(platform: Platform) -> dict[str, int]:
    found: dict[str, int] = json.loads((platform.state_dir / "ports.json").read_text())
    return found | {"proxy": platform.port}


#: at the Hub's API, by the server's own token: what its rights do not hold
HUB_FORBIDDEN = [
    ("GET", "/users", None),
    ("GET", f"/users/{THEIRS}", None),
    ("GET", "/users/admin", None),
    ("PATCH", f"/users/{MINE}", {"admin": True}),
    ("POST", "/users/inside-new", {}),
    ("DELETE", f"/users/{THEIRS}", None),
    ("POST", f"/users/{MINE}/servers/another", {"user_options": {}}),
    ("DELETE", f"/users/{MINE}/servers/ws", None),
    ("POST", f"/users/{THEIRS}/servers/another", {}),
    ("DELETE", f"/users/{THEIRS}/servers/ws", None),
    ("POST", f"/users/{MINE}/tokens", {"note": "more"}),
    ("GET", f"/users/{MINE}/tokens", None),
    ("GET", f"/users/{THEIRS}/tokens", None),
    ("POST", f"/users/{THEIRS}/activity", {"last_activity": "2030-01-01T00:00:00Z"}),
    ("GET", "/proxy", None),
    ("POST", "/proxy", {}),
    ("PATCH", "/proxy", {"ip": "127.0.0.1", "port": 1}),
    ("POST", "/shutdown", {}),
    ("GET", "/groups", None),
    ("POST", "/groups/admins/users", {"users": [MINE]}),
    ("GET", "/services", None),
    ("GET", "/info", None),
    ("POST", f"/shares/{THEIRS}/ws", {"user": MINE}),
]


def test_the_servers_own_token_is_for_itself(inside: Kernel, ports: dict[str, int]) -> None:
    found = inside.run(f"found = [ask({ports['hub']}, m, '/hub/api' + p, b) for m, p, b in {HUB_FORBIDDEN!r}]")
    allowed = [(asked[:2], status, text) for asked, (status, text) in zip(HUB_FORBIDDEN, found, strict=True) if status not in (403, 404)]
    assert [one for one in allowed if not (one[0] == ("GET", "/services") and one[2].strip() == "{}")] == []
    assert inside.platform.api("GET", "/workspaces/ws", user=THEIRS).json["state"] == "running"


def test_it_spends_nothing_and_reads_no_wallet(inside: Kernel, ports: dict[str, int]) -> None:
    asked = [
        ("GET", "/wallet", None),
        ("GET", "/bills", None),
        ("POST", "/workspaces", {"request_id": "r", "offer": "x", "image": "python-cpu"}),
        ("POST", "/wallet/recharges", {"request_id": "r", "provider": "manual", "amount": "5.00"}),
        ("POST", "/wallet/vouchers", {"code": "x"}),
        ("POST", "/assets", {"request_id": "r", "offer": "x", "months": 1}),
        ("GET", "/me", None),
        ("GET", "/ssh-keys", None),
        ("POST", "/ssh-keys", {"public_key": "x"}),
        ("GET", "/admin/users", None),
        ("GET", "/admin/metrics", None),
        ("GET", "/workspaces", None),
        ("POST", "/workspaces/another/stop", {}),
        ("GET", "/workspaces/another", None),
    ]
    found = inside.run(f"found = [ask({ports['console']}, m, '/services/console/api/v1' + p, b)[0] for m, p, b in {asked!r}]")
    assert found == [403] * len(asked)
    assert inside.run(f"found = ask({ports['netdisk']}, 'GET', '/services/netdisk/api/v1/list')[0]") == 403
    assert inside.run(f"found = ask({ports['netdisk']}, 'PROPFIND', '/services/netdisk/dav/')[0]") == 403


def test_the_loopback_gives_nothing_away(inside: Kernel, ports: dict[str, int]) -> None:
    """Workspaces share the machine's network in the local runtime: whatever of the platform listens there must ask who comes."""
    token = (inside.platform.state_dir / "secrets/proxy_token").read_text().strip()
    routes = ask_here(ports["proxy_api"], "/api/routes", token)
    servers = [int(route["target"].rsplit(":", 1)[1]) for path, route in routes.items() if path.startswith(f"/user/{THEIRS}/")]
    assert len(servers) == 1
    asked = [
        (port, path, mine)
        for port in (*servers, *ports.values())
        for path in ("/", f"/user/{THEIRS}/ws/api/contents/secret.txt", f"/user/{THEIRS}/ws/api/kernels", "/api/routes", "/metrics")
        for mine in (True, False)
    ]
    found = inside.run(f"found = [ask(port, 'GET', path, token=TOKEN if mine else None) for port, path, mine in {asked!r}]")
    for place, (status, text) in zip(asked, found, strict=True):
        assert "hunter2" not in text and "execution_state" not in text and '"target"' not in text, place
        assert status in (200, 302, 400, 401, 403, 404), (place, status, text)
    assert inside.run(f"found = ask({ports['proxy_api']}, 'POST', '/api/routes/evil', {{'target': 'http://127.0.0.1:1'}})[0]") == 403


def ask_here(port: int, path: str, token: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Authorization": f"token {token}"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_another_users_server_is_closed_through_the_proxy_too(inside: Kernel, ports: dict[str, int]) -> None:
    paths = [
        f"/user/{THEIRS}/ws/{what}" for what in ("api/contents/secret.txt", "api/kernels", "api/terminals", "files/secret.txt", "vscode/")
    ]
    found = inside.run(f"found = [ask({ports['proxy']}, 'GET', p, token=t) for p in {paths!r} for t in (None, TOKEN)]")
    assert all(status in (302, 403, 404) and "hunter2" not in text for status, text in found), found


def test_files_processes_and_sockets_of_others_are_not_there(inside: Kernel) -> None:
    platform = inside.platform
    code = f"""
import glob, signal
found = {{"read": [], "seen": [], "killed": [], "sockets": []}}
places = ["{platform.state_dir}/secrets/proxy_token", "{platform.state_dir}/ark.sqlite", "{platform.state_dir}/jupyterhub.sqlite",
          "{platform.state_dir}", "/proc/1/root{platform.state_dir}", "/proc/1/environ", "/root", "/etc/shadow", "/home"]
for place in places + ["/proc/self/root" + p for p in places[:4]]:
    try:
        text = open(place, "rb").read(200) if not os.path.isdir(place) else str(sorted(os.listdir(place))).encode()
        found["read"].append([place, text.decode(errors="replace")])
    except OSError:
        pass
for entry in os.listdir("/proc"):
    if entry.isdigit():
        try:
            found["seen"].append(open(f"/proc/{{entry}}/cmdline").read().replace("\\0", " "))
        except OSError:
            pass
for pid in ({platform.pid("hub")}, {platform.pid("console")}, {platform.pid("proxy")}):
    try:
        os.kill(pid, 0)
        found["killed"].append(pid)
    except OSError:
        pass
for line in open("/proc/net/unix").read().splitlines()[1:]:
    name = line.split()[-1]
    if name.startswith("@") and line.split()[5] == "01" and line.split()[3] == "00010000":
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect("\\0" + name[1:])
            found["sockets"].append(name)
        except OSError:
            pass
"""
    found = inside.run(code)
    read = dict(found["read"])
    assert set(read) <= {"/proc/1/environ", "/home", "/root"}, read
    assert read.get("/home", "['user']") == "['user']"
    assert read.get("/root", "[]") in ("[]", "['.cache']"), "no more than the way to the built environments"
    assert not [line for line in found["seen"] if "ark_extensions" in line or "jupyterhub -f" in line or THEIRS in line]
    assert found["killed"] == [] or not _are_ours(inside, found["killed"])
    assert [name for name in found["sockets"] if "ark" in name.lower() or "jupyter" in name.lower()] == []


def _are_ours(inside: Kernel, pids: list[int]) -> bool:
    """Whether these numbers, seen from inside, are the platform's processes and not some of the workspace's own."""
    names = inside.run(f"found = [open(f'/proc/{{p}}/cmdline').read() for p in {pids!r}]")
    return any("ark_extensions" in name or "configurable-http-proxy" in name for name in names)


def test_its_secrets_are_in_nobodys_command_line(inside: Kernel) -> None:
    """Seen from the host, where every user of the machine may look."""
    token = inside.run("found = TOKEN")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert token.encode() not in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    for log in (inside.platform.state_dir / "logs").glob("*.log"):
        assert token not in log.read_text(errors="replace"), log.name
