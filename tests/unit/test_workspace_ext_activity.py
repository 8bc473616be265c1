"""What counts as work, and how it is read from the machine."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from ark_extensions.environments import PROJECT

sys.path.insert(0, str(PROJECT / "ark_extensions/workspace/lib"))

from ark_workspace.activity import Look, Work, work_between
from ark_workspace.observe import Process, cpu_of, is_alone, read_processes, terminal_moment, workspace_processes

BEFORE = Look(at=1000.0, cpu_seconds=50.0, kernel_at=900.0, terminal_at=900.0, saved_at=900.0)


@pytest.mark.parametrize(
    ("after", "work"),
    [
        (Look(at=1060, cpu_seconds=50.0, kernel_at=900, terminal_at=900, saved_at=900), None),
        (Look(at=1060, cpu_seconds=52.9), None),
        (Look(at=1060, cpu_seconds=53.1), Work.CPU),
        (Look(at=1060, cpu_seconds=10.0), None),  # processes went, and their time with them
        (Look(at=1000, cpu_seconds=99.0), None),  # the clock stood still or went back
        (Look(at=900, cpu_seconds=99.0), None),
        (Look(at=1060, cpu_seconds=50, busy_kernels=1), Work.KERNEL),
        (Look(at=1060, cpu_seconds=50, kernel_at=1001), Work.KERNEL),
        (Look(at=1060, cpu_seconds=50, terminal_at=1059), Work.TERMINAL),
        (Look(at=1060, cpu_seconds=50, saved_at=1010), Work.DOCUMENT),
        (Look(at=1060, cpu_seconds=50, gpu_percent=4), None),
        (Look(at=1060, cpu_seconds=50, gpu_percent=5), Work.GPU),
    ],
)
def test_what_is_work(after: Look, work: Work | None) -> None:
    assert work_between(BEFORE, after) == work


def test_own_processes_do_not_count_but_what_they_ran_does() -> None:
    server, editor = Process(1, 0, 0, own=100.0, reaped=7.0), Process(2, 1, 0, own=50.0, reaped=1.0)
    training = Process(3, 1, 0, own=20.0, reaped=0.5)
    assert cpu_of([server, editor, training], lambda p: p.pid in (1, 2)) == 28.5


def test_without_a_sandbox_only_descendants_are_the_workspace() -> None:
    tree = [Process(pid, parent, 0, 1.0, 0.0) for pid, parent in [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]]
    assert [p.pid for p in workspace_processes(tree, 10, alone=False)] == [10, 11, 12]
    assert len(workspace_processes(tree, 10, alone=True)) == 6


@pytest.mark.parametrize(
    ("comm", "environ", "alone"),
    [("bwrap", None, True), ("tini", b"A=1\0ARK_WORKSPACE=ws1\0", True), ("systemd", b"HOME=/\0", False), ("systemd", None, False)],
)
def test_a_sandbox_is_known_by_its_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comm: str, environ: bytes | None, alone: bool
) -> None:
    monkeypatch.setenv("ARK_WORKSPACE", "ws1")
    (tmp_path / "1").mkdir()
    (tmp_path / "1/comm").write_text(comm + "\n")
    if environ is not None:
        (tmp_path / "1/environ").write_bytes(environ)
    assert is_alone(tmp_path) == alone


def test_processes_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text("42 (a) S (b) R 7 42 42 34817 42 0 0 0 0 0 100 50 30 20 20 0 1 0 5 0 0\n")
    (tmp_path / "43").mkdir()  # it ended: no stat
    (tmp_path / "self").mkdir()
    (process,) = read_processes(tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    assert process == Process(42, 7, 34817, 150 / ticks, 50 / ticks)
    assert os.getpid() in {p.pid for p in read_processes()}


def test_a_terminal_tells_when_it_was_last_used(tmp_path: Path) -> None:
    (tmp_path / "3").touch()
    os.utime(tmp_path / "3", (500.0, 700.0))
    minor, major = 3, 136
    used = Process(5, 1, (major << 8) | minor, 0, 0)
    assert terminal_moment([used], tmp_path) == 700.0
    assert terminal_moment([Process(6, 1, 0, 0, 0), Process(7, 1, (4 << 8) | 1, 0, 0)], tmp_path) is None


def test_the_kernel_keeps_the_times_of_a_real_terminal() -> None:
    master, slave = pty.openpty()
    try:
        info = os.stat(os.ttyname(slave))
        process = Process(os.getpid() + 1, 1, os.makedev(os.major(info.st_rdev), os.minor(info.st_rdev)), 0, 0)
        assert terminal_moment([process]) == pytest.approx(max(info.st_atime, info.st_mtime))
    finally:
        os.close(master)
        os.close(slave)
