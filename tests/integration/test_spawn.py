"""A whole JupyterLab in a workspace, started and stopped through the real Hub and proxy."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform, wait_until

USER = "spawn-alice"


@pytest.fixture(scope="module")
def running(platform: Platform) -> Platform:
    platform.add_user(USER)
    offer = platform.api("GET", "/offers", user=USER).json["items"][0]["id"]
    body = {"request_id": "spawn", "offer": offer, "image": "python-cpu", "name": "lab", "datasets": ["digits"], "models": ["digits-mlp"]}
    assert platform.api("POST", "/workspaces", body, user=USER).status == 201
    wait_until(lambda: view(platform)["state"] == "running")
    return platform


def view(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = platform.api("GET", "/workspaces/lab", user=USER).json
    return found


def lab(platform: Platform, method: str, path: str, body: Any = None) -> Any:
    answer = platform.request(method, f"/user/{USER}/lab/api/{path}", body, user=USER)
    assert answer.status < 300, answer.text
    return answer.json


def names(platform: Platform, path: str) -> set[str]:
    return {entry["name"] for entry in lab(platform, "GET", f"contents/{path}")["content"]}


def test_the_home_holds_what_the_user_guide_says(running: Platform) -> None:
    assert {"data", "imported_datasets", "imported_models"} <= names(running, "")
    assert names(running, "imported_datasets") == {"digits"} and names(running, "imported_models") == {"digits-mlp"}
    assert {str(digit) for digit in range(10)} <= names(running, "imported_datasets/digits")


def test_a_start_of_what_runs_is_refused_and_changes_nothing(running: Platform) -> None:
    before = view(running)["started_at"]
    answer = running.request("POST", f"/hub/api/users/{USER}/servers/lab", {"user_options": {}}, user=USER)
    assert answer.status == 400
    assert view(running)["state"] == "running" and view(running)["started_at"] == before


def test_kernels_have_no_port_on_the_loopback(running: Platform) -> None:
    kernel = lab(running, "POST", "kernels", {})
    file = running.state_dir / "runs" / view(running)["id"] / "runtime/jupyter" / f"kernel-{kernel['id']}.json"
    assert json.loads(file.read_text())["transport"] == "ipc"
    lab(running, "DELETE", f"kernels/{kernel['id']}")


def test_the_workspaces_own_token_is_not_the_users(running: Platform) -> None:
    pid = int((running.state_dir / "runs" / view(running)["id"] / "process").read_text().split()[0])
    token = next(
        part.split(b"=", 1)[1].decode()
        for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if part.startswith(b"JUPYTERHUB_API_TOKEN=")
    )
    scopes = set(running.request("GET", "/hub/api/user", token=token).json["scopes"])
    assert "custom:ark:account" not in scopes and not [
        scope for scope in scopes if scope.startswith(("servers", "start:", "delete:", "tokens"))
    ]
    assert running.request("DELETE", f"/hub/api/users/{USER}/servers/lab", token=token).status in (403, 404)


def test_a_stop_is_quick_and_leaves_nothing(running: Platform) -> None:
    identifier = view(running)["id"]
    assert running.api("POST", "/workspaces/lab/stop", {}, user=USER).status == 202
    wait_until(lambda: view(running)["state"] == "stopped")
    events = running.api("GET", "/workspaces/lab/events", user=USER).json["items"]
    stopping, stopped = (datetime.fromisoformat(next(e["at"] for e in events if e["kind"] == kind)) for kind in ("stopping", "stopped"))
    assert stopped - stopping < timedelta(seconds=12)
    assert not (running.state_dir / "runs" / identifier).exists()
    assert (running.state_dir / "disks" / identifier).is_dir()
