"""Write a request's body to a file as it arrives: in a thread, with one block on the way to the disk while the next comes in.

Promises: `feed` waits when the disk is slower than the network, so that an upload takes the same memory whatever its size;
`end` returns when every byte was handed to the kernel; writing to the disk begins early, so that the sync at the end is short.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ark_extensions.netdisk.refusals import refusal

BLOCK = 512 * 1024
WRITE_BACK_EVERY = 16 * 1024 * 1024
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class Sink:
    """``run`` runs a function in a thread. Bytes go to ``fd`` from ``offset`` on."""

    def __init__(self, fd: int, run: Callable[..., Awaitable[Any]], *, path: str, offset: int = 0, algorithm: str | None = None) -> None:
        self._fd = fd
        self._run = run
        self._path = path
        self._blocks: list[bytes] = []
        self._waiting = 0
        self._writing: Any = None
        self.received = offset
        self.written = offset
        self._pushed = offset
        self._hash = hashlib.new(algorithm) if algorithm else None

    async def feed(self, chunk: bytes) -> None:
        self._blocks.append(chunk)
        self._waiting += len(chunk)
        self.received += len(chunk)
        if self._waiting >= BLOCK:
            await self._start()

    async def end(self) -> None:
        if self._blocks:
            await self._start()
        await self._wait()

    async def abandon(self) -> None:
        """Nothing writes any more afterwards, whatever became of it."""
        writing, self._writing, self._blocks = self._writing, None, []
        if writing is not None:
            await asyncio.wait([writing])
            writing.exception()

    def digest(self) -> str:
        """Of all that was fed, after `end`."""
        return self._hash.hexdigest() if self._hash else ""

    async def _start(self) -> None:
        await self._wait()
        blocks, self._blocks, self._waiting = self._blocks, [], 0
        self._writing = asyncio.ensure_future(self._run(self._write, blocks))

    async def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                await writing
            except OSError as error:
                raise refusal(error, self._path) from error

    def _write(self, blocks: list[bytes]) -> None:
        for block in blocks:
            if self._hash:
                self._hash.update(block)
            view = memoryview(block)
            while view:
                done = os.pwrite(self._fd, view, self.written)
                self.written += done
                view = view[done:]
        if self.written - self._pushed >= WRITE_BACK_EVERY:
            write_back(self._fd, self._pushed, self.written)
            self._pushed = self.written


def write_back(fd: int, begin: int, end: int) -> None:
    """Begin to write a part of a file to the disk; does not wait."""
    _libc.sync_file_range(fd, ctypes.c_int64(begin), ctypes.c_int64(end - begin), _SYNC_FILE_RANGE_WRITE)
