"""The reconciler, with a Hub and disks that fail at chosen calls: whatever was interrupted, a later pass ends it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from ark_extensions.autostop.passes import stop_what_is_due
from ark_extensions.domain.workspaces import State
from ark_extensions.reconcile.passes import clear_leftovers, empty_recycle_bin, mend_suspects
from ark_extensions.storage import Storage
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.reconciliation import expired_releases
from ark_extensions.usecases.wallet import list_runs
from ark_extensions.usecases.workspaces import release_workspace, restore_workspace
from ark_extensions.volumes.local_dir import LocalDirVolumes
from bench.population import NOON, Crowd
from tests.unit.loop_stage import FailingHub, running_crowd, workspaces

LATER = NOON + timedelta(minutes=2)
AFTER_RECYCLING = NOON + timedelta(days=8)


async def test_a_run_whose_server_is_gone_ends_at_the_last_moment_it_was_seen() -> None:
    with running_crowd(Crowd(owners=1, each=2)) as storage:
        hub = FailingHub(state="stopped")
        assert await mend_suspects(storage, hub, now=LATER) == "2 of 2 workspaces in doubt were mended."
        runs = list_runs(storage, user="user00000", month=None, now=LATER)
        assert [run.closed_at for run in runs] == [NOON, NOON]
        assert check_books(storage) == []
        assert await mend_suspects(storage, hub, now=LATER) is None


async def test_what_was_seen_just_now_is_not_asked_about() -> None:
    with running_crowd(Crowd(owners=2, each=2)) as storage:
        hub = FailingHub(state="stopped")
        assert await mend_suspects(storage, hub, now=NOON) is None
        assert hub.asked == []


async def test_a_hub_that_does_not_answer_mends_nothing_and_a_later_pass_does() -> None:
    with running_crowd(Crowd(owners=2, each=1)) as storage:
        hub = FailingHub(state="absent", fails=frozenset({"user00000/ws-0"}))
        assert await mend_suspects(storage, hub, now=LATER) == "1 of 2 workspaces in doubt were mended."
        assert workspaces(storage)["user00000-0"].state is State.RUNNING
        hub.fails = frozenset()
        assert await mend_suspects(storage, hub, now=LATER) == "1 of 1 workspaces in doubt were mended."


async def test_a_stop_that_the_hub_never_took_is_asked_again() -> None:
    with running_crowd(Crowd(owners=1, each=1, auto_stop_at=NOON)) as storage:
        hub = FailingHub(fails=frozenset({"user00000/ws-0"}))
        await stop_what_is_due(storage, hub, now=NOON)
        hub.fails = frozenset()
        assert await mend_suspects(storage, hub, now=LATER) == "1 of 1 workspaces in doubt were mended."
        assert hub.stopped == [("user00000", "ws-0")]


async def test_two_reconcilers_at_once_close_each_run_once() -> None:
    with running_crowd(Crowd(owners=3, each=3)) as storage:
        hub = FailingHub(state="absent")
        await asyncio.gather(*(mend_suspects(storage, hub, now=LATER) for _ in range(2)))
        assert len(list_runs(storage, user="user00001", month=None, now=LATER)) == 3
        assert check_books(storage) == []


async def released(storage: Storage) -> None:
    await mend_suspects(storage, FailingHub(state="absent"), now=LATER)
    release_workspace(storage, owner="user00000", name="ws-0", confirm="ws-0", actor="user00000", now=LATER, recycle_days=7)


async def test_a_released_disk_is_deleted_only_after_its_time_in_the_recycle_bin(tmp_path: Path) -> None:
    disks, hub = LocalDirVolumes(tmp_path), FailingHub(state="absent")
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        (disks.data_disk("user00000-0") / "thesis.txt").write_text("dear")
        await released(storage)
        assert await empty_recycle_bin(storage, hub, disks, now=LATER) is None
        assert (tmp_path / "disks" / "user00000-0" / "thesis.txt").exists()
        assert await empty_recycle_bin(storage, hub, disks, now=AFTER_RECYCLING) == "1 of 1 data disks in the recycle bin were deleted."
        assert not (tmp_path / "disks" / "user00000-0").exists()
        assert hub.removed == [("user00000", "ws-0")]
        assert await empty_recycle_bin(storage, hub, disks, now=AFTER_RECYCLING) is None


async def test_a_deletion_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    disks, hub = LocalDirVolumes(tmp_path), FailingHub(fails=frozenset({"user00000/ws-0"}))
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        await mend_suspects(storage, FailingHub(state="absent"), now=LATER)
        release_workspace(storage, owner="user00000", name="ws-0", confirm="ws-0", actor="user00000", now=LATER, recycle_days=7)
        assert await empty_recycle_bin(storage, hub, disks, now=AFTER_RECYCLING) == "0 of 1 data disks in the recycle bin were deleted."
        assert expired_releases(storage, now=AFTER_RECYCLING) == ["user00000-0"], "it is still on the list"
        hub.fails = frozenset()
        assert await empty_recycle_bin(storage, hub, disks, now=AFTER_RECYCLING) == "1 of 1 data disks in the recycle bin were deleted."


async def test_what_was_restored_keeps_its_disk(tmp_path: Path) -> None:
    disks = LocalDirVolumes(tmp_path)
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        disks.data_disk("user00000-0")
        await released(storage)
        restore_workspace(storage, owner="user00000", name="ws-0", actor="user00000", now=LATER)
        assert await empty_recycle_bin(storage, FailingHub(), disks, now=AFTER_RECYCLING) is None
        assert (tmp_path / "disks" / "user00000-0").exists()


async def test_a_system_disk_left_behind_is_removed_and_one_in_use_is_kept(tmp_path: Path) -> None:
    disks = LocalDirVolumes(tmp_path)
    with running_crowd(Crowd(owners=1, each=1)) as storage:
        disks.run_dir("user00000-0")
        disks.run_dir("long-gone")
        assert await clear_leftovers(storage, disks) == "1 system disks left behind were removed."
        assert disks.run_dirs() == ["user00000-0"]
        assert await clear_leftovers(storage, disks) is None
