"""Disks made ready: what a user planted in their home is moved aside, never followed, never deleted."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from ark_extensions.domain.workspaces import Mount
from ark_spawner import disks
from ark_spawner import filesystem as fs

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    return place


def uid() -> int:
    return os.geteuid()


def test_mount_points_are_made(home: Path) -> None:
    assert disks.prepare_mount_points(home, uid()) == []
    assert all((home / name).is_dir() and not (home / name).is_symlink() for name in ("data", "imported_datasets", "imported_models"))


def test_a_second_start_changes_nothing(home: Path) -> None:
    disks.prepare_mount_points(home, uid())
    (home / "data" / "kept").write_text("mine")
    assert disks.prepare_mount_points(home, uid()) == []
    assert (home / "data" / "kept").read_text() == "mine"


@pytest.mark.parametrize("target", ["/etc", "/oldroot/root", "../outside", "/ark-contexts/data", "loop"])
def test_a_planted_link_is_moved_aside_and_not_followed(home: Path, tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if target == "loop":
        (home / "loop").symlink_to("loop")
    (home / "imported_datasets").symlink_to(target)
    assert disks.prepare_mount_points(home, uid()) == [("imported_datasets", "imported_datasets.moved-1")]
    assert (home / "imported_datasets.moved-1").readlink() == Path(target)
    assert (home / "imported_datasets").is_dir() and not (home / "imported_datasets").is_symlink()
    assert list(outside.iterdir()) == []


def test_a_file_and_a_fifo_in_the_way_are_moved_aside(home: Path) -> None:
    (home / "data").write_text("my notes")
    os.mkfifo(home / "imported_models")
    assert disks.prepare_mount_points(home, uid()) == [("data", "data.moved-1"), ("imported_models", "imported_models.moved-1")]
    assert (home / "data.moved-1").read_text() == "my notes"


def test_nothing_is_overwritten_when_the_name_aside_is_taken(home: Path) -> None:
    (home / "data").write_text("second")
    (home / "data.moved-1").write_text("first")
    assert disks.prepare_mount_points(home, uid()) == [("data", "data.moved-2")]
    assert (home / "data.moved-1").read_text() == "first"


def test_a_home_that_is_itself_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home)
    with pytest.raises(OSError):
        disks.prepare_mount_points(tmp_path / "link", uid())


def test_a_closed_mount_point_is_opened_again(home: Path) -> None:
    (home / "data").mkdir(mode=0o000)
    (home / "data").chmod(0o000)
    disks.prepare_mount_points(home, uid())
    assert (home / "data").stat().st_mode & 0o700 == 0o700


@ROOT_ONLY
def test_a_tree_is_given_to_its_user_without_following_links(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("root's")
    (home / "sub").mkdir()
    (home / "sub" / "file").write_text("x")
    (home / "sub" / "link").symlink_to(outside)
    disks.give_to(home, 1_500_000_001)
    assert {path.lstat().st_uid for path in (home, home / "sub", home / "sub/file", home / "sub/link")} == {1_500_000_001}
    assert outside.stat().st_uid == 0


@ROOT_ONLY
def test_a_closed_tree_is_opened_for_reading_and_nothing_more(tmp_path: Path) -> None:
    tree = tmp_path / "digits"
    (tree / "0").mkdir(parents=True)
    (tree / "0" / "a.png").write_bytes(b"x")
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    (tree / "link").symlink_to(secret)
    for path, mode in ((tree / "0" / "a.png", 0o400), (tree / "0", 0o500), (tree, 0o500)):
        path.chmod(mode)
    disks.open_to_all(tree)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tree, tree / "0", tree / "0" / "a.png", secret)}
    assert modes == {"digits": 0o505, "0": 0o505, "a.png": 0o404, "secret": 0o600}


def test_the_runs_own_files_name_the_user_and_the_workspace(tmp_path: Path) -> None:
    disks.prepare_run(tmp_path, workspace_name="train", uid=uid())
    assert "user:x:1000:1000:user:/home/user:/bin/bash\n" in (tmp_path / "etc/passwd").read_text()
    assert "127.0.1.1 train\n" in (tmp_path / "etc/hosts").read_text()
    assert (tmp_path / "tmp").stat().st_mode & 0o1777 == 0o1777


def test_items_appear_where_the_user_guide_says() -> None:
    assert str(fs.item_path(Mount("dataset", "flower-photos", 1, ""))) == "/home/user/imported_datasets/flower-photos"
    assert str(fs.item_path(Mount("model", "resnet34-pth", 1, ""))) == "/home/user/imported_models/resnet34-pth"


def test_without_a_sandbox_links_take_the_mounts_places(home: Path, tmp_path: Path) -> None:
    netdisk, item = tmp_path / "netdisk", tmp_path / "digits"
    netdisk.mkdir()
    item.mkdir()
    (home / "data").write_text("in the way")
    digits = Mount("dataset", "digits", 1, "")
    assert disks.link_mounts(home, netdisk, [(digits, item)]) == [("data", "data.moved-1")]
    assert (home / "data").readlink() == netdisk and (home / "imported_datasets/digits").readlink() == item
    assert disks.link_mounts(home, netdisk, []) == []
    assert not (home / "imported_datasets/digits").exists(), "what the workspace no longer has is gone"


def test_an_image_in_the_home_of_an_operator_named_user_gets_a_mount_point_too(home: Path, tmp_path: Path) -> None:
    (home / ".cache").symlink_to(tmp_path)
    inside = PurePosixPath(".cache/ark/workspace-1")
    assert disks.prepare_mount_points(home, uid(), [inside]) == [(".cache", ".cache.moved-1")]
    assert (home / inside).is_dir() and not (tmp_path / "ark").exists()
