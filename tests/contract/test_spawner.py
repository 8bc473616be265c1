"""What every spawner promises, whichever runtime it starts workspaces in."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from jupyterhub.spawner import SpawnException

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.workspaces import State
from ark_extensions.usecases import books, launches, market, wallet
from tests.contract.spawner_stage import CATALOG, KubeStage, LocalStage, Stage, eventually, now


def can_sandbox() -> bool:
    line = ["/usr/bin/bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"]
    return Path(line[0]).exists() and subprocess.run(line, capture_output=True, timeout=20, check=False).returncode == 0


RUNTIMES = ["sandbox", "no-sandbox", "pods"] if can_sandbox() else ["no-sandbox"]


@pytest.fixture(params=RUNTIMES)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    made = KubeStage(tmp_path) if request.param == "pods" else LocalStage(tmp_path, sandbox=request.param == "sandbox")
    await made.open()
    yield made
    await made.close()


async def refused(stage: Stage, name: str, options: object, *, user: str = "alice") -> SpawnException:
    with pytest.raises(SpawnException) as refusal:
        await asyncio.wait_for(asyncio.shield(stage.begin(name, options, user=user)), 30)  # as the Hub's handler waits
    return refusal.value


def left_over(stage: Stage) -> list[str]:
    """Processes that still work in this installation's directories."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and str(stage.place) in (entry / "mountinfo").read_text():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def no_trace_of_a_run(stage: Stage) -> None:
    assert stage.runs() == []
    assert left_over(stage) == []


# a start and a stop


async def test_a_start_runs_and_a_stop_ends_it(stage: Stage) -> None:
    stage.order()
    await stage.start()
    assert stage.workspace().state == State.RUNNING
    await stage.stop()
    assert stage.workspace().state == State.STOPPED
    said = [event.message.msgid for event in stage.events()]
    assert any("JupyterHub" in sentence for sentence in said), "nobody asked the console for it"
    no_trace_of_a_run(stage)
    assert books.check_books(stage.storage) == []


async def test_files_in_the_home_are_there_after_a_stop_and_the_rest_is_gone(stage: Stage) -> None:
    stage.order()
    await stage.start()
    await stage.run("echo kept > ~/kept; echo shared > ~/data/shared; echo gone > $TMPDIR/gone")
    await stage.stop()
    await stage.start()
    assert await stage.run("cat ~/kept ~/data/shared; ls $TMPDIR/gone 2>/dev/null") == "kept\nshared\n"


async def test_the_netdisk_is_shared_between_a_users_workspaces_and_with_nobody_else(stage: Stage) -> None:
    stage.order(name="w1")
    stage.order(name="w2")
    stage.order(user="bob", name="w1")
    for user, name in (("alice", "w1"), ("alice", "w2"), ("bob", "w1")):
        await stage.start(name, user=user)
    await stage.run("echo mine > ~/data/file")
    assert await stage.run("cat ~/data/file", "w2") == "mine\n"
    assert "No such file" in await stage.run("cat ~/data/file", user="bob")


async def test_billing_begins_when_it_is_ready(stage: Stage) -> None:
    stage.order()
    task = stage.begin("w1", {"workspace": stage.workspace().id})
    await eventually(lambda: stage.workspace().state == State.STARTING)
    assert wallet.list_runs(stage.storage, user="alice", month=None, now=now()) == []
    await task
    await eventually(lambda: len(wallet.list_runs(stage.storage, user="alice", month=None, now=now())) == 1)


async def test_its_progress_is_told(stage: Stage) -> None:
    stage.order()
    task = stage.begin("w1", {"workspace": stage.workspace().id})
    told: list[str] = []

    async def listen() -> None:
        async for event in stage.user().spawners["w1"].progress():
            told.append(event["message"])

    listening = asyncio.ensure_future(listen())
    await task
    listening.cancel()
    assert told[0].startswith("Checking the order") and "Waiting for the workspace to answer" in told


# the gate

HOSTILE: list[object] = [
    {},
    {"workspace": "invented"},
    {"workspace": ["a"]},
    {"workspace": {"a": 1}},
    {"workspace": "x" * 100_000},
    {"workspace": "../../etc"},
    {"image": "evil", "memory": "1T"},
    {"workspace": "invented", "offer": "free"},
]


@pytest.mark.parametrize("options", HOSTILE, ids=range(len(HOSTILE)))
async def test_invented_options_are_refused_and_leave_nothing(stage: Stage, options: object) -> None:
    refusal = await refused(stage, "evil", options)
    assert 400 <= refusal.status_code < 500 and refusal.message
    assert "evil" not in stage.user().orm_spawners and "evil" not in stage.user().spawners
    no_trace_of_a_run(stage)
    assert stage.disks() == []


async def test_another_users_workspace_is_refused_and_left_alone(stage: Stage) -> None:
    theirs = stage.order(user="bob", name="w1")
    refusal = await refused(stage, "w1", {"workspace": theirs.id})
    assert refusal.status_code == 404
    assert "w1" not in stage.user().orm_spawners
    assert stage.workspace(user="bob").state == State.CREATING
    no_trace_of_a_run(stage)


async def test_another_workspaces_id_under_a_known_name_is_refused(stage: Stage) -> None:
    stage.order(name="w1")
    other = stage.order(name="w2")
    await refused(stage, "w1", {"workspace": other.id})
    assert stage.user().orm_spawners["w1"].user_options == {}, "nothing waits there for the next start"
    assert stage.workspace("w2").state == State.CREATING


async def test_the_default_server_is_refused(stage: Stage) -> None:
    mine = stage.order()
    refusal = await refused(stage, "", {"workspace": mine.id})
    assert refusal.status_code == 403 and refusal.reason == "default_server"


async def test_an_empty_wallet_is_refused_with_the_way_to_recharge(stage: Stage) -> None:
    mine = stage.order()
    dearer = {**CATALOG, "offers": [{**CATALOG["offers"][0], "price": "1000"}]}
    market.seed_catalog(stage.storage, catalog=dearer, now=now())
    refusal = await refused(stage, "w1", {"workspace": mine.id})
    assert refusal.status_code == 402 and "echarge" in refusal.message
    assert stage.workspace().state == State.FAILED
    no_trace_of_a_run(stage)


async def test_a_refused_workspace_can_be_started_when_its_reason_is_gone(stage: Stage) -> None:
    stage.order()
    await refused(stage, "w1", {"workspace": "stale"})
    await stage.start()
    assert stage.workspace().state == State.RUNNING


# failures at every stage


async def failed(stage: Stage, image: str) -> SpawnException:
    mine = stage.order(image)
    refusal = await refused(stage, "w1", {"workspace": mine.id})
    assert stage.workspace().state == State.FAILED
    assert wallet.list_runs(stage.storage, user="alice", month=None, now=now()) == [], "a start that fails costs nothing"
    newest = stage.events()[0]
    assert newest.severity == "error" and newest.message.msgid.format(**newest.message.params) == refusal.message
    no_trace_of_a_run(stage)
    return refusal


async def test_a_missing_image(stage: Stage) -> None:
    refusal = await failed(stage, "missing")
    assert refusal.reason == "image_missing"


async def test_a_server_that_dies_is_an_answer_at_once_with_its_log_in_the_detail(stage: Stage) -> None:
    began = asyncio.get_running_loop().time()
    refusal = await failed(stage, "dies")
    assert asyncio.get_running_loop().time() - began < 20
    assert "3" in refusal.message and "experts" not in refusal.message
    assert "the reason, for experts" in stage.events()[0].detail["log"]


async def test_a_server_that_never_answers_is_ended(stage: Stage) -> None:
    stage.traits.patience_seconds = 1
    refusal = await failed(stage, "silent")
    assert refusal.reason == "no_answer"


async def test_a_dataset_that_is_gone_from_the_disk(stage: Stage) -> None:
    facts = {"title": "d", "description": "", "license": "", "content_hash": "a" * 64, "size_bytes": 1, "file_count": 1}
    market.add_item_version(stage.storage, kind="dataset", name="digits", now=now(), **facts)
    mine = stage.order(datasets=("digits",))
    refusal = await refused(stage, "w1", {"workspace": mine.id})
    assert "digits" in refusal.message
    assert stage.workspace().state == State.FAILED


async def test_a_start_that_is_stopped_half_way_leaves_nothing(stage: Stage) -> None:
    mine = stage.order("silent")
    task = stage.begin("w1", {"workspace": mine.id})
    await eventually(lambda: stage.runs() != [])
    launches.request_stop(stage.storage, owner="alice", name="w1", actor="alice", reason=StopReason.USER, now=now())
    task.cancel()
    await stage.stop()
    assert stage.workspace().state == State.STOPPED
    no_trace_of_a_run(stage)


async def test_a_start_that_is_stopped_while_it_is_authorized_is_closed_in_the_books(stage: Stage) -> None:
    mine = stage.order()
    task = stage.begin("w1", {"workspace": mine.id})
    await asyncio.sleep(0)
    task.cancel()
    await stage.stop()
    assert stage.workspace().state in (State.STOPPED, State.FAILED, State.CREATING)
    no_trace_of_a_run(stage)


async def test_a_server_that_ignores_the_request_to_end_is_ended_within_ten_seconds(stage: Stage) -> None:
    stage.order("stubborn")
    await stage.start()
    began = asyncio.get_running_loop().time()
    await stage.stop()
    assert asyncio.get_running_loop().time() - began < 10
    no_trace_of_a_run(stage)


async def test_a_server_that_dies_later_closes_its_run_and_says_so(stage: Stage) -> None:
    stage.order()
    await stage.start()
    spawner = stage.user().spawners["w1"]
    stage.kill_server()

    async def dead() -> bool:
        return await spawner.poll() == 137

    await eventually(dead)
    await stage.user().stop("w1")
    assert stage.workspace().state == State.STOPPED
    assert any("ended by itself" in event.message.msgid for event in stage.events())
    no_trace_of_a_run(stage)


# a Hub that is killed


async def test_a_restarted_hub_finds_a_running_workspace(stage: Stage) -> None:
    stage.order()
    await stage.start()
    stage.restart_hub()
    spawner = stage.user().spawners["w1"]
    assert await spawner.poll() is None
    assert await spawner.get_url() == spawner.server.url
    assert spawner.ready
    await stage.stop()
    assert stage.workspace().state == State.STOPPED
    no_trace_of_a_run(stage)


async def test_a_hub_killed_before_it_stored_the_start_finds_the_process_all_the_same(stage: Stage) -> None:
    stage.order()
    await stage.start()
    stage.user().orm_spawners["w1"].state = {}
    stage.db.commit()
    stage.restart_hub()
    spawner = stage.user().spawners["w1"]
    assert await spawner.poll() is None and spawner._launch_id is not None
    await stage.stop()
    assert stage.workspace().state == State.STOPPED
    no_trace_of_a_run(stage)


@pytest.mark.parametrize("stage", [name for name in RUNTIMES if name != "pods"], indirect=True)
async def test_a_reused_process_number_is_not_taken_for_ours(stage: Stage) -> None:
    stage.order()
    await stage.start()
    [run] = (stage.place / "runs").iterdir()
    stage.restart_hub()
    pid, rest = (run / "process").read_text().split(" ", 1)
    before = stage.user().spawners["w1"]._run
    (run / "process").write_text(f"{os.getpid()} {rest}")
    stage.restart_hub()
    assert await stage.user().spawners["w1"].poll() == 0
    await asyncio.to_thread(before.end_at_once)
    assert pid != str(os.getpid())


async def test_a_process_that_a_dead_hub_left_is_ended_before_the_next_start(stage: Stage) -> None:
    stage.order()
    await stage.start()
    old, before = stage.which_run(), len(stage.runs())
    stage.start_hub()  # a Hub that knows nothing at all
    await stage.start()
    assert stage.which_run() != old and len(stage.runs()) == before


# names and disks


async def test_a_workspace_keeps_its_name(stage: Stage) -> None:
    stage.order()
    await stage.start()
    with pytest.raises(Exception, match="403"):
        await stage.user().spawners["w1"].rename("w1", "w2")


async def test_removing_the_hubs_row_keeps_the_data_disk(stage: Stage) -> None:
    mine = stage.order()
    await stage.start()
    await stage.stop()
    await stage.user()._delete_spawner("w1")
    assert stage.disks() == [mine.id] and stage.home(mine.id).is_dir()


async def test_a_stop_revokes_the_servers_tokens_also_after_a_restart_of_the_hub(stage: Stage) -> None:
    stage.order()
    await stage.start()
    stage.restart_hub()
    assert [token.note for token in stage.user().orm_user.api_tokens] == ["Server at /user/alice/w1/"]
    await stage.stop()
    assert list(stage.user().orm_user.api_tokens) == []


async def test_nothing_of_the_hubs_environment_reaches_a_workspace(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "hunter2")
    stage.order()
    await stage.start()
    assert "hunter2" not in await stage.run("env; cat /proc/1/environ /proc/self/environ")


async def test_signs_of_life_are_gathered_and_told(stage: Stage) -> None:
    stage.order()
    await stage.start()
    spawner = stage.user().spawners["w1"]
    first = wallet.list_runs(stage.storage, user="alice", month=None, now=now())[0].seconds

    async def told() -> bool:
        await spawner.poll()
        return wallet.list_runs(stage.storage, user="alice", month=None, now=now())[0].seconds > first

    await eventually(told)


async def test_a_shutdown_of_the_platform_is_told_as_such(stage: Stage) -> None:
    stage.order()
    await stage.start()
    await asyncio.ensure_future(stage.user().stop("w1"))  # as the Hub's own clean-up does
    assert any("shut down" in event.message.msgid for event in stage.events())


async def test_a_stop_that_the_console_recorded_keeps_its_own_cause(stage: Stage) -> None:
    stage.order()
    await stage.start()
    launches.request_stop(stage.storage, owner="alice", name="w1", actor="autostop", reason=StopReason.DEADLINE, now=now())
    await stage.stop()
    assert any("auto-stop time" in event.message.msgid and event.kind == "stopped" for event in stage.events())


async def test_a_stop_lets_the_server_say_goodbye(stage: Stage) -> None:
    mine = stage.order("graceful")
    await stage.start()
    await stage.run("(sleep 300 & sleep 300 &) </dev/null >/dev/null 2>&1")
    began = asyncio.get_running_loop().time()
    await stage.stop()
    assert (stage.home(mine.id) / "goodbye").read_text() == "said"
    assert asyncio.get_running_loop().time() - began < 5
    no_trace_of_a_run(stage)
