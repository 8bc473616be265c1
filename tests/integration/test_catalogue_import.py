"""Imports survive kill -9 and a full disk with nothing half published; a new installation gets its demo catalogue."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ark_extensions.catalogue import import_item, importing, install_demo
from ark_extensions.domain.errors import Conflict, InvalidField, Unavailable
from ark_extensions.domain.offers import Node
from ark_extensions.environments import PROJECT, environments
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage, migrate
from ark_extensions.usecases import market

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
IMPORT = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from ark_extensions.catalogue import import_item
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
settings = Settings(state_dir=Path(sys.argv[1]))
def progress(done, total):
    print(done, total, flush=True)
import_item(Storage(settings.resolved_database_url), settings, kind="dataset", name="big", source_dir=Path(sys.argv[2]),
            now=datetime.now(UTC), progress=progress)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(state_dir=tmp_path / "state")
    found.state_dir.mkdir()
    migrate(found.resolved_database_url)
    return found


@pytest.fixture
def storage(settings: Settings):
    storage = Storage(settings.resolved_database_url)
    yield storage
    storage.close()


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    top = tmp_path / "flowers"
    for name in ("roses", "tulips"):
        (top / name).mkdir(parents=True)
        for n in range(5):
            (top / name / f"{n}.jpg").write_bytes(f"{name} {n}".encode() * 1000)
    return top


def take(storage: Storage, settings: Settings, source: Path, **rest) -> int:
    return import_item(storage, settings, **{"kind": "dataset", "name": "flower-photos", **rest}, source_dir=source, now=NOW)


def shelf(settings: Settings, name: str = "flower-photos") -> Path:
    return settings.state_dir / "catalog" / "dataset" / name


def visible(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []


def test_versions_are_immutable_and_the_same_content_is_one(storage: Storage, settings: Settings, flowers: Path) -> None:
    assert take(storage, settings, flowers, title="Flowers", license="CC BY 2.0") == 1
    copied = shelf(settings) / "1" / "roses" / "3.jpg"
    assert copied.read_bytes() == b"roses 3" * 1000
    assert stat.S_IMODE(copied.stat().st_mode) == 0o444
    assert take(storage, settings, flowers) == 1
    (flowers / "roses" / "6.jpg").write_text("new")
    assert take(storage, settings, flowers) == 2
    (flowers / "roses" / "6.jpg").unlink()
    assert take(storage, settings, flowers) == 1
    assert visible(shelf(settings)) == ["1", "2"]
    assert not list(shelf(settings).glob(".incoming-*"))
    (item,) = market.list_items(storage, kind="dataset")
    assert (item.title, item.license) == ("Flowers", "CC BY 2.0")
    assert [(v[0], v[1], v[2]) for v in item.versions] == [(2, 75003, 11), (1, 75000, 10)]


def test_what_changes_between_being_read_and_being_copied_is_no_version(storage: Storage, settings: Settings, flowers: Path) -> None:
    """Of the same length, so that its bytes alone tell; the next import takes what is there then."""

    def meddle(done: int, total: int) -> None:
        if done * 2 == total:  # all is read, nothing is copied
            (flowers / "tulips" / "4.jpg").write_bytes(b"another" * 1000 + b"x" * 1000)

    with pytest.raises(InvalidField, match="changed during the import"):
        take(storage, settings, flowers, progress=meddle)
    assert visible(shelf(settings)) == [] and market.list_items(storage, kind="dataset") == []
    assert take(storage, settings, flowers) == 1
    assert (shelf(settings) / "1" / "tulips" / "4.jpg").read_bytes().startswith(b"another")


def test_progress_ends_at_the_whole(storage: Storage, settings: Settings, flowers: Path) -> None:
    seen: list[tuple[int, int]] = []
    import_item(
        storage, settings, kind="model", name="m", source_dir=flowers, now=NOW, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (150000, 150000)


def test_killed_at_any_moment_it_completes_the_second_time(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.mkdir()
    for n in range(40):
        (source / f"{n:02}").write_bytes(os.urandom(1 << 20))
    command = [sys.executable, "-c", IMPORT, str(settings.state_dir), str(source)]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    for blocks in (10, 45, 60, 78):  # while it reads, and while it copies
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(blocks):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert visible(shelf(settings, "big")) == []
        assert market.list_items(storage, kind="dataset") == []
    (incoming,) = shelf(settings, "big").glob(".incoming-*")
    kept = {p.name: p.stat().st_mtime_ns for p in incoming.iterdir() if p.stat().st_size == 1 << 20}
    assert len(kept) >= 15
    assert subprocess.run(command, env=env, stdout=subprocess.DEVNULL, timeout=60).returncode == 0
    assert visible(shelf(settings, "big")) == ["1"]
    version = shelf(settings, "big") / "1"
    assert all((version / p.name).read_bytes() == p.read_bytes() for p in source.iterdir())
    untouched = [name for name, at in kept.items() if (version / name).stat().st_mtime_ns == at]
    assert len(untouched) >= 15


def test_killed_between_database_and_disk_it_heals(
    storage: Storage, settings: Settings, flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(importing, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            take(storage, settings, flowers)
    assert take(storage, settings, flowers) == 1
    assert visible(shelf(settings)) == ["1"]


def test_a_new_database_over_old_files_mixes_nothing_up(storage: Storage, settings: Settings, flowers: Path, tmp_path: Path) -> None:
    take(storage, settings, flowers)
    (flowers / "roses" / "6.jpg").write_text("new")
    take(storage, settings, flowers)
    migrate(f"sqlite:///{tmp_path / 'other.sqlite'}")
    other = Storage(f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert take(other, settings, flowers) == 1
    assert (shelf(settings) / "1" / "roses" / "6.jpg").read_text() == "new"
    other.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_a_sentence_and_no_version(
    storage: Storage, settings: Settings, flowers: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real, copied = importing._copy, []

    def failing(top: Path, entry, *rest) -> None:
        if len(copied) == 4:
            raise OSError(code, os.strerror(code))
        copied.append(entry.path)
        real(top, entry, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(importing, "_copy", failing)
        with pytest.raises(Unavailable, match="too full" if code != errno.EIO else "cannot be written"):
            take(storage, settings, flowers)
    assert visible(shelf(settings)) == []
    assert market.list_items(storage, kind="dataset") == []
    assert take(storage, settings, flowers) == 1


def test_too_little_space_is_said_before_anything_is_copied(
    storage: Storage, settings: Settings, flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SPARE_BYTES", 1 << 60)
    with pytest.raises(Unavailable, match="The disk is too full: the import needs [0-9]+ MiB more and [0-9]+ MiB are free"):
        take(storage, settings, flowers)
    assert visible(shelf(settings)) == []


def test_two_imports_of_one_item_do_not_mix(storage: Storage, settings: Settings, flowers: Path) -> None:
    started, go_on, results = threading.Event(), threading.Event(), []

    def wait(done: int, total: int) -> None:
        started.set()
        go_on.wait(10)

    def first() -> None:
        results.append(import_item(storage, settings, kind="dataset", name="flower-photos", source_dir=flowers, now=NOW, progress=wait))

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(10)
    with pytest.raises(Conflict, match="Another import of flower-photos"):
        take(storage, settings, flowers)
    go_on.set()
    thread.join(10)
    assert results == [1]


def test_bad_names_and_places_are_refused(storage: Storage, settings: Settings, flowers: Path) -> None:
    take(storage, settings, flowers)
    for bad in ({"name": "../x"}, {"name": "X"}, {"name": ""}, {"kind": "offer"}):
        with pytest.raises(InvalidField):
            take(storage, settings, flowers, **bad)
    for inside in (shelf(settings) / "1", shelf(settings), settings.state_dir):
        with pytest.raises(InvalidField, match="catalogue's own directory"):
            take(storage, settings, inside)


def test_a_new_installation_gets_its_demo_and_keeps_what_an_operator_does(settings: Settings, storage: Storage) -> None:
    if not (environments(settings.cache_dir).workspace / "bin/python").exists():
        pytest.skip("the workspace environment is not built")
    said: list[str] = []
    nodes = [Node("local", 2, 16384, (("0", "H200"),))]
    install_demo(storage, settings, nodes=nodes, now=NOW, progress=said.append, gpu_memory={"H200": 141})
    assert len(said) == 2
    offers = market.list_offers(storage, now=NOW)
    hourly = [("h200-1-2c-16g", 1), ("cpu-1c-8g", 2), ("cpu-2c-16g", 1)]
    assert [(o.offer.id, o.free) for o in offers] == [*hourly, *((f"{id}-monthly", free) for id, free in hourly)]
    assert "python-cpu" in {i.id for i in market.list_images(storage)}
    assert [d.size_gib for d in market.list_disks(storage, now=NOW)] == [200, 500]
    pictures = settings.state_dir / "catalog/dataset/digits/1"
    assert sorted(p.name for p in pictures.iterdir() if p.is_dir()) == list("0123456789")
    assert len(list(pictures.glob("*/*.png"))) == 1797
    assert (settings.state_dir / "catalog/model/digits-mlp/1/model.joblib").is_file()
    assert not list((settings.state_dir / "catalog").glob(".making-*"))

    said.clear()
    install_demo(storage, settings, nodes=nodes, now=NOW, progress=said.append, gpu_memory={"H200": 141})
    assert said == []
    market.withdraw(storage, what="dataset", id="digits", now=NOW)
    market.withdraw(storage, what="offer", id="cpu-1c-8g", now=NOW)
    install_demo(storage, settings, nodes=nodes, now=NOW, gpu_memory={"H200": 141})
    assert market.list_items(storage, kind="dataset") == []
    assert "cpu-1c-8g" not in {o.offer.id for o in market.list_offers(storage, now=NOW)}


def test_a_demo_that_was_made_elsewhere_is_taken_once_and_none_is_none(settings: Settings, storage: Storage, tmp_path: Path) -> None:
    """As in a cluster, where the image of the services has no scikit-learn: what an image of workspaces has made lies there."""
    nodes, made = [Node("n", 2, 16384)], tmp_path / "demo"
    (made / "digits").mkdir(parents=True)
    (made / "digits/README.md").write_text("pictures")
    for _ in range(2):
        install_demo(storage, settings, nodes=nodes, now=NOW, gpu_memory={}, made=made)
    assert [(item.name, len(item.versions)) for item in market.list_items(storage, kind="dataset")] == [("digits", 1)]
    assert market.list_items(storage, kind="model") == [], "what was not made is left out"
    assert (made / "digits/README.md").exists(), "it is not ours to clear away"


def test_without_a_demo_there_are_offers_all_the_same(settings: Settings, storage: Storage, tmp_path: Path) -> None:
    install_demo(storage, settings, nodes=[Node("n", 2, 16384)], now=NOW, gpu_memory={}, made=tmp_path / "demo")
    assert market.list_offers(storage, now=NOW) and not market.list_items(storage, kind="dataset")
