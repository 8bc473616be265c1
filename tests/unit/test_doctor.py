"""`ark doctor` on an installation in which one thing after another is broken: each is named, with the way out, in both languages."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from ark_extensions.cli import doctor as looks
from ark_extensions.cli import doctor_records
from ark_extensions.cli.installation import utc_now
from ark_extensions.domain.offers import Node
from ark_extensions.loop import beat_file
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.supervisor import lock
from ark_extensions.usecases import halts, market
from ark_extensions.usecases.views import Sentence
from tests.unit import test_platform_flow
from tests.unit.test_cli import Ark, ark, state_dir, template  # noqa: F401 - fixtures

Findings = dict[str, dict[str, str]]


@pytest.fixture
def storage(state_dir: Path) -> Storage:  # noqa: F811
    """The installation's database, with something for sale and somebody to buy it."""
    made = Storage(f"sqlite:///{state_dir / 'ark.sqlite'}")
    test_platform_flow.furnish(made)
    yield made
    made.close()


@pytest.fixture
def look(ark: Ark, storage: Storage) -> Callable[[], Findings]:  # noqa: F811
    return lambda: {found["name"]: found for found in json.loads(ark("doctor", "--json").stdout)}


def test_what_is_well_is_said_to_be_well(look: Callable[[], Findings]) -> None:
    found = look()
    assert {name: found[name]["state"] for name in ("database", "clock", "books", "stock", "disk")} == dict.fromkeys(
        ("database", "clock", "books", "stock", "disk"), "ok"
    )
    assert "posting" not in found and "workspaces" not in found, "nothing runs, so nobody need look after it"


def broken_database(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    (state_dir / "ark.sqlite-wal").unlink(missing_ok=True)
    (state_dir / "ark.sqlite").write_bytes(b"this is no database" * 500)


def unreachable_server(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("ARK_DATABASE_URL", "postgresql+psycopg://ark:hunter2-secret@127.0.0.1:1/ark")


def migrated_later(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")


def never_migrated(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")


def broken_hub_database(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    (state_dir / "jupyterhub.sqlite").write_bytes(b"no database either" * 500)


def clock_that_went_back(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    test_platform_flow.launch(storage, utc_now() + timedelta(minutes=10))


def halted_books(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with storage.write() as connection:
        halts.halt(connection, [Sentence("the wallet of alice differs")], utc_now())


def wrong_balance(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with storage.write() as connection:
        connection.exec_driver_sql("UPDATE accounts SET balance_micros = balance_micros + 1 WHERE name = 'credit:alice'")


def no_machine(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    market.set_nodes(storage, nodes=[Node("local", 0, 0, ())])


def nothing_for_sale(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for offer in ("cpu", "gpu"):
        market.withdraw(storage, what="offer", id=offer, now=utc_now())


def full_disk(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(looks.os, "statvfs", lambda path: SimpleNamespace(f_bavail=1000, f_frsize=4096, f_favail=10**6, f_files=10**6))


def no_more_files(storage: Storage, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(looks.os, "statvfs", lambda path: SimpleNamespace(f_bavail=10**9, f_frsize=4096, f_favail=7, f_files=10**6))


BROKEN = [
    (broken_database, "database", "problem", "ark restore"),
    (unreachable_server, "database", "problem", "database_url"),
    (migrated_later, "database", "problem", "ark restore"),
    (never_migrated, "database", "problem", "make up"),
    (broken_hub_database, "hub database", "problem", "ark restore"),
    (clock_that_went_back, "clock", "problem", "NTP"),
    (halted_books, "posting", "problem", "ark books resume"),
    (wrong_balance, "books", "problem", "ark books check"),
    (no_machine, "stock", "problem", "make up"),
    (nothing_for_sale, "stock", "problem", "ark prepare"),
    (full_disk, "disk", "problem", "du -sh"),
    (no_more_files, "disk", "problem", "du -sh"),
]


@pytest.mark.parametrize("language", ["en_US.UTF-8", "zh_CN.UTF-8"])
@pytest.mark.parametrize(("break_it", "name", "state", "way_out"), BROKEN, ids=[one[0].__name__ for one in BROKEN])
def test_what_is_broken_is_named_with_the_way_out(
    break_it: Callable[[Storage, Path, pytest.MonkeyPatch], None],
    name: str,
    state: str,
    way_out: str,
    language: str,
    ark: Ark,  # noqa: F811
    storage: Storage,
    state_dir: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_ALL", language)
    break_it(storage, state_dir, monkeypatch)
    said = ark("doctor", "--json")
    assert said.exit_code == 1 and isinstance(said.exception, SystemExit)
    found = {one["name"]: one for one in json.loads(said.stdout)}
    assert found[name]["state"] == state and way_out in found[name]["remedy"]
    assert "hunter2-secret" not in said.output
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in found[name]["sentence"])
    assert chinese == language.startswith("zh")


def test_workspaces_that_nobody_confirms_are_named_while_the_platform_runs(
    look: Callable[[], Findings],
    storage: Storage,
    state_dir: Path,  # noqa: F811
) -> None:
    test_platform_flow.launch(storage, utc_now() - timedelta(minutes=10))
    assert "workspaces" not in look(), "a platform that does not run confirms nothing, and need not"
    with lock.hold(state_dir):
        told = look()["workspaces"]
        assert told["state"] == "problem" and "alice/" in told["sentence"] and "Hub" in told["remedy"]


def test_a_service_without_a_process_and_one_that_hangs_are_told_apart(state_dir: Path) -> None:  # noqa: F811
    settings = Settings()
    gone = subprocess.Popen(["true"])
    gone.wait()
    beat = beat_file(state_dir, "billing")
    beat.touch()
    assert looks._alive(settings, "billing", os.getpid()).state == "ok"
    dead = looks._alive(settings, "billing", gone.pid)
    assert dead.state == "problem" and "billing.log" in dead.remedy
    assert looks._alive(settings, "billing", None).sentence == dead.sentence
    young = subprocess.Popen(["sleep", "60"])
    try:
        assert looks._alive(settings, "billing", young.pid, 1).state == "ok", "it was started again once"
        assert looks._alive(settings, "billing", young.pid, looks.OFTEN).sentence == dead.sentence
    finally:
        young.kill()
        young.wait()
    os.utime(beat, (0, 0))
    hangs = looks._alive(settings, "billing", os.getpid())
    assert hangs.state == "problem" and hangs.sentence != dead.sentence


def test_whose_port_it_is_can_be_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert looks._listens(os.getpid(), port)
        other = subprocess.Popen(["sleep", "60"])
        try:
            assert not looks._listens(other.pid, port)
        finally:
            other.kill()
            other.wait()


def test_the_doctor_changes_nothing(look: Callable[[], Findings], state_dir: Path) -> None:  # noqa: F811
    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in state_dir.iterdir() if path.is_file() and not path.name.endswith(("-wal", "-shm"))}

    look()
    before = content()
    look()
    assert content() == before
    assert doctor_records.DOUBTFUL < timedelta(minutes=5), "told before somebody calls"
