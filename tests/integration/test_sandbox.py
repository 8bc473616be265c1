"""A workspace's walls, tried from inside with real bubblewrap: what it must not see, and what it must not reach."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ark_extensions.usecases import market
from tests.contract.spawner_stage import LocalStage, Stage, eventually, now
from tests.contract.test_spawner import RUNTIMES

pytestmark = pytest.mark.skipif("sandbox" not in RUNTIMES, reason="bubblewrap cannot run on this machine")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LocalStage]:
    made = LocalStage(tmp_path, sandbox=True)
    yield made
    await made.close()


@pytest.fixture
async def inside(stage: LocalStage) -> LocalStage:
    stage.order()
    await stage.start()
    return stage


def add_item(stage: Stage, kind: str, name: str) -> Path:
    """A version in the catalogue, as closed as an operator's umask may make it."""
    facts = {"title": name, "description": "", "license": "", "content_hash": "a" * 64, "size_bytes": 1, "file_count": 1}
    version = market.add_item_version(stage.storage, kind=kind, name=name, now=now(), **facts)
    place = stage.place / "catalog" / kind / name / str(version)
    place.mkdir(parents=True)
    (place / "file").write_text("contents\n")
    (place / "file").chmod(0o400)
    place.chmod(0o500)
    return place


async def test_it_is_an_ordinary_user_without_rights(inside: Stage) -> None:
    assert await inside.run("id -u; id -un; pwd; echo $HOME") == "1000\nuser\n/home/user\n/home/user\n"
    assert await inside.run("grep -E 'Cap(Prm|Eff)|NoNewPrivs' /proc/self/status") == (
        "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts workspaces as somebody else")
async def test_started_by_root_it_is_not_root_on_the_host(inside: Stage) -> None:
    await inside.run("touch ~/mine; sleep 300 </dev/null >/dev/null 2>&1 &")
    [disk] = (inside.place / "disks").iterdir()
    uid = (disk / "mine").stat().st_uid
    assert uid > 1_000_000_000
    bob = inside.order(user="bob")
    await inside.start(user="bob")
    await inside.run("touch ~/mine", user="bob")
    assert (inside.place / "disks" / bob.id / "mine").stat().st_uid not in (0, uid), "each owner is somebody else"


async def test_the_host_is_not_there(inside: Stage, tmp_path: Path) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "proxy_token").write_text("hunter2")
    assert "hunter2" not in await inside.run(
        f"cat {secret}/proxy_token; cat /proc/1/root{secret}/proxy_token; cat /proc/2/root{secret}/proxy_token"
    )
    assert set((await inside.run("ls /")).split()) <= set(
        "ark-contexts bin dev etc home lib lib32 lib64 libx32 opt proc run sbin tmp usr var".split()
    )
    assert (await inside.run("ls /home")).split() == ["user"]
    assert "root:x:0:0" in await inside.run("cat /etc/passwd") and "No such file" in await inside.run("cat /etc/shadow")
    assert "No such file" in await inside.run("ls /etc/ssl/private")


async def test_its_process_list_is_its_own_and_tells_no_paths(inside: Stage) -> None:
    stage = inside
    stage.order(name="w2")
    await stage.start("w2")
    await stage.run("exec -a the-other-workspace sleep 300 </dev/null >/dev/null 2>&1 &", "w2")
    seen = await stage.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "the-other-workspace" not in seen and "jupyterhub-singleuser" in seen
    assert str(stage.place / "disks") not in seen and "api_token" not in seen
    assert len((await stage.run("ls -d /proc/[0-9]*")).split()) < 10


async def test_no_descriptor_of_the_platform_is_inherited(inside: Stage) -> None:
    seen = await inside.run("for fd in /proc/[12]/fd/*; do readlink $fd; done")
    assert "/dev/null" in seen and "memfd" not in seen and "sqlite" not in seen


async def test_only_its_disks_are_writable(inside: Stage) -> None:
    places = "/ /usr /etc /opt /dev /run /run/user /home /var /ark-contexts ~/imported_datasets ~/imported_models"
    tried = f"for d in {places}; do touch $d/x 2>/dev/null && echo $d; done"
    assert await inside.run(tried) == ""
    assert (
        await inside.run("for d in /tmp /var/tmp /dev/shm /run/user/1000 ~ ~/data /ark-contexts/data; do touch $d/x || echo no $d; done")
        == ""
    )


async def test_the_netdisk_is_at_both_its_places(inside: Stage) -> None:
    assert await inside.run("echo one > ~/data/f; cat /ark-contexts/data/f; echo two > /ark-contexts/data/f; cat ~/data/f") == "one\ntwo\n"


async def test_datasets_and_models_are_there_and_cannot_be_changed(stage: Stage) -> None:
    place = add_item(stage, "dataset", "digits")
    add_item(stage, "model", "digits-mlp")
    stage.order(datasets=("digits",), models=("digits-mlp",))
    await stage.start()
    assert await stage.run("cat ~/imported_datasets/digits/file ~/imported_models/digits-mlp/file") == "contents\ncontents\n"
    tried = await stage.run(
        "cd ~/imported_datasets/digits; touch new; echo x > file; rm -f file; chmod 777 file; mv ~/imported_datasets ~/mine; ls"
    )
    assert tried.count("Read-only file system") >= 4 and tried.startswith("file\n")
    assert (place / "file").read_text() == "contents\n" and sorted(path.name for path in place.iterdir()) == ["file"]


async def test_two_users_do_not_see_each_others_files(inside: Stage) -> None:
    stage = inside
    stage.order(user="bob")
    await stage.start(user="bob")
    for where in ("~", "~/data", "/tmp", "/var/tmp", "/dev/shm", "/run/user/1000"):
        await stage.run(f"echo alices > {where}/letter")
    assert "alices" not in await stage.run(
        "cat ~/letter ~/data/letter /tmp/letter /var/tmp/letter /dev/shm/letter /run/user/1000/letter", user="bob"
    )
    assert await stage.run("find / -name letter 2>/dev/null", user="bob") == ""


@pytest.mark.parametrize(
    "target", ["/etc", "/oldroot/root", "/oldroot/tmp", "/newroot", "/ark-contexts/data", "../../..", "imported_datasets"]
)
async def test_a_planted_link_leads_nowhere_and_is_told(stage: Stage, tmp_path: Path, target: str) -> None:
    add_item(stage, "dataset", "digits")
    stage.order(datasets=("digits",))
    await stage.start()
    await stage.stop()
    [disk] = (tmp_path / "disks").iterdir()
    (disk / "imported_datasets").rmdir()
    (disk / "imported_datasets").symlink_to(target)
    before = sorted(str(path) for path in tmp_path.glob("*"))
    await stage.start()
    assert await stage.run("cat ~/imported_datasets/digits/file; readlink ~/imported_datasets.moved-1") == f"contents\n{target}\n"
    [told] = [event for event in stage.events() if event.kind == "moved"]
    assert told.severity == "warning" and told.message.params == {"name": "imported_datasets", "moved": "imported_datasets.moved-1"}
    assert (
        sorted(str(path) for path in tmp_path.glob("*")) == before
        and not Path("/etc/digits").exists()
        and not Path("/root/digits").exists()
    )


async def test_a_file_where_the_netdisk_belongs_is_kept(stage: Stage, tmp_path: Path) -> None:
    stage.order()
    await stage.start()
    await stage.stop()
    [disk] = (tmp_path / "disks").iterdir()
    (disk / "data").rmdir()
    (disk / "data").write_text("my notes")
    await stage.start()
    assert await stage.run("cat ~/data.moved-1; touch ~/data/works && echo ok") == "my notesok\n"


async def test_everything_it_started_ends_with_it(inside: Stage) -> None:
    await inside.run("(setsid nohup bash -c 'trap \"\" TERM HUP; exec -a an-orphan sleep 300' </dev/null >/dev/null 2>&1 &)")
    await eventually(lambda: _running("an-orphan"))
    await inside.stop()
    assert not _running("an-orphan")


def _running(name: str) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().split(b"\0")[0] == name.encode():
                return True
        except OSError:
            continue
    return False


async def test_orphans_are_reaped(inside: Stage) -> None:
    await inside.run("for i in 1 2 3 4 5; do (setsid true &); done; sleep 0.2")
    assert "Z" not in await inside.run("cut -d' ' -f3 /proc/[0-9]*/stat | sort -u")


async def test_memory_beyond_what_was_bought_ends_the_program_with_an_event(inside: LocalStage) -> None:
    if "memory" in inside.groups.missing:
        pytest.skip("this machine cannot limit memory")
    await inside.run("/usr/bin/python3 -c 'x = bytearray(600 * 1024 * 1024)'; echo $?")
    spawner = inside.user().spawners["w1"]

    async def told() -> bool:
        return await spawner.poll() is not None or any(event.kind == "memory" for event in inside.events())

    await eventually(told)
    if await spawner.poll() is not None:
        await inside.user().stop("w1")
    assert any("memory" in event.message.msgid and event.message.params.get("memory_gib") == "0.2" for event in inside.events())


async def test_limits_are_those_that_were_bought(inside: LocalStage) -> None:
    if inside.groups.missing:
        pytest.skip("this machine cannot limit everything")
    [run] = (inside.place / "runs").iterdir()
    pid = int((run / "process").read_text().split()[0])
    assert all(str(pid) in join.read_text().split() for join in inside.user().spawners["w1"]._run.group.joins)
    spin = "import time; t = time.time(); [None for _ in iter(lambda: time.time() - t < 1, False)]; print(time.process_time())"
    busy = f"/usr/bin/python3 -c '{spin}'"
    both = await asyncio.gather(*(inside.run(busy) for _ in range(3)))
    assert sum(float(seconds) for seconds in both) < 2.2, "one processor, whatever is asked of it"


async def test_without_control_groups_it_runs_and_says_what_is_lost(stage: LocalStage, tmp_path: Path) -> None:
    from ark_spawner.cgroups import ControlGroups

    stage.groups = ControlGroups("none", root=tmp_path / "nothing", own="")
    stage.order()
    await stage.start()
    assert any("cannot be enforced" in event.message.msgid for event in stage.events())


async def test_no_gpu_was_bought_and_none_is_there(inside: Stage) -> None:
    assert await inside.run("ls /dev | grep nvidia; echo $CUDA_VISIBLE_DEVICES") == "-1\n"


async def test_mirrors_reach_git_in_a_login_shell(stage: Stage) -> None:
    from ark_spawner.environment import Mirrors

    stage.config.ArkLocalSpawner.mirrors = Mirrors(
        git_instead_of={"https://github.com/": "https://mirror.example/"}, pip_index_url="https://p/"
    )
    stage.order()
    await stage.start()
    assert (
        await stage.run("bash -lc 'git config --get-all url.https://mirror.example/.insteadOf; echo $PIP_INDEX_URL'")
        == "https://github.com/\nhttps://p/\n"
    )


async def test_a_login_shell_keeps_the_images_programs_first(inside: Stage) -> None:
    path = (await inside.run("bash -lc 'echo $PATH'")).strip().split(":")
    assert path[0] == "/home/user/.local/bin" and path[1].endswith("/images/good/bin")
