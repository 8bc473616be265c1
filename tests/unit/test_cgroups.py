"""Limits as control groups, on directories that stand in for the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ark_extensions.domain.offers import Quantities
from ark_spawner.cgroups import ControlGroups, Group, limits, missing_controllers

SIZE = Quantities(2, 4096, 50)
OWN_V1 = "9:name=systemd:/\n8:pids:/user\n4:memory:/some/where\n3:cpu,cpuacct:/\n0::/\n"


@pytest.fixture
def v1(tmp_path: Path) -> ControlGroups:
    for place in ("pids/user", "memory/some/where", "cpu"):
        (tmp_path / place).mkdir(parents=True)
    return ControlGroups("t", root=tmp_path, own=OWN_V1)


@pytest.fixture
def v2(tmp_path: Path) -> ControlGroups:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    own = tmp_path / "user.slice"
    own.mkdir()
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text("1\n2\n")
    return ControlGroups("t", root=tmp_path, own="0::/user.slice\n")


def test_version_1_limits_below_our_own_groups(v1: ControlGroups, tmp_path: Path) -> None:
    assert v1.version == 1 and v1.limits_status() is None
    group = v1.create("ws1", SIZE)
    assert (tmp_path / "memory/some/where/ark-t/ws1/memory.limit_in_bytes").read_text() == str(4 * 1024**3)
    assert (tmp_path / "memory/some/where/ark-t/ws1/memory.memsw.limit_in_bytes").read_text() == str(4 * 1024**3)
    assert (tmp_path / "cpu/ark-t/ws1/cpu.cfs_quota_us").read_text() == "200000"
    assert int((tmp_path / "pids/user/ark-t/ws1/pids.max").read_text()) > 1000
    assert len(group.joins) == 3


def test_version_2_limits_in_one_group(v2: ControlGroups) -> None:
    assert v2.version == 2 and v2.limits_status() is None
    group = v2.create("ws1", SIZE)
    [join] = group.joins
    assert (join.parent / "memory.max").read_text() == str(4 * 1024**3)
    assert (join.parent / "cpu.max").read_text() == "200000 100000"
    assert (join.parent / "memory.swap.max").read_text() == "0", "what was not bought is not had on the disk either"


def test_a_missing_controller_is_said(tmp_path: Path) -> None:
    (tmp_path / "memory/some/where").mkdir(parents=True)
    groups = ControlGroups("t", root=tmp_path, own="4:memory:/some/where\n")
    said = groups.limits_status()
    assert said is not None and said.params["missing"] == "cpu, pids"
    assert len(groups.create("ws1", SIZE).joins) == 1


def test_a_machine_without_control_groups_is_said_and_works(tmp_path: Path) -> None:
    groups = ControlGroups("t", root=tmp_path / "nothing", own="")
    said = groups.limits_status()
    assert said is not None and "cannot be enforced" in said.msgid
    group = groups.create("ws1", SIZE)
    assert group.joins == [] and group.oom_kills() == 0 and group.remove()


@pytest.mark.parametrize("own", [OWN_V1, "4:memory:/some/where\n", ""])
def test_whoever_only_asks_hears_what_the_groups_would_find_and_nothing_is_made(tmp_path: Path, own: str) -> None:
    for place in ("pids/user", "memory/some/where", "cpu"):
        (tmp_path / place).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    missing = missing_controllers(tmp_path, own)
    assert sorted(tmp_path.rglob("*")) == before
    assert missing == ControlGroups("t", root=tmp_path, own=own).missing


def test_version_2_tells_what_the_kernel_offers(v2: ControlGroups, tmp_path: Path) -> None:
    group = tmp_path if os.geteuid() == 0 else tmp_path / "user.slice"
    (group / "cgroup.controllers").write_text("cpu memory\n")
    assert missing_controllers(tmp_path, "0::/user.slice\n") == ("pids",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_tree_that_is_not_ours_is_left_alone(v1: ControlGroups, tmp_path: Path) -> None:
    (tmp_path / "memory/some/where").chmod(0o500)
    assert "memory" in ControlGroups("other", root=tmp_path, own=OWN_V1).missing


@pytest.mark.parametrize(
    ("version", "file", "text"),
    [(1, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), (2, "memory.events", "low 0\noom 4\noom_kill 3\n")],
)
def test_programs_ended_for_memory_are_counted(tmp_path: Path, version: int, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert Group({"memory": tmp_path}, version).oom_kills() == 3


def test_a_group_is_found_again_from_what_was_kept(v1: ControlGroups) -> None:
    group = v1.create("ws1", SIZE)
    assert Group.from_state(group.as_state()) == group


def test_every_controller_has_a_limit_in_both_versions() -> None:
    for version in (1, 2):
        assert set(limits(SIZE, version=version)) == {"memory", "cpu", "pids"}
