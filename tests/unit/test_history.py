"""A workspace's life by its id: a step is one line of the log whatever was typed, told only when it is committed; the record in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from ark_extensions.cli.logs import read_logs
from ark_extensions.domain.errors import NotFound
from ark_extensions.storage import Storage
from ark_extensions.usecases.events import emit, log_line
from ark_extensions.usecases.history import history
from ark_extensions.usecases.views import Sentence
from tests.unit.test_platform_flow import T0, later, launch, stop
from tests.unit.test_platform_flow import storage as platform_storage

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    yield from platform_storage.__wrapped__(tmp_path)  # type: ignore[attr-defined]


def test_a_line_is_one_line_whatever_was_typed() -> None:
    hostile = 'x"\nworkspace=other event=stopped \x1b[31m owner=root'
    line = log_line(ID, hostile, "changed", Sentence("Renamed to “{name}”.", {"name": hostile}), hostile, {"launch_id": ID, "log": "tail"})
    assert len(line.splitlines()) == 1 and "\x1b" not in line and line.startswith(f"workspace={ID} event=changed owner=")
    assert " event=stopped " not in line.split('"')[0] and line.count(f"launch_id={ID}") == 1
    assert "tail" not in line, "the raw detail is on record, and not in the log"
    assert "{price_micros}" in log_line(ID, "li", "k", Sentence("{price_micros}"), "li", {}), (
        "a sentence that lacks a field is told as it is"
    )


def test_only_what_is_committed_is_told(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ark")
    workspace_id, _, _ = launch(storage, T0)
    told = [record.getMessage() for record in caplog.records if f"workspace={workspace_id} " in record.getMessage()]
    assert [line.split()[1] for line in told] == ["event=ordered", "event=starting", "event=running"]
    assert "request_id=r1" in told[0] and "launch_id=" in told[1] and "node=local" in told[1]
    caplog.clear()
    with pytest.raises(RuntimeError), storage.write() as connection:
        emit(connection, workspace_id=workspace_id, owner="alice", at=T0, kind="stopped", message=Sentence("Stopped."))
        raise RuntimeError
    assert not caplog.records


def test_what_could_not_be_committed_is_not_told(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk is found at the commit itself: the act is undone, and the log must not say that it happened."""
    caplog.set_level(logging.INFO, logger="ark")
    workspace_id, _, _ = launch(storage, T0)
    with storage.write() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE child (of INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    caplog.clear()
    with pytest.raises(IntegrityError), storage.write() as connection:
        emit(connection, workspace_id=workspace_id, owner="alice", at=T0, kind="stopped", message=Sentence("Stopped."))
        connection.exec_driver_sql("INSERT INTO child VALUES (1)")
    assert not caplog.records and "stopped" not in {step.kind for step in history(storage, workspace=workspace_id).steps}
    with storage.write() as connection:
        emit(connection, workspace_id=workspace_id, owner="alice", at=T0, kind="renamed", message=Sentence("Renamed."))
        assert not caplog.records, "not before the commit"
    assert [record.getMessage().split()[1] for record in caplog.records] == ["event=renamed"]


def test_what_is_on_record_is_put_in_order(storage: Storage) -> None:
    workspace_id, name, launch_id = launch(storage, T0)
    stop(storage, workspace_id, launch_id, later(hours=1))
    found = history(storage, workspace=workspace_id)
    assert found == history(storage, workspace=f"alice/{name}")
    assert (found.owner, found.name, found.ids) == ("alice", name, (workspace_id, launch_id))
    assert [step.at for step in found.steps] == sorted(step.at for step in found.steps)
    kinds = [step.kind for step in found.steps]
    for kind in ("placed", "ordered", "starting", "running", "metered from", "metered until", "stopped", "charge_compute"):
        assert kind in kinds
    with pytest.raises(NotFound):
        history(storage, workspace=f"bob/{name}")
    with pytest.raises(NotFound):
        history(storage, workspace="")


@pytest.fixture
def universal_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Hub's own lines are in the machine's time, and do not say which that is."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("universal_time")
def test_lines_are_found_by_whole_words_in_every_log(tmp_path: Path) -> None:
    (tmp_path / "hub.log").write_text(
        "[I 2026-11-23 21:21:22.124 JupyterHub base:1134] User li:lab took 8.693 seconds to start\n"
        "[I 2026-11-23 21:21:22.125 JupyterHub base:1134] User li:lab2 took 1 second to start\n"
        f"no time, but workspace={ID}\n"
    )
    (tmp_path / "console.log.1").write_text(f"2026-11-23T21:20:00+0000 INFO workspace={ID} event=ordered\n")
    (tmp_path / "console.log").write_bytes(f"2026-11-23T21:30:00+0800 INFO workspace={ID} event=released \xff\n".encode("latin-1"))
    found = sorted(read_logs(tmp_path, (ID, "li:lab")))
    assert [(source, "li:lab" in text) for _, source, text in found] == [("log:console", False), ("log:console", False), ("log:hub", True)]
    assert len(found) == 3 and not any("lab2" in text for _, _, text in found)
    assert found[0][0] == datetime(2026, 11, 23, 13, 30, tzinfo=UTC)
    recent = datetime(2026, 11, 23, 21, 20, tzinfo=UTC) + timedelta(seconds=1)
    assert all(at >= recent - timedelta(seconds=1) for at, _, _ in read_logs(tmp_path, (ID,), since=recent))
    assert list(read_logs(tmp_path / "none", (ID,))) == []
