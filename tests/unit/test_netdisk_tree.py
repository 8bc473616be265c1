"""The file layer on a real directory: replaced whole, never out of the tree, deep trees, holes, crashes half-way."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ark_extensions.domain.errors import ArkError, NotFound
from ark_extensions.domain.files import Usage
from ark_extensions.netdisk import kernel
from ark_extensions.netdisk.copying import Copy, weigh
from ark_extensions.netdisk.listing import list_folder, search
from ark_extensions.netdisk.refusals import Exists, Leaves, NoParent
from ark_extensions.netdisk.scanning import measure_fast
from ark_extensions.netdisk.tree import Tree
from ark_extensions.netdisk.tus_files import bytes_there, open_at_end
from ark_extensions.netdisk.walking import measure
from ark_extensions.usecases.netdisk import Upload


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "corner" / "data").mkdir(parents=True)
    return tmp_path / "corner" / "data"


@pytest.fixture(params=["all flags", "plain renames only"])
def tree(data: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Every test also as on a file system that knows no flags of renameat2 (NFS, CephFS)."""
    if request.param == "plain renames only":
        monkeypatch.setattr(kernel, "_libc", WithoutFlags(kernel._libc))
    return Tree(data)


class WithoutFlags:
    """The C library, on a kernel that answers EINVAL to a rename with flags."""

    def __init__(self, libc: Any) -> None:
        self._libc = libc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._libc, name)

    def syscall(self, number: int, *arguments: Any) -> int:
        if number == kernel._RENAMEAT2 and arguments[-1].value:
            ctypes.set_errno(errno.EINVAL)
            return -1
        return int(self._libc.syscall(number, *arguments))


def put(tree: Tree, path: str, content: bytes, on_conflict: str = "replace") -> str:
    name, fd = tree.stage()
    try:
        os.write(fd, content)
        return tree.publish(name, fd, path, on_conflict=on_conflict, modified=datetime(2020, 1, 1, tzinfo=UTC))[0]
    finally:
        tree.discard(name)
        os.close(fd)


def test_a_file_is_published_with_its_time_and_keeps_the_mode_of_the_old(tree: Tree, data: Path) -> None:
    (data / "run.sh").write_text("old")
    (data / "run.sh").chmod(0o755)
    assert put(tree, "run.sh", b"new") == "run.sh"
    info = (data / "run.sh").stat()
    assert (data / "run.sh").read_bytes() == b"new" and info.st_mode & 0o777 == 0o755 and info.st_mtime == 1577836800


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_told(
    tree: Tree, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def watched(fd: int) -> None:
        what = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        synced.append((what, (data / "report.txt").exists()))
        real(fd)

    monkeypatch.setattr(os, "fsync", watched)
    put(tree, "report.txt", b"x")
    assert ("file", False) in synced, "not synced before it was renamed"
    assert synced[-1] == ("folder", True), "the rename was not synced"


@pytest.mark.parametrize(("boot_id", "counts"), [("same", 700), ("before the crash", 500)])
def test_after_a_crash_of_the_machine_only_what_was_synced_counts_as_uploaded(tree: Tree, boot_id: str, counts: int) -> None:
    name, fd = tree.stage()
    os.write(fd, b"x" * 700)
    os.close(fd)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    upload = Upload(name, "alice", "big", 1000, 500, boot_id, "refuse", None, None, "", now, now, None)
    assert bytes_there(tree, upload, "same") == counts
    fd, at = open_at_end(tree, upload, "same")
    assert at == counts and os.fstat(fd).st_size == counts, "what may be garbage is cut off"
    os.close(fd)


def test_conflicts(tree: Tree, data: Path) -> None:
    put(tree, "a.txt", b"1")
    with pytest.raises(Exists):
        put(tree, "a.txt", b"2", "refuse")
    assert put(tree, "a.txt", b"2", "keep_both") == "a (2).txt" and put(tree, "a.txt", b"3", "keep_both") == "a (3).txt"
    (data / "folder").mkdir()
    with pytest.raises(Exists):
        put(tree, "folder", b"x")
    with pytest.raises(NoParent):
        put(tree, "none/x", b"x")
    assert os.listdir(tree.staging_fd) == []


def test_moving_over_a_folder_exchanges_both_at_once(tree: Tree, data: Path) -> None:
    for name in ("new", "old"):
        (data / name).mkdir()
        (data / name / name).touch()
    with pytest.raises(Exists):
        tree.move("new", "old", on_conflict="refuse")
    path, doomed = tree.move("new", "old", on_conflict="replace")
    assert path == "old" and os.listdir(data) == ["old"] and os.listdir(data / "old") == ["new"]
    assert doomed is not None
    tree.remove_doomed(doomed)
    assert os.listdir(tree.staging_fd) == []
    (data / "old" / "inner").mkdir()
    for target in ("old/inner/x", "old"):
        with pytest.raises(ArkError):
            tree.move("old", target, on_conflict="replace")
    with pytest.raises(ArkError):
        tree.move("old/inner", "old", on_conflict="replace")
    assert (data / "old" / "inner").is_dir()


@pytest.mark.parametrize("target", ["..", "/etc", "../../x", "/proc/self/root", "/proc/self/cwd", "/dev/fd/0", "a/../../..", "\\\\host"])
def test_links_that_leave_are_refused_by_everything(tree: Tree, data: Path, target: str) -> None:
    (data / "a").mkdir()
    (data / "link").symlink_to(target)
    acts = [
        lambda: tree.look("link/x"), lambda: tree.open_file("link/x"), lambda: tree.make_folder("link/x"),
        lambda: put(tree, "link/x", b"x"),
        lambda: tree.move("a", "link/x", on_conflict="refuse"), lambda: tree.take_out("link/x"), lambda: tree.put_in_trash("link/x", "id"),
        lambda: list_folder(tree, "link"), lambda: Copy(tree).run("link/x", "y", on_conflict="refuse"),
        lambda: Copy(tree).run("a", "link/x", on_conflict="refuse"), lambda: search(tree, "link", "p"), lambda: weigh(tree, "link/x"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises((Leaves, NotFound, NoParent)):
            act()
    assert sorted(os.listdir(data)) == ["a", "link"]


def test_the_trash_gives_back_also_what_lost_its_folder(tree: Tree, data: Path) -> None:
    (data / "deep" / "er").mkdir(parents=True)
    put(tree, "deep/er/f", b"x")
    tree.put_in_trash("deep/er/f", "id1")
    tree.remove_doomed(tree.take_out("deep"))
    assert tree.take_from_trash("id1", "deep/er/f", on_conflict="keep_both") == "deep/er/f"
    assert (data / "deep/er/f").read_bytes() == b"x"
    with pytest.raises(NotFound):
        tree.take_from_trash("id1", "deep/er/f", on_conflict="keep_both")


def test_a_copy_keeps_holes_links_and_modes_and_is_whole_or_not_there(tree: Tree, data: Path) -> None:
    source = data / "s"
    source.mkdir()
    (source / "f").write_bytes(b"content")
    (source / "f").chmod(0o500)
    (source / "out").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    with open(source / "hole", "wb") as hole:
        hole.seek(1 << 35)
        hole.write(b"end")
    copy = Copy(tree)
    assert copy.run("s", "t", on_conflict="refuse") == ("t", None)
    target = data / "t"
    assert (target / "f").read_bytes() == b"content" and (target / "f").stat().st_mode & 0o100
    assert os.readlink(target / "out") == "/etc/passwd" and not (target / "pipe").exists()
    assert (target / "hole").stat().st_size == (1 << 35) + 3 and (target / "hole").stat().st_blocks < 200
    stopped = Copy(tree, stop=lambda: True)
    with pytest.raises(ArkError):
        stopped.run("s", "u", on_conflict="refuse")
    assert not (data / "u").exists() and os.listdir(tree.staging_fd) == []


def test_a_tree_deeper_than_any_path_is_measured_searched_and_deleted(tree: Tree, data: Path) -> None:
    fd = os.open(data, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=fd)
        inner = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("needle", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    assert measure(tree.data_fd).files == 1501 and measure_fast(tree.data_fd, 10**6).files == 1501
    assert len(search(tree, "", "needle").entries) == 1
    tree.remove_doomed(tree.take_out("deep"))
    assert os.listdir(data) == [] and os.listdir(tree.staging_fd) == []


def test_usage_counts_allocated_bytes_and_hard_links_once(tree: Tree, data: Path) -> None:
    (data / "a").write_bytes(b"x" * 100_000)
    os.link(data / "a", data / "b")
    with open(data / "hole", "wb") as hole:
        hole.truncate(1 << 40)
    usage = measure(tree.data_fd)
    assert 100_000 <= usage.bytes < 120_000 and usage.files == 3
    assert measure_fast(tree.data_fd, 10**6).bytes == usage.bytes


def test_a_folder_of_more_folders_than_descriptors_is_measured(tree: Tree, data: Path) -> None:
    for number in range(10_000):
        (data / str(number)).mkdir()
    (data / "9999/f").write_bytes(b"x")
    os.link(data / "9999/f", data / "9998/f")
    expected = measure(tree.data_fd)
    found = measure_fast(tree.data_fd, 10**6)
    assert found.files == expected.files == 10_002
    assert 0 <= found.bytes - expected.bytes <= 4096, "a hard link between two shares may count twice"


def test_nothing_is_replaced_that_should_not_be_and_what_is_replaced_is_there_till_then(tree: Tree, data: Path) -> None:
    for name in ("file", "folder"):
        (data / name).mkdir() if name == "folder" else (data / name).write_text("old")
    (data / "folder/inside").write_text("old")
    for source, content in (("newfile", "new"), ("newfolder", None)):
        (data / source).write_text(content) if content else (data / source).mkdir()
        for target in ("file", "folder"):
            with pytest.raises(Exists):
                tree.move(source, target, on_conflict="refuse")
            path, doomed = tree.move(source, target, on_conflict="replace")
            assert path == target and doomed is not None and not (data / source).exists()
            assert (data / target).is_file() == bool(content)
            tree.remove_doomed(doomed)
            path, doomed = tree.move(target, source, on_conflict="keep_both")
            assert path == source and doomed is None
            (data / target).mkdir() if target == "folder" else (data / target).write_text("old")
    with pytest.raises(ArkError):
        tree.move("newfolder", "newfolder/deeper", on_conflict="refuse")
    assert sorted(os.listdir(data)) == ["file", "folder", "newfile", "newfolder"] and os.listdir(tree.staging_fd) == []


def test_what_a_crash_left_is_known(tree: Tree, data: Path) -> None:
    name, fd = tree.stage()
    os.close(fd)
    (data / "x").mkdir()
    doomed = tree.take_out("x")
    assert sorted(tree.left_behind(frozenset())) == sorted([name, doomed])
    assert tree.left_behind(frozenset({name})) == [doomed]


def test_weighing(tree: Tree, data: Path) -> None:
    (data / "d").mkdir()
    (data / "d" / "f").write_bytes(b"x" * 5000)
    assert weigh(tree, "d") == Usage(8192, 2) or weigh(tree, "d").files == 2
