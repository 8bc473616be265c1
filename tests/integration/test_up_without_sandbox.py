"""Where bubblewrap cannot run: `make up` says what is lost and changes nothing, and starts only when it is told to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from ark_extensions.environments import PROJECT
from tests.platform import Answer, Platform, wait_until

REFUSING_BWRAP = """#!/bin/sh
[ "$1" = --version ] && exit 0
echo "bwrap: No permissions to create new namespace" >&2
exit 1
"""


def make_up(platform: Platform, tools: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = platform.environment()
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    command = ["make", "up", f"DIR={platform.state_dir}", f"PORT={platform.port}", "BACKGROUND=1", *options]
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL, check=False
    )


def test_it_starts_without_a_sandbox_only_when_told_and_workspaces_run(make_platform: Callable[..., Platform], tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text(REFUSING_BWRAP)
    (tmp_path / "bwrap").chmod(0o755)
    platform = make_platform()
    refused = make_up(platform, tmp_path)
    assert refused.returncode != 0
    assert "No permissions to create new namespace" in refused.stdout and "NO_SANDBOX=1" in refused.stdout
    assert list(platform.state_dir.iterdir()) == []

    started = make_up(platform, tmp_path, "NO_SANDBOX=1")
    assert started.returncode == 0, started.stdout + platform.logs()
    assert "No sandbox" in started.stdout
    offer = platform.api("GET", "/offers").json["items"][0]["id"]
    order = {"request_id": "one", "offer": offer, "image": "python-cpu", "datasets": ["digits"]}
    answer = platform.api("POST", "/workspaces", order)
    assert answer.status == 201, answer.text
    name = answer.json["name"]

    def settled() -> Answer | None:
        now = platform.api("GET", f"/workspaces/{name}")
        return now if now.json["state"] in ("running", "failed") else None

    state = wait_until(settled, seconds=90, every=0.5)
    assert state.json["state"] == "running", platform.logs()
    lab = platform.request("GET", f"/user/admin/{name}/api/contents/imported_datasets", user="admin")
    assert lab.status == 200 and [entry["name"] for entry in lab.json["content"]] == ["digits"]
    platform.stop()
    assert platform.processes() == []
