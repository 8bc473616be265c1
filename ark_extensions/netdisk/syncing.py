"""fsync of several files at once: handed to the kernel together, so that they share one commit of the file system's journal.

Promises: what `sync_all` says nothing against is on disk, as after `os.fsync`; it needs no more than the old `io_submit` (Linux 4.18,
allowed where containers forbid io_uring), and where there is none it asks for one sync after the other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
#: for what does not wait
_at_once = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = _at_once.syscall.restype = ctypes.c_long

#: io_setup, io_getevents, io_submit of the machine; another machine has no shared syncs
_CALLS = {"x86_64": (206, 208, 209), "aarch64": (0, 4, 2), "riscv64": (0, 4, 2)}.get(os.uname().machine)
#: syncs of one call; a context is made for so many
AT_ONCE = 64
#: struct iocb and struct io_event of linux/aio_abi.h, little-endian
_IOCB = struct.Struct("<QIiHhIQQqQII")
_EVENT = struct.Struct("<QQqq")
_FSYNC = 2
#: contexts that nobody uses at the moment; taking and giving back are single steps of a list
_idle: list[ctypes.c_ulong] = []


def sync_all(fds: Sequence[int]) -> list[OSError | None]:
    """What went wrong with each, in their order."""
    errors: list[OSError | None] = []
    for first in range(0, len(fds), AT_ONCE):
        some = fds[first : first + AT_ONCE]
        errors += _together(some) if len(some) > 1 else [_alone(some[0])]
    return errors


def _alone(fd: int) -> OSError | None:
    try:
        os.fsync(fd)
    except OSError as error:
        return error
    return None


def _context() -> ctypes.c_ulong | None:
    try:
        return _idle.pop()
    except IndexError:
        made = ctypes.c_ulong(0)
        ok = _CALLS is not None and _libc.syscall(_CALLS[0], AT_ONCE, ctypes.byref(made)) == 0
        return made if ok else None


def _together(fds: Sequence[int]) -> list[OSError | None]:
    context = _context()
    if context is None or _CALLS is None:
        return [_alone(fd) for fd in fds]
    count = len(fds)
    asked = ctypes.create_string_buffer(b"".join(_IOCB.pack(i, 0, 0, _FSYNC, 0, fd, 0, 0, 0, 0, 0, 0) for i, fd in enumerate(fds)))
    first = ctypes.addressof(asked)
    taken = _at_once.syscall(_CALLS[2], context, ctypes.c_long(count), (ctypes.c_void_p * count)(*range(first, first + 64 * count, 64)))
    # what the kernel does not take (a file system without, its queue full) is asked for alone
    errors: list[OSError | None] = [None if i < taken else _alone(fd) for i, fd in enumerate(fds)]
    came = ctypes.create_string_buffer(_EVENT.size * count)
    waiting = max(0, taken)
    while waiting:
        got = _libc.syscall(_CALLS[1], context, ctypes.c_long(waiting), ctypes.c_long(waiting), came, None)
        if got < 0 and ctypes.get_errno() != errno.EINTR:
            return [_alone(fd) for fd in fds]  # the context is left alone: what it still holds would be taken for the next call's
        for i in range(max(0, got)):
            number, _iocb, result, _ = _EVENT.unpack_from(came, i * _EVENT.size)
            errors[number] = OSError(-result, os.strerror(-result)) if result else None
        waiting -= max(0, got)
    _idle.append(context)
    return errors
