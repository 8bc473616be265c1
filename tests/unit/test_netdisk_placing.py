"""Small files that go to the disk together: each answered for itself, none before it is on disk, and what the kernel cannot do at once
is done one after the other."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ark_extensions.domain.errors import ArkError
from ark_extensions.domain.files import Full
from ark_extensions.netdisk import kernel, placing, syncing
from ark_extensions.netdisk.placing import Placed, Queue, Small, place_together
from ark_extensions.netdisk.refusals import Exists, Leaves, NoParent
from ark_extensions.netdisk.syncing import sync_all
from ark_extensions.netdisk.tree import Entry, Tree


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "corner" / "data").mkdir(parents=True)
    return tmp_path / "corner" / "data"


@pytest.fixture
def tree(data: Path) -> Tree:
    return Tree(data)


def small(path: str, content: bytes = b"new", on_conflict: str = "replace", check: Any = lambda there: None) -> Small:
    return Small(path, content, on_conflict, None, check)


def test_of_one_batch_each_is_placed_or_refused_for_itself(tree: Tree, data: Path, tmp_path: Path) -> None:
    (data / "folder").mkdir()
    (data / "run.sh").write_text("old")
    (data / "run.sh").chmod(0o755)
    (data / "taken").write_text("old")
    (data / "out").symlink_to(tmp_path)

    def never(there: Entry | None) -> None:
        raise Full("No.", code="no")

    before = len(os.listdir("/proc/self/fd"))
    files = [
        small("a"), small("folder/b", b"x" * 100_000), small("run.sh"), small("missing/c"), small("folder"), small("taken", b"2", "refuse"),
        small("taken", b"2", "keep_both"), small("out/d"), small("refused", check=never), small("empty", b""),
    ]  # fmt: skip
    results = place_together(tree, files)
    assert [type(result) for result in results] == [Placed, Placed, Placed, NoParent, Exists, Exists, Placed, Leaves, Full, Placed]
    assert [result.path for result in results if isinstance(result, Placed)] == ["a", "folder/b", "run.sh", "taken (2)", "empty"]
    assert (data / "run.sh").read_bytes() == b"new" and (data / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (data / "folder" / "b").stat().st_size == 100_000 and (data / "taken").read_text() == "old"
    assert sorted(os.listdir(data)) == ["a", "empty", "folder", "out", "run.sh", "taken", "taken (2)"]
    assert os.listdir(tree.staging_fd) == [] and len(os.listdir("/proc/self/fd")) <= before + 2, "a context of shared syncs may stay"


def test_two_syncs_carry_a_batch_and_every_name_comes_between_them(tree: Tree, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "folder").mkdir()
    said: list[str] = []

    def syncs(fds: Sequence[int]) -> list[OSError | None]:
        said.append(f"sync {len(fds)}")
        return sync_all(fds)

    renames = kernel.rename

    def rename(*arguments: Any) -> None:
        said.append("rename")
        renames(*arguments)

    monkeypatch.setattr(placing, "sync_all", syncs)
    monkeypatch.setattr(kernel, "rename", rename)
    place_together(tree, [small("a"), small("b"), small("folder/c"), small("folder/d"), small("missing/e")])
    assert said == ["sync 5", *["rename"] * 4, "sync 2"], "five files first, then their two folders"


@pytest.mark.parametrize("step", [0, 1])
def test_what_the_disk_did_not_take_is_refused_and_its_neighbours_are_not(
    tree: Tree, data: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    (data / "folder").mkdir()
    asked: list[int] = []

    def syncs(fds: Sequence[int]) -> list[OSError | None]:
        asked.append(len(fds))
        ill = OSError(errno.EIO, "ill") if len(asked) == step + 1 else None
        return [ill, *[None] * (len(fds) - 1)]

    monkeypatch.setattr(placing, "sync_all", syncs)
    first, second = place_together(tree, [small("a"), small("folder/b")])
    assert isinstance(first, ArkError) and first.code == "storage" and isinstance(second, Placed)
    assert (data / "folder" / "b").exists() and (step == 1 or not (data / "a").exists())
    assert os.listdir(tree.staging_fd) == []


@pytest.mark.parametrize("shared", [True, False])
def test_syncs_at_once_and_one_by_one_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    if not shared:
        monkeypatch.setattr(syncing, "_CALLS", None)
        monkeypatch.setattr(syncing, "_idle", [])
    fds = [os.open(tmp_path / str(number), os.O_CREAT | os.O_RDWR) for number in range(70)]
    fds.append(os.open(tmp_path, os.O_RDONLY))
    reading, writing = os.pipe()
    try:
        assert sync_all(fds) == [None] * 71
        assert sync_all([]) == []
        found = [error and error.errno for error in sync_all([fds[0], reading, fds[1]])]
        assert found == [None, errno.EINVAL, None], "what knows no sync says so; the others are synced"
        closed = os.dup(reading)
        os.close(closed)
        assert [error and error.errno for error in sync_all([closed, fds[0]])] == [errno.EBADF, None]
        assert sync_all(fds) == [None] * 71, "nothing of an earlier call is left in a later one"
    finally:
        for fd in (*fds, reading, writing):
            os.close(fd)


Then = Callable[["Future[Any]"], None]


def ended(act: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """As a thread leaves it."""
    done: Future[Any] = Future()
    try:
        done.set_result(act(*arguments))
    except Exception as error:
        done.set_exception(error)
    return done


async def test_who_comes_while_a_batch_is_on_its_way_is_in_the_next(tree: Tree, data: Path) -> None:
    begun: list[tuple[Then, Any, Tree, list[Small]]] = []
    queue = Queue(tree, lambda *arguments: begun.append(arguments))
    waiting = [queue.place(small(str(number))) for number in range(10)]
    await asyncio.sleep(0)
    assert [len(files) for *_, files in begun] == [1] and not any(done.done() for done in waiting)
    then, *what = begun[0]
    then(ended(*what))
    assert [len(files) for *_, files in begun] == [1, 9]
    assert [done.done() for done in waiting] == [True] + [False] * 9, "nobody is answered before its own batch"
    then, *what = begun[1]
    then(ended(*what))
    assert [placed.path for placed in await asyncio.wait_for(asyncio.gather(*waiting), 10)] == [str(number) for number in range(10)]
    assert len(os.listdir(data)) == 10 and len(begun) == 2


async def test_nobody_is_left_waiting_between_two_batches(tree: Tree) -> None:
    """Who comes in the moment in which a batch has answered, and is not yet over, has a batch too."""

    def begin(then: Then, *what: Any) -> None:
        asyncio.get_running_loop().call_soon(then, ended(*what))

    queue = Queue(tree, begin)

    async def client(name: str) -> None:
        for number in range(20):
            await queue.place(small(f"{name}-{number}"))

    await asyncio.wait_for(asyncio.gather(*(client(name) for name in "abc")), 60)


@pytest.mark.parametrize("at_its_beginning", [True, False])
async def test_a_batch_that_breaks_answers_everybody_in_it(tree: Tree, at_its_beginning: bool) -> None:
    def breaks(*_: Any) -> Any:
        raise MemoryError

    def begin(then: Then, *what: Any) -> None:
        asyncio.get_running_loop().call_soon(then, ended(breaks))

    queue = Queue(tree, breaks if at_its_beginning else begin)
    for _ in range(2):
        with pytest.raises(MemoryError):
            await asyncio.wait_for(queue.place(small("a")), 10)
