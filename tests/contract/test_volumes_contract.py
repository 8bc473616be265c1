"""Every implementation of volumes keeps users apart, makes what is asked for and deletes only that."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ark_extensions.cluster_api import Access, ClusterApi
from ark_extensions.domain.cluster import claim_name, labels, pod_name
from ark_extensions.domain.errors import Conflict, NotFound
from ark_extensions.domain.workspaces import Mount
from ark_extensions.settings import Kubernetes
from ark_extensions.volumes import Disks, Volumes
from ark_extensions.volumes.kubernetes import ClusterDisks
from ark_extensions.volumes.local_dir import LocalDirVolumes
from tests.api_stand_in import stand_in

NAMES = [
    *("alice", "Alice", "ALICE", "alice ", "a/b", "a-b", "a_b", "../etc", "..", "."),
    *("张三", "張三", "é", "e\u0301", "a" * 255, "-", "x@y.org", "x\ny"),
]


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return LocalDirVolumes(tmp_path / "state")


@dataclass
class Stage:
    """One implementation of Disks, how a spawner makes what it deletes, and what is there."""

    disks: Disks
    make_disk: Callable[[str], object]
    make_run: Callable[[str], object]
    present: Callable[[], set[str]]


@pytest.fixture(params=["local_dir", "kubernetes"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    if request.param == "local_dir":
        local = LocalDirVolumes(tmp_path)
        yield Stage(local, local.data_disk, local.run_dir, lambda: {path.name for path in (tmp_path / "disks").iterdir()})
        return
    with stand_in() as server:
        disks = ClusterDisks(ClusterApi(Access(server.url, None, lambda: None)), Kubernetes())

        def marks(workspace_id: str) -> dict[str, str]:
            return labels("ark", workspace_id=workspace_id, owner="alice")

        def make_disk(workspace_id: str) -> None:
            spec = {"resources": {"requests": {"storage": "10Gi"}}}
            server.add("persistentvolumeclaims", claim_name(workspace_id), labels=marks(workspace_id), spec=spec)

        def make_run(workspace_id: str) -> None:
            server.add("pods", pod_name(workspace_id), labels=marks(workspace_id))

        yield Stage(disks, make_disk, make_run, lambda: {disk.workspace_id for disk in disks.data_disks()})


def test_in_any_runtime_deleting_a_data_disk_is_repeatable_and_takes_that_one_only(stage: Stage) -> None:
    stage.make_disk("ws1")
    stage.make_disk("ws2")
    for workspace_id in ("ws1", "ws1", "never-was"):
        stage.disks.delete_data_disk(workspace_id)
    assert stage.present() == {"ws2"}


def test_a_claim_and_a_pod_of_another_installation_are_left_alone() -> None:
    with stand_in() as server:
        disks = ClusterDisks(ClusterApi(Access(server.url, None, lambda: None)), Kubernetes())
        theirs = labels("another", workspace_id="ws1", owner="alice")
        spec = {"resources": {"requests": {"storage": "10Gi"}}}
        server.add("persistentvolumeclaims", claim_name("ws1"), labels=theirs, spec=spec)
        server.add("pods", pod_name("ws1"), labels=theirs)
        for act in (disks.delete_data_disk, lambda name: disks.grow_data_disk(name, 20), lambda name: disks.mark_orphan(name, None)):
            with pytest.raises(Conflict, match="left alone"):
                act("ws1")
        disks.remove_run_dir("ws1")
        assert disks.run_dirs() == [] and list(disks.data_disks()) == []
        others = ClusterDisks(ClusterApi(Access(server.url, None, lambda: None)), Kubernetes(installation="another"))
        assert others.run_dirs() == ["ws1"] and [disk.workspace_id for disk in others.data_disks()] == ["ws1"]


def test_in_any_runtime_the_size_of_what_a_stop_deletes_is_told_or_unknown(stage: Stage) -> None:
    assert stage.disks.system_disk_usage("never-was") is None
    stage.make_run("ws1")
    assert not stage.disks.system_disk_usage("ws1")


def test_only_what_people_wrote_counts_as_lost_and_a_million_files_are_not_counted(
    volumes: LocalDirVolumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = volumes.run_dir("ws1")
    for name in ("tmp", "var-tmp", "log"):
        (run / name).mkdir()
        (run / name / "file").write_bytes(b"x" * 100_000)
    assert 200_000 <= (volumes.system_disk_usage("ws1") or 0) < 300_000, "the platform's own log is nobody's loss"
    monkeypatch.setattr("ark_extensions.volumes.local_dir.COUNTED_MAX", 3)
    for number in range(5):
        (run / "tmp" / str(number)).touch()
    assert volumes.system_disk_usage("ws1") is None


def test_in_any_runtime_system_disks_are_listed_and_removed(stage: Stage) -> None:
    assert stage.disks.run_dirs() == []
    stage.make_run("ws1")
    stage.make_run("ws2")
    assert stage.disks.run_dirs() == ["ws1", "ws2"]
    for workspace_id in ("ws1", "ws1", "never-was"):
        stage.disks.remove_run_dir(workspace_id)
    assert stage.disks.run_dirs() == ["ws2"]


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "../ws", "/etc", ".hidden", "a\0b", "x" * 65, "a,b=c", "a?b"])
def test_in_any_runtime_a_workspace_id_never_chooses_a_path(stage: Stage, bad: str) -> None:
    for method in (stage.disks.delete_data_disk, stage.disks.system_disk_usage, stage.disks.remove_run_dir):
        with pytest.raises(NotFound):
            method(bad)


def test_data_disk_is_private_and_stays(volumes: Volumes) -> None:
    disk = volumes.data_disk("ws1")
    (disk / "notes.txt").write_text("kept")
    assert volumes.data_disk("ws1") == disk
    assert (disk / "notes.txt").read_text() == "kept"
    assert stat.S_IMODE(disk.stat().st_mode) == 0o700
    assert volumes.data_disk("ws2") != disk


def test_deleting_a_data_disk_is_complete_and_repeatable(volumes: Volumes) -> None:
    disk, other = volumes.data_disk("ws1"), volumes.data_disk("ws2")
    (disk / "deep").mkdir()
    (disk / "deep" / "file").write_text("x")
    volumes.delete_data_disk("ws1")
    volumes.delete_data_disk("ws1")
    volumes.delete_data_disk("never-was")
    assert not disk.exists()
    assert other.is_dir()


def test_deleting_follows_no_link(volumes: Volumes, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("x")
    victim.chmod(0o500)
    disk = volumes.data_disk("ws1")
    (disk / "link").symlink_to(victim)
    (disk / "sub").mkdir()
    (disk / "sub" / "link").symlink_to(victim / "precious")
    (disk / "gone").symlink_to("/nowhere")
    volumes.delete_data_disk("ws1")
    assert (victim / "precious").read_text() == "x"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o500


def test_deleting_masters_read_only_and_very_deep_directories(volumes: Volumes) -> None:
    disk = volumes.data_disk("ws1")
    locked = disk / "locked"
    (locked / "inner").mkdir(parents=True)
    (locked / "inner" / "file").write_text("x")
    (locked / "inner").chmod(0)
    locked.chmod(0o500)
    fd = os.open(disk, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path can be long, or a process may hold files open
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    os.mkfifo(disk / "pipe")
    volumes.delete_data_disk("ws1")
    assert not disk.exists()


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "../ws", "/etc", ".hidden", "a\0b", "x" * 65])
def test_a_workspace_id_never_chooses_a_path(volumes: Volumes, bad: str) -> None:
    for method in (volumes.data_disk, volumes.delete_data_disk, volumes.system_disk_usage, volumes.run_dir, volumes.find_run_dir):
        with pytest.raises(NotFound):
            method(bad)


def test_every_user_has_a_netdisk_of_their_own(volumes: Volumes) -> None:
    paths = [volumes.netdisk(name) for name in NAMES]
    assert len({os.fspath(p).casefold() for p in paths}) == len(NAMES)
    assert {p.name for p in paths} == {"data"}
    assert len({p.parent.parent for p in paths}) == 1
    (paths[0] / "file").write_text("x")
    assert (volumes.netdisk("alice") / "file").read_text() == "x"
    assert all(stat.S_IMODE(p.parent.stat().st_mode) == 0o700 for p in paths)


def test_item_is_there_or_says_so(volumes: Volumes, tmp_path: Path) -> None:
    there = tmp_path / "state" / "catalog" / "dataset" / "digits" / "2"
    there.mkdir(parents=True)
    assert volumes.item(Mount("dataset", "digits", 2, "h")) == there
    with pytest.raises(NotFound, match="Version 3 of the dataset “digits” is not on this machine any more"):
        volumes.item(Mount("dataset", "digits", 3, "h"))
    with pytest.raises(NotFound, match="model"):
        volumes.item(Mount("model", "digits", 2, "h"))
    for kind, name, version in (("dataset", "../dataset/digits", 2), ("../catalog/dataset", "digits", 2), ("dataset", "digits", -2)):
        with pytest.raises(NotFound):
            volumes.item(Mount(kind, name, version, "h"))


def test_the_system_disk_is_gone_after_a_stop(volumes: Volumes) -> None:
    assert volumes.find_run_dir("ws1") is None
    assert volumes.run_dirs() == []
    run = volumes.run_dir("ws1")
    (run / "tmp").mkdir()
    assert volumes.find_run_dir("ws1") == run
    assert volumes.run_dirs() == ["ws1"]
    volumes.remove_run_dir("ws1")
    volumes.remove_run_dir("ws1")
    assert not run.exists()
    assert volumes.run_dirs() == []
    assert list(volumes.run_dir("ws1").iterdir()) == []


def test_usage_counts_what_the_disk_takes(volumes: Volumes) -> None:
    disk = volumes.run_dir("ws1") / "tmp"
    disk.mkdir()
    (disk / "a").write_bytes(b"x" * 100_000)
    os.link(disk / "a", disk / "b")
    (disk / "loop").symlink_to(disk)
    assert 100_000 <= (volumes.system_disk_usage("ws1") or 0) < 200_000
