"""The system calls that Python does not have and that isolation rests on: openat2, renameat2, syncfs.

Promises: `open_beneath` never returns a descriptor of something outside ``dir_fd``'s tree, whatever links, mounts of
processes or renames go on meanwhile: the kernel checks every component as it walks. All calls that may wait release the GIL.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from ark_extensions.netdisk.renaming import exchange, no_replace

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
#: for calls that never wait: other threads need not be let in for them, which would cost more than the call
_at_once = ctypes.PyDLL(None, use_errno=True)
_at_once.syscall.restype = ctypes.c_long

#: the same numbers on every architecture since the tables were unified; renameat2 is older
_OPENAT2 = 437
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}.get(os.uname().machine, 276)

_M_ARENA_MAX = -8
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
#: EAGAIN for what is not in the kernel's memory (Linux 5.12; EINVAL before)
RESOLVE_CACHED = 0x20
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
#: f_type of ext4, xfs, btrfs, tmpfs, f2fs, zfs
LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010, 0x2FC12FC1})
#: a rename elsewhere in the tree makes the kernel give up a ".." in a link: it asks us to try again
TRIES = 64


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def open_beneath(dir_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` (relative; ``""`` is ``dir_fd`` itself) below ``dir_fd``. Links that stay inside are followed;
    EXDEV for what leads out."""
    how = _How(flags | os.O_CLOEXEC, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path or ".")
    for _ in range(TRIES):
        fd = _libc.syscall(_OPENAT2, dir_fd, name, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    raise _failed()


def look_in_memory(dir_fd: int, path: str) -> int:
    """As `open_beneath` with O_PATH, but BlockingIOError instead of waiting for a disk."""
    how = _How(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED)
    fd = _at_once.syscall(_OPENAT2, dir_fd, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        raise _failed()
    return int(fd)


def open_to_read(handle: int) -> int:
    """A descriptor for reading of what an O_PATH descriptor is of: a file or folder. ENXIO for a pipe, socket or device, which is not
    opened: to open one may already wait or do something (a watchdog begins to count)."""
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def open_entry(folder_fd: int, name: str) -> int:
    """`open_to_read` of a name in an open folder; a link is refused."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        return open_to_read(handle)
    finally:
        os.close(handle)


def close_at_once(fd: int) -> None:
    """For O_PATH descriptors: no file is behind them whose end could wait for a disk."""
    _at_once.close(fd)


def is_local(fd: int) -> bool:
    """Whether what is known about a file of this file system is known without asking another machine."""
    found = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, found) != 0:
        return False
    return ctypes.c_long.from_buffer(found).value & 0xFFFFFFFF in LOCAL


def rename(src_fd: int, src: str, dst_fd: int, dst: str, flags: int = 0) -> None:
    """renameat2: with RENAME_NOREPLACE an existing ``dst`` is EEXIST, with RENAME_EXCHANGE both change places at once. NFS and
    CephFS know no flags: there the same is done in steps (`renaming`)."""
    if _libc.syscall(_RENAMEAT2, src_fd, os.fsencode(src), dst_fd, os.fsencode(dst), ctypes.c_uint(flags)) == 0:
        return
    error = _failed()
    if error.errno != errno.EINVAL or not flags:
        raise error
    (no_replace if flags == RENAME_NOREPLACE else exchange)(src_fd, src, dst_fd, dst)


def syncfs(fd: int) -> None:
    """Everything written to this file system is on disk afterwards."""
    if _libc.syncfs(fd) != 0:
        raise _failed()


def spare_memory() -> None:
    """Two heaps for all threads instead of one for each, as dozens that each keep a little keep a lot; and back to the kernel with
    what the start has left over."""
    if hasattr(_libc, "mallopt"):  # not in every C library
        _libc.mallopt(_M_ARENA_MAX, 2)
        _libc.malloc_trim(0)


def supported() -> bool:
    """Whether this kernel has openat2 (Linux 5.6 or later, and no filter against it)."""
    try:
        fd = os.open("/", os.O_PATH)
        try:
            os.close(open_beneath(fd, "", os.O_PATH))
            return True
        finally:
            os.close(fd)
    except OSError:
        return False


def boot_id() -> str:
    """Changes with every start of the machine: while it is the same, what was written is still there unsynced too."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
