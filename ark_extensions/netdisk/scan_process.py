"""A process that measures one tree and prints ``bytes files``: run by path, with nothing imported but the standard library,
so that it starts in a few hundredths of a second. Folders that wait are shared out to children of its own.

It walks by descriptors like ``walking``: no link is followed and no race is won by swapping one in.
"""

from __future__ import annotations

import os
import signal
import sys

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
KIND, IS_FOLDER = 0o170000, 0o040000
#: folders that are gathered before the work is shared out
SHARED = 64
#: of two bytes each, so that all fit into a pipe
SHARES_MAX = 8192
#: a tree deeper than this is left to the walk that needs few descriptors: nothing is printed then
DEPTH_MAX = 400


class TooDeep(Exception):
    """More folders in each other than descriptors that we want to hold."""


def walk(fd: int, seen: set[tuple[int, int]]) -> tuple[int, int, list[str]]:
    """(blocks, entries, folders) of one open folder."""
    blocks = entries = 0
    folders: list[str] = []
    look = os.stat
    for name in os.listdir(fd):  # names alone: an object for each entry takes longer than the system call
        try:
            info = look(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue
        entries += 1
        blocks += info.st_blocks
        if info.st_mode & KIND == IS_FOLDER:
            folders.append(name)
        elif info.st_nlink > 1:
            if (info.st_dev, info.st_ino) in seen:
                blocks -= info.st_blocks
            else:
                seen.add((info.st_dev, info.st_ino))
    return blocks, entries, folders


def deep(fd: int, seen: set[tuple[int, int]], depth: int = 0) -> tuple[int, int]:
    """A folder and all below it."""
    try:
        blocks, entries, folders = walk(fd, seen)
    except OSError:
        return 0, 0
    if folders and depth >= DEPTH_MAX:
        raise TooDeep
    for name in folders:
        try:
            inner = os.open(name, FOLDER, dir_fd=fd)
        except OSError:
            continue
        try:
            more = deep(inner, seen, depth + 1)
        finally:
            os.close(inner)
        blocks, entries = blocks + more[0], entries + more[1]
    return blocks, entries


def main(top: int, processes: int) -> None:
    """Folders wait as (open folder above, name): one descriptor for all that are in one folder."""
    sys.setrecursionlimit(10_000)
    blocks = entries = 0
    seen: set[tuple[int, int]] = set()
    pending: list[tuple[int, str]] = [(top, ".")]
    for _ in range(SHARED):
        if not pending or len(pending) >= SHARED:
            break
        above, name = pending.pop(0)
        try:
            fd = os.open(name, FOLDER, dir_fd=above)
            found = walk(fd, seen)
        except OSError:
            continue
        blocks, entries = blocks + found[0], entries + found[1]
        pending += [(fd, inner) for inner in found[2]]
    print(*add(blocks, entries, share(pending, processes)))


def below(pending: list[tuple[int, str]], seen: set[tuple[int, int]]) -> tuple[int, int]:
    """Some of the folders that wait, and all below them."""
    blocks = entries = 0
    for above, name in pending:
        try:
            fd = os.open(name, FOLDER, dir_fd=above)
        except OSError:
            continue
        found = deep(fd, seen)
        os.close(fd)
        blocks, entries = blocks + found[0], entries + found[1]
    return blocks, entries


def share(pending: list[tuple[int, str]], processes: int) -> list[tuple[int, int]]:
    """Each child takes the next share as soon as it is done with one, and answers through a pipe."""
    size = len(pending) // SHARES_MAX + 1
    queue, filling = os.pipe()
    os.write(filling, b"".join(number.to_bytes(2, "big") for number in range(-(-len(pending) // size))))
    os.close(filling)
    pipes = []
    for _ in range(processes):
        reading, writing = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            seen: set[tuple[int, int]] = set()
            blocks = entries = 0
            try:
                while number := os.read(queue, 2):
                    first = int.from_bytes(number, "big") * size
                    found = below(pending[first : first + size], seen)
                    blocks, entries = blocks + found[0], entries + found[1]
                os.write(writing, f"{blocks} {entries}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append(reading)
    results = []
    for reading in pipes:
        said = os.read(reading, 100).split()
        results.append((int(said[0]), int(said[1])))
    return results


def add(blocks: int, entries: int, others: list[tuple[int, int]]) -> tuple[int, int]:
    return (blocks + sum(other[0] for other in others)) * 512, entries + sum(other[1] for other in others)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
