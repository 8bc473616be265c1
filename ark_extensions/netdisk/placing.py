"""Small files that arrive at the same moment go to their places together: two syncs for all of them instead of two for each.

Promises: each is answered when it and its name are on disk, as if it had come alone; what is wrong with one is no other's matter;
nobody waits for company: what arrives while a batch is on its way to the disk is the next batch.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ark_extensions.domain.files import join, split
from ark_extensions.netdisk.refusals import refusal
from ark_extensions.netdisk.syncing import sync_all
from ark_extensions.netdisk.tree import Entry, Tree, entry_of, set_time

#: files of a batch; the others wait for the next
BATCH = 64


@dataclass
class Small:
    """A whole file in memory, and where it goes. ``check`` sees what is there now and may refuse."""

    path: str
    content: bytes | bytearray
    on_conflict: str
    modified: datetime | None
    check: Callable[[Entry | None], None]


@dataclass(frozen=True)
class Placed:
    """``path`` is what it got, ``freed`` the bytes of what it replaced."""

    path: str
    freed: int
    entry: Entry


class Queue:
    """The small files of one tree, used in the event loop; ``begin(then, act, ...)`` runs ``act`` in a thread and calls ``then`` in the
    event loop with the future of it."""

    def __init__(self, tree: Tree, begin: Callable[..., None]) -> None:
        self._tree = tree
        self._begin = begin
        self._waiting: list[tuple[Small, asyncio.Future[Placed]]] = []
        #: on its way to the disk
        self._batch: list[tuple[Small, asyncio.Future[Placed]]] = []

    def place(self, small: Small) -> asyncio.Future[Placed]:
        """What becomes of it; its exception is what is wrong with this one."""
        answer: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self._waiting.append((small, answer))
        if not self._batch:
            self._next()
        return answer

    def _next(self) -> None:
        self._batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if not self._batch:
            return
        try:
            self._begin(self._done, place_together, self._tree, [small for small, _ in self._batch])
        except Exception as error:  # the threads have ended: so does the service
            failed: Future[Any] = Future()
            failed.set_exception(error)
            asyncio.get_running_loop().call_soon(self._done, failed)

    def _done(self, placed: Future[list[Placed | BaseException]]) -> None:
        batch, error = self._batch, placed.exception()
        results = [error] * len(batch) if error is not None else placed.result()
        self._next()
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Placed):
                answer.set_result(result)
            else:
                answer.set_exception(result)


def place_together(tree: Tree, files: list[Small]) -> list[Placed | BaseException]:
    """Where each file got to, or why not, in their order. No two have one path."""
    return _Batch(tree, files).run()


class _Batch:
    def __init__(self, tree: Tree, files: list[Small]) -> None:
        self._tree = tree
        self._files = files
        self._results: list[Placed | BaseException | None] = [None] * len(files)
        #: number → (name in the staging directory, descriptor)
        self._staged: dict[int, tuple[str, int]] = {}
        self._folders: dict[str, int] = {}
        self._owner = tree.owner()

    def run(self) -> list[Placed | BaseException]:
        try:
            self._each(self._stage, range(len(self._files)))
            self._sync({number: fd for number, (_name, fd) in self._staged.items()})
            in_place: dict[int, tuple[str, int]] = {}
            self._each(lambda number: in_place.__setitem__(number, self._put_in_place(number)), self._good())
            self._sync({number: self._folders[split(self._files[number].path)[0]] for number in in_place})
            self._each(lambda number: self._note(number, *in_place[number]), self._good())
        finally:
            for _name, fd in self._staged.values():
                os.close(fd)
            for fd in self._folders.values():
                os.close(fd)
        return [result or RuntimeError("left undone") for result in self._results]

    def _good(self) -> list[int]:
        return [number for number, result in enumerate(self._results) if result is None]

    def _each(self, act: Callable[[int], None], numbers: Any) -> None:
        """``act`` for each; what goes wrong ends that file's way."""
        for number in numbers:
            try:
                act(number)
            except OSError as error:
                self._refuse(number, refusal(error, self._files[number].path))
            except Exception as error:
                self._refuse(number, error)

    def _refuse(self, number: int, error: BaseException) -> None:
        self._results[number] = error
        if number in self._staged:
            self._tree.discard(self._staged[number][0])

    def _stage(self, number: int) -> None:
        small = self._files[number]
        name, fd = self._staged[number] = self._tree.stage(self._owner)
        view = memoryview(small.content)
        while view:
            view = view[os.write(fd, view) :]
        set_time(fd, small.modified)

    def _sync(self, wanted: dict[int, int]) -> None:
        numbers = self._good()
        fds = list({wanted[number]: None for number in numbers})
        failed = {fd: error for fd, error in zip(fds, sync_all(fds), strict=True) if error is not None}
        for number in numbers if failed else ():
            if error := failed.get(wanted[number]):
                self._refuse(number, refusal(error, self._files[number].path))

    def _put_in_place(self, number: int) -> tuple[str, int]:
        small = self._files[number]
        folder = split(small.path)[0]
        if folder not in self._folders:
            self._folders[folder] = self._tree.open_parent(small.path)
        return self._tree.put_in_place(
            *self._staged[number], self._folders[folder], small.path, on_conflict=small.on_conflict, check=small.check
        )

    def _note(self, number: int, leaf: str, freed: int) -> None:
        path = join(split(self._files[number].path)[0], leaf)
        self._results[number] = Placed(path, freed, entry_of(leaf, os.fstat(self._staged[number][1])))
