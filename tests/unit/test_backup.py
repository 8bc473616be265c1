"""`ark backup` and `ark restore` without a platform: what is refused, what is kept, and that a copy is of one moment."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ark_extensions.storage import Storage
from ark_extensions.storage.copies import NotCopied, copy_sqlite
from ark_extensions.usecases import books, users
from tests.unit.test_cli import Ark, ark, refused, state_dir, template
from tests.unit.test_platform_flow import T0

__all__ = ["ark", "state_dir", "template"]


@pytest.fixture
def with_hub(state_dir: Path) -> Path:
    """An installation that has run: the Hub's database, a data disk with a link out of it, a netdisk."""
    with closing(sqlite3.connect(state_dir / "jupyterhub.sqlite")) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
        connection.execute("INSERT INTO users VALUES ('li')")
        connection.commit()
    disk = state_dir / "disks/w1"
    disk.mkdir()
    (disk / "notes.txt").write_text("kept")
    (disk / "passwd").symlink_to("/etc/passwd")
    os.link(disk / "notes.txt", disk / "again.txt")
    (disk / "tool").write_text("#!/bin/sh\n")
    (disk / "tool").chmod(0o750)
    (state_dir / "runs/w1").mkdir()
    (state_dir / "logs/hub.log").write_text("much")
    return state_dir


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


def test_what_is_kept_comes_back_as_it_was(ark: Ark, with_hub: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ark("user", "add", "li")
    before = ark("user", "list").stdout
    assert ark("backup", str(elsewhere / "b")).exit_code == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["b"], "nothing is left beside it"
    monkeypatch.setenv("ARK_STATE_DIR", str(elsewhere / "new"))
    done = ark("restore", str(elsewhere / "b"))
    assert done.exit_code == 0 and f"make up DIR={elsewhere / 'new'}" in done.stdout
    assert ark("user", "list").stdout == before and ark("books", "check").exit_code == 0
    disk = elsewhere / "new/disks/w1"
    assert (disk / "notes.txt").read_text() == "kept" and (disk / "notes.txt").samefile(disk / "again.txt")
    assert os.readlink(disk / "passwd") == "/etc/passwd" and (disk / "tool").stat().st_mode & 0o777 == 0o750
    kept = {file.name: file.read_text() for file in (with_hub / "secrets").iterdir()}
    assert {file.name: file.read_text() for file in (elsewhere / "new/secrets").iterdir()} == kept
    assert list((elsewhere / "new/runs").iterdir()) == [] and list((elsewhere / "new/logs").iterdir()) == []
    assert (elsewhere / "new").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("language", ["C.UTF-8", "zh_CN.UTF-8"])
def test_what_cannot_be_is_refused_in_a_sentence(
    ark: Ark, with_hub: Path, elsewhere: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", language)
    ark("backup", str(elsewhere / "b"))
    assert str(elsewhere / "b") in refused(ark("backup", str(elsewhere / "b")))
    assert str(with_hub) in refused(ark("restore", str(elsewhere / "b"))), "where something is, nothing is written"
    assert "manifest.json" in refused(ark("restore", str(elsewhere)))
    monkeypatch.setenv("ARK_STATE_DIR", str(elsewhere / "new"))
    manifest = json.loads((elsewhere / "b/manifest.json").read_text())
    (elsewhere / "b/manifest.json").write_text(json.dumps({**manifest, "schema": "9999"}))
    assert "ark restore" in refused(ark("restore", str(elsewhere / "b"))), "of a later version"
    (elsewhere / "b/manifest.json").write_text(json.dumps(manifest))
    with (elsewhere / "b/ark.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    assert "ark.sqlite" in refused(ark("restore", str(elsewhere / "b")))
    assert sorted(path.name for path in elsewhere.iterdir()) == ["b"]
    monkeypatch.setenv("ARK_STATE_DIR", str(with_hub))
    (with_hub / "jupyterhub.sqlite").write_bytes(b"no database" * 1000)
    assert "jupyterhub.sqlite" in refused(ark("backup", str(elsewhere / "c")))
    (with_hub / "jupyterhub.sqlite").unlink()
    assert "docs/operate.md" in refused(ark("backup", str(elsewhere / "c")))
    assert sorted(path.name for path in elsewhere.iterdir()) == ["b"]


def test_a_copy_is_one_moments_while_others_write(state_dir: Path, elsewhere: Path) -> None:
    storage = Storage(f"sqlite:///{state_dir / 'ark.sqlite'}")
    enough = threading.Event()

    def write() -> None:
        number = 0
        while not enough.is_set():
            users.ensure_user(storage, name=f"u{number}", admin=False, opening_credit_micros=100, now=T0)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy_sqlite(state_dir / "ark.sqlite", elsewhere / f"{number}.sqlite")
    finally:
        enough.set()
        writer.join()
        storage.close()
    for number in range(5):
        copied = Storage(f"sqlite:///{elsewhere / f'{number}.sqlite'}")
        assert books.check_books(copied) == [], "each user with their credit, or neither"
        copied.close()
    with pytest.raises(NotCopied):
        copy_sqlite(state_dir / "none.sqlite", elsewhere / "none")


def test_a_tar_with_much_to_complain_of_is_heard_to_its_end(
    ark: Ark, with_hub: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a pipe holds: with a reader of its other output only, it would wait for ever."""
    (elsewhere / "bin").mkdir()
    tar = elsewhere / "bin/tar"
    tar.write_text("#!/bin/sh\nexec timeout 20 sh -c 'yes no | head -c 300000 >&2; echo; echo cannot read w1 >&2; exit 2'\n")
    tar.chmod(0o755)
    monkeypatch.setenv("PATH", f"{elsewhere / 'bin'}:{os.environ['PATH']}")
    assert "cannot read w1" in refused(ark("backup", str(elsewhere / "b")))
    assert not (elsewhere / "b").exists() and not (elsewhere / "b.partial").exists()


def test_a_directory_that_is_in_the_way_is_left_alone(ark: Ark, with_hub: Path, elsewhere: Path) -> None:
    (elsewhere / "b.partial").mkdir()
    (elsewhere / "b.partial/mine.txt").write_text("mine")
    assert "remove it first" in refused(ark("backup", str(elsewhere / "b")))
    assert (elsewhere / "b.partial/mine.txt").read_text() == "mine"
