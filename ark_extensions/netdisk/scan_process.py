"""A process that measures one tree and prints ``bytes files``: run by path, with nothing imported but the standard library,
so that it starts in a few hundredths of a second. Folders that wait are shared out to children of its own.

It walks by descriptors like ``walking``: no link is followed and no race is won by swapping one in.
"""

from __future__ import annotations

import os
import signal
import stat
import sys

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: folders that are gathered before the work is shared out
SHARED = 64
#: a tree deeper than this is left to the walk that needs few descriptors: nothing is printed then
DEPTH_MAX = 400


class TooDeep(Exception):
    """More folders in each other than descriptors that we want to hold."""


def walk(fd: int, seen: set[tuple[int, int]]) -> tuple[int, int, list[str]]:
    """(blocks, entries, folders) of one open folder."""
    blocks = entries = 0
    folders: list[str] = []
    with os.scandir(fd) as found:
        for entry in found:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            entries += 1
            if stat.S_ISDIR(info.st_mode):
                folders.append(entry.name)
            elif info.st_nlink > 1:
                if (info.st_dev, info.st_ino) in seen:
                    entries -= 1
                    continue
                seen.add((info.st_dev, info.st_ino))
            blocks += info.st_blocks
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
    sys.setrecursionlimit(10_000)
    blocks = entries = 0
    seen: set[tuple[int, int]] = set()
    pending = [os.dup(top)]
    while pending and len(pending) < SHARED:
        fd = pending.pop(0)
        try:
            found = walk(fd, seen)
            blocks, entries = blocks + found[0], entries + found[1]
            for name in found[2]:
                try:
                    pending.append(os.open(name, FOLDER, dir_fd=fd))
                except OSError:
                    continue
        except OSError:
            pass
        os.close(fd)
        if len(pending) > 900:
            break
    print(*add(blocks, entries, share(pending, processes)))


def share(pending: list[int], processes: int) -> list[tuple[int, int]]:
    """Each child takes every n-th folder and answers through a pipe."""
    pipes = []
    for number in range(processes):
        reading, writing = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            seen: set[tuple[int, int]] = set()
            try:
                found = [deep(fd, seen) for fd in pending[number::processes]]
                os.write(writing, f"{sum(f[0] for f in found)} {sum(f[1] for f in found)}".encode())
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
