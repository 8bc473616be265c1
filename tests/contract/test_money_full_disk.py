"""A disk that is really full under the database: what was acknowledged is there, the loop says why, and goes on by itself."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from ark_extensions.billing.passes import settle
from ark_extensions.loop import Job, repeat
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import books
from ark_extensions.usecases.journal import post_postings
from bench.population import NOON, Crowd, populate
from tests import postgresql
from tests.unit.fresh import fresh_database
from tests.unit.test_journal import gave

FULL = "full", "No space left on device"
CROWD = Crowd(owners=40, each=10)


@dataclass
class Disk:
    """A database on a disk of its own. ``mend``: what its operator does once there is room; ``said``: the database's own log."""

    place: Path
    storage: Storage
    mend: Callable[[], None]
    said: Callable[[], str]

    def fill(self) -> Path:
        """Take every byte that is left."""
        filler = self.place / "filler"
        for size in (1 << 20, 1):  # a small disk takes whole pages: the last bytes one by one
            with filler.open("ab", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass
        return filler


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("a small disk can only be mounted by root")
    if request.param == "sqlite":
        place = tmp_path / "disk"
        place.mkdir()
        try:
            postgresql.small_disk(place, 24)
        except PermissionError as refused:
            pytest.skip(str(refused))
        storage = Storage(fresh_database(place))
        try:
            yield Disk(place, storage, lambda: None, lambda: "")
        finally:
            storage.close()
            subprocess.run(["umount", "-l", str(place)], check=True, timeout=30)
        return
    if postgresql.missing():
        pytest.skip(postgresql.missing() or "")
    try:
        with postgresql.server(durable=True, room_mib=160) as server:
            url = server.database()
            migrate(url)
            storage = Storage(url)
            yield Disk(server.data.parent, storage, lambda: None if server.runs() else server.start(), server.said)
            storage.close()
    except PermissionError as refused:
        pytest.skip(str(refused))


def post_until_full(storage: Storage, acknowledged: list[str]) -> str:
    """Post and note what was acknowledged, until the database refuses; what it said."""
    for n in range(200_000):
        key = f"{len(acknowledged)}-{n}"
        try:
            assert post_postings(storage, [gave(key), gave(f"{key}b")]) == 2
        except DBAPIError as refused:
            return str(refused)
        acknowledged += [key, f"{key}b"]
    raise AssertionError("the disk was never full")


async def passes(storage: Storage, between: Callable[[int], bool]) -> None:
    """The billing service's own loop; ``between`` a pass and the next: whether it is time to end."""
    done = 0

    async def pause(seconds: float) -> bool:
        nonlocal done
        done += 1
        return between(done)

    await repeat(Job("settle", 1, lambda: settle(storage, now=NOON)), pause=pause)


async def test_a_full_disk_loses_nothing_acknowledged_is_told_and_is_over_with_the_first_room(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    storage, acknowledged = disk.storage, ["before"]
    populate(storage, CROWD)
    post_postings(storage, [gave("before")])
    filler, said = disk.fill(), ""
    for _ in range(3):  # and it stays full
        said += post_until_full(storage, acknowledged)
        disk.fill()
    assert any(word in said + disk.said() for word in FULL), said

    def room_after_two(done: int) -> bool:
        if done == 2:
            assert caplog.text.count("settle: this pass failed") == 2
            filler.unlink()
            disk.mend()
        return "works again" in caplog.text or done > 5

    with caplog.at_level(logging.INFO, logger="ark"):
        await passes(storage, room_after_two)
    assert "settle: works again." in caplog.text and f"{CROWD.owners * CROWD.each} charges were posted." in caplog.text
    with storage.read() as connection:
        stored = {row[0] for row in connection.exec_driver_sql("SELECT idempotency_key FROM transactions")}
    assert set(acknowledged) <= stored
    assert books.check_books(storage) == []
    assert post_postings(storage, [gave(acknowledged[0]), gave("after")]) == 1
