"""A platform that an earlier version wrote is started, backed up while it works, lost, and put back on an empty place: whoever had
something has it again. On SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ark_extensions.environments import PROJECT
from tests import postgresql
from tests.contract.test_upgrades import PASSWORDS, RECORDED, fill
from tests.integration.crash_stage import PATIENCE, Someone
from tests.integration.test_signin import Browser
from tests.platform import Platform, make_removable, wait_until


class Elsewhere(Platform):
    """A platform whose operator has set variables."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(settings=settings)
        self.variables: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.variables}


@dataclass
class Lost:
    """A platform, its backup, and what was true of it when the backup was made."""

    platform: Elsewhere
    backup: Path
    server: postgresql.Server | None
    seen: dict[str, Any]


def seen_by(platform: Platform, owner: str) -> dict[str, Any]:
    """What a user sees of theirs that must not change by being put away and put back."""
    workspaces = platform.api("GET", "/workspaces", user=owner).json["items"]
    return {
        "wallet": platform.api("GET", "/wallet", user=owner).json["balance"],
        "workspaces": {w["name"]: (w["id"], w["offer"], w["datasets"], w["cost"]["total"]) for w in workspaces},
        "assets": [a["id"] for a in platform.api("GET", "/assets", user=owner).json["items"]],
        "ssh keys": [k["fingerprint"] for k in platform.api("GET", "/ssh-keys", user=owner).json["items"]],
    }


def write(platform: Platform, path: str, text: str) -> None:
    body = {"type": "file", "format": "text", "content": text}
    assert platform.request("PUT", f"/user/li/lab/api/contents/{path}", body, user="li").status in (200, 201)


def read(platform: Platform, path: str) -> str:
    answer = platform.request("GET", f"/user/li/lab/api/contents/{path}", user="li")
    return str(answer.json["content"]) if answer.status == 200 else f"{answer.status}: {answer.text[:300]}"


def start_lab(platform: Platform) -> None:
    # what ran when the records were made holds its machine until it is found to be gone
    wait_until(lambda: platform.api("POST", "/workspaces/lab/start", {}, user="li").status == 202, seconds=PATIENCE, every=0.5)
    Someone(platform, "li").wait_for("running", name="lab")
    wait_until(lambda: platform.request("GET", "/user/li/lab/api/status", user="li").status == 200, seconds=PATIENCE)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    if request.param == "sqlite":
        yield from away(request, tmp_path_factory, None)
    elif postgresql.missing():
        pytest.skip(postgresql.missing() or "")
    else:
        with postgresql.server() as server:
            yield from away(request, tmp_path_factory, server)


def away(request: pytest.FixtureRequest, directories: pytest.TempPathFactory, server: postgresql.Server | None) -> Iterator[Lost]:
    recorded = RECORDED[0]
    url = server.database() if server else None
    platform = Elsewhere(database_url=url)
    url = url or f"sqlite:///{platform.state_dir / 'ark.sqlite'}"
    try:
        fill(url, recorded)
        platform.start()  # it is brought up to date by this
        start_lab(platform)
        write(platform, "kept.txt", "on the data disk")
        write(platform, "data/shared.txt", "on the netdisk")
        backup = directories.mktemp("backups") / "first"
        before = platform.api("GET", "/wallet", user="li").json["balance"]
        said = platform.ark("backup", str(backup)).stdout  # while a workspace runs and is charged
        assert str(backup) in said
        again = platform.ark("backup", str(backup), check=False)
        assert again.returncode == 1 and "exists already" in again.stderr
        platform.make_room()
        seen = {**seen_by(platform, "li"), "before": before}
        platform.add_user("later")
        platform.stop()
        make_removable(platform.state_dir)
        subprocess.run(["rm", "-rf", str(platform.state_dir)], check=True)
        yield Lost(platform, backup, server, seen)
    finally:
        platform.close(keep_logs=request.session.testsfailed > 0)


def test_a_backup_is_for_its_owner_only_and_names_what_is_in_it(lost: Lost) -> None:
    assert {oct(path.stat().st_mode & 0o077) for path in [lost.backup, *lost.backup.iterdir()]} == {"0o0"}
    manifest = json.loads((lost.backup / "manifest.json").read_text())
    assert set(manifest["sha256"]) == {"jupyterhub.sqlite", "files.tar", "ark.dump" if lost.server else "ark.sqlite"}


@pytest.mark.parametrize("file", ["files.tar", "jupyterhub.sqlite", "manifest.json"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(lost: Lost, file: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    subprocess.run(["cp", "-a", str(lost.backup), str(damaged)], check=True)
    content = bytearray((damaged / file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (damaged / file).write_bytes(content[:-600] if file == "files.tar" else content if file != "manifest.json" else content[:20])
    said = lost.platform.ark("restore", str(damaged), check=False)
    assert said.returncode == 1 and "Traceback" not in said.stderr and len(said.stderr.strip().splitlines()) == 1
    assert (
        not lost.platform.state_dir.exists() and not lost.platform.state_dir.with_name(lost.platform.state_dir.name + ".restoring").exists()
    )


def test_what_was_lost_is_there_again(lost: Lost) -> None:
    platform = lost.platform
    if lost.server is not None:  # a new server's database: the backup's own settings name the old one
        platform.variables["ARK_DATABASE_URL"] = lost.server.database()
    done = subprocess.run(
        ["make", "restore", f"FROM={lost.backup}", f"DIR={platform.state_dir}"],
        cwd=PROJECT, env=platform.environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "make up DIR=" in done.stdout
    refused = platform.ark("restore", str(lost.backup), check=False)
    assert refused.returncode == 1 and "not empty" in refused.stderr

    platform.start()
    platform.ark("books", "check")
    assert "later" not in platform.ark("user", "list").stdout, "what came after the backup is not in it"
    for owner, password in PASSWORDS[RECORDED[0].stem].items():
        assert Browser(platform).sign_in(owner, password)[0] == 302
    Someone(platform, "li").wait_for("stopped", "failed", name="lab")  # it ran when the backup was made, and does not any more
    now = seen_by(platform, "li")
    assert now["assets"] == lost.seen["assets"] and now["ssh keys"] == lost.seen["ssh keys"]
    assert {name: facts[:3] for name, facts in now["workspaces"].items()} == {n: f[:3] for n, f in lost.seen["workspaces"].items()}
    assert float(lost.seen["wallet"]["amount"]) <= float(now["wallet"]["amount"]) <= float(lost.seen["before"]["amount"])

    start_lab(platform)
    assert read(platform, "kept.txt") == "on the data disk"
    assert read(platform, "data/shared.txt") == "on the netdisk"
    assert platform.api("POST", "/workspaces/lab/stop", {}, user="li").status == 202
    Someone(platform, "li").wait_for("stopped", name="lab")
    platform.ark("books", "check")
    wait_until(lambda: platform.ark("doctor", check=False).returncode == 0, seconds=60, every=1.0)
