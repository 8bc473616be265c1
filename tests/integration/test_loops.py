"""The loops on a real platform: what they decide happens at the Hub, once, soon, and nothing that must stay is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.domain.ledger import recharge
from ark_extensions.domain.money import MICROS
from ark_extensions.environments import PROJECT
from ark_extensions.storage import Storage
from ark_extensions.usecases.journal import post_postings
from ark_extensions.usecases.operator import correct
from ark_extensions.usecases.users import ensure_user
from ark_extensions.usecases.wallet import wallet
from tests.integration.crash_stage import PATIENCE, Someone, books_are_right
from tests.platform import Platform, wait_until

LATEST = timedelta(seconds=5)


@pytest.fixture(scope="module")
def looping(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform whose recycle bin is emptied at once."""
    platform = Platform(settings={"recycle_days": 0, "settle_interval_seconds": 2})
    try:
        platform.start()
        yield platform
    finally:
        platform.close(keep_logs=request.session.testsfailed > 0)


def second_instance(platform: Platform, name: str) -> subprocess.Popen[bytes]:
    environment = platform.environment() | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-m", f"ark_extensions.{name}"], env=environment, stderr=subprocess.DEVNULL)


def test_a_deadline_is_kept_within_five_seconds_and_once_by_two_instances(looping: Platform) -> None:
    someone = Someone.on(looping)
    other = second_instance(looping, "autostop")
    try:
        someone.running()
        at = datetime.now(UTC) + timedelta(seconds=3)
        someone.api("PATCH", "/workspaces/crash", {"auto_stop": {"at": at.isoformat()}})
        someone.wait_for("stopped")
        (run,) = someone.runs()
        assert run.close_reason == "deadline"
        later = [event for event in events(someone) if moment(event) >= at]
        assert [event["kind"] for event in later].count("stopped") == 1
        assert min(map(moment, later)) - at < LATEST
    finally:
        other.send_signal(signal.SIGTERM)
        assert other.wait(PATIENCE) == 0, "SIGTERM ends a loop in good order"


def test_the_loops_may_stop_servers_and_start_none(looping: Platform) -> None:
    for loop in ("billing", "autostop", "reconcile"):
        token = (looping.state_dir / "secrets" / f"{loop}_token").read_text().strip()
        allowed = looping.request("GET", "/hub/api/user", token=token).json["scopes"]
        assert "delete:servers" in allowed and not {"servers", "start:servers"} & set(allowed), loop
        assert looping.request("GET", "/hub/api/users", token=token).status == 200


def events(someone: Someone, name: str = "crash") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = someone.api("GET", f"/workspaces/{name}/events")["items"]
    return items


def moment(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


def test_an_empty_wallet_stops_the_workspace_and_keeps_its_files(looping: Platform) -> None:
    someone = someone_who_paid(looping, 10 * MICROS)
    someone.running()
    leave_in_wallet(someone, 300)  # lasts some seconds
    someone.wait_for("stopped")
    (run,) = someone.runs()
    assert run.close_reason == "wallet"
    disk = looping.state_dir / "disks" / someone.api("GET", "/workspaces/crash")["id"]
    assert disk.is_dir()
    looping.ark("user", "credit", someone.name, "10.00", "--reason", "test: recharge")
    someone.api("POST", "/workspaces/crash/start", {})
    someone.wait_for("running")
    books_are_right(looping)


@contextmanager
def money_of(platform: Platform) -> Iterator[Storage]:
    storage = Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")
    try:
        yield storage
    finally:
        storage.close()


def someone_who_paid(platform: Platform, micros: int) -> Someone:
    """A user without a gift: what they have they paid in."""
    someone, now = Someone(platform, "payer"), datetime.now(UTC)
    with money_of(platform) as storage:
        ensure_user(storage, name=someone.name, admin=False, opening_credit_micros=0, now=now)
        post_postings(storage, [recharge(key="test", user=someone.name, amount_micros=micros, at=now, actor="test", memo="")])
    return someone


def leave_in_wallet(someone: Someone, micros: int) -> None:
    now = datetime.now(UTC)
    with money_of(someone.platform) as storage:
        surplus = wallet(storage, user=someone.name, now=now).balance_micros - micros
        correct(storage, user=someone.name, amount_micros=-surplus, actor="test", reason="spend it all", request_id="spend", now=now)


def test_a_released_workspace_leaves_the_hub_and_the_disk_and_its_name_is_free(looping: Platform) -> None:
    someone = Someone.on(looping)
    someone.running()
    workspace = someone.api("GET", "/workspaces/crash")["id"]
    someone.api("POST", "/workspaces/crash/stop", {})
    someone.wait_for("stopped")
    someone.api("DELETE", "/workspaces/crash", {"confirm": "crash"})
    wait_until(lambda: not (looping.state_dir / "disks" / workspace).exists(), seconds=PATIENCE)

    def forgotten() -> bool:
        answer = looping.request("GET", f"/hub/api/users/{someone.name}", user=someone.name)
        return answer.status == 200 and "crash" not in answer.json["servers"]

    wait_until(forgotten, seconds=PATIENCE)
    wait_until(lambda: looping.api("GET", "/workspaces/crash", user=someone.name).status == 404, seconds=PATIENCE)
    someone.running()
    assert someone.api("GET", "/workspaces/crash")["id"] != workspace


def test_each_loop_gives_signs_of_life(looping: Platform) -> None:
    for name in ("billing", "autostop", "reconcile"):
        beat = looping.state_dir / "runtime" / f"{name}.beat"
        before = beat.stat().st_mtime
        wait_until(lambda beat=beat, before=before: beat.stat().st_mtime > before, seconds=PATIENCE)  # type: ignore[misc]
