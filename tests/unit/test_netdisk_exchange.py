"""From a netdisk into the catalogue and back: what is published is what was in the folder, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ark_extensions.domain.errors import ArkError, NotFound
from ark_extensions.netdisk.exchange import catalogue_mount, import_into, opener, publish_folder
from ark_extensions.netdisk.tree import Tree
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases import users
from ark_extensions.volumes.local_dir import LocalDirVolumes
from tests.unit.fresh import fresh_database

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture
def storage(settings: Settings) -> Iterator[Storage]:
    settings.state_dir.mkdir()
    made = Storage(fresh_database(settings.state_dir))
    for name in ("alice", "bob"):
        users.ensure_user(made, name=name, admin=False, opening_credit_micros=0, now=NOW)
    yield made
    made.close()


def test_a_folder_is_published_and_taken_by_another_user(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    volumes = LocalDirVolumes(settings.state_dir)
    folder = volumes.netdisk("alice") / "photos"
    (folder / "daisy").mkdir(parents=True)
    (folder / "daisy" / "1.txt").write_text("daisy")
    version = publish_folder(storage, settings, volumes, owner="alice", folder="photos", kind="dataset", name="flowers", now=NOW)
    assert version == publish_folder(storage, settings, volumes, owner="alice", folder="photos", kind="dataset", name="flowers", now=NOW)
    (folder / "daisy" / "1.txt").write_text("changed later")
    mount = catalogue_mount(storage, kind="dataset", name="flowers", version=None)
    path = import_into(Tree(volumes.netdisk("bob")), opener(volumes, mount), "flowers")
    assert (volumes.netdisk("bob") / path / "daisy" / "1.txt").read_text() == "daisy"
    (volumes.netdisk("bob") / path / "daisy" / "1.txt").write_text("bob may write in his copy")
    for name in ("alice", "bob"):
        assert os.listdir(volumes.netdisk(name).parent / ".staging") == []


def test_nothing_outside_the_folder_is_published(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    volumes = LocalDirVolumes(settings.state_dir)
    (tmp_path / "secret").write_text("secret")
    data = volumes.netdisk("alice")
    (data / "out").symlink_to(tmp_path)
    (data / "folder").mkdir()
    (data / "folder" / "link").symlink_to(tmp_path / "secret")
    for folder in ("out", "folder", "../bob", "none"):
        with pytest.raises(ArkError):
            publish_folder(storage, settings, volumes, owner="alice", folder=folder, kind="dataset", name="flowers", now=NOW)
    with pytest.raises(NotFound):
        publish_folder(storage, settings, volumes, owner="nobody", folder="x", kind="dataset", name="flowers", now=NOW)
    with pytest.raises(NotFound):
        catalogue_mount(storage, kind="dataset", name="flowers", version=None)
    assert os.listdir(data.parent / ".staging") == []
