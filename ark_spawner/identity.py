"""Who a workspace's processes are on the host.

Started by root, a workspace must not be root even on the host's side of its user namespace: it shares the host's network,
where abstract sockets and files trust user 0. So each owner gets a host user number of their own, far above any account,
and root prepares a user namespace in which that number is 1000. Started by an ordinary user, it is that user.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from ark_spawner import filesystem as fs

FIRST, COUNT = 1_500_000_000, 400_000_000
_READY_SECONDS = 5.0


def host_uid(owner: str) -> int:
    """The host's user number for an owner's workspaces and files: the same for ever, without anything to store."""
    if os.geteuid() != 0:
        return os.geteuid()
    digest = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).digest()
    return FIRST + int.from_bytes(digest[:8], "big") % COUNT


def user_namespace(uid: int) -> int | None:
    """A descriptor of a user namespace in which ``uid`` of the host is the workspace's user; None when we are not root:
    then bubblewrap makes one itself. The caller closes it. Raises OSError where the kernel refuses."""
    if os.geteuid() != 0:
        return None
    holder = subprocess.Popen(["/usr/bin/unshare", "--user", "/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        proc = Path(f"/proc/{holder.pid}")
        own, deadline = os.readlink("/proc/self/ns/user"), time.monotonic() + _READY_SECONDS
        while os.readlink(proc / "ns/user") == own:
            if holder.poll() is not None or time.monotonic() > deadline:
                raise PermissionError("the kernel gives no user namespace")
            time.sleep(0.0005)
        (proc / "uid_map").write_text(f"{fs.UID} {uid} 1")
        (proc / "gid_map").write_text(f"{fs.GID} {uid} 1")
        return os.open(proc / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdin is not None
        holder.stdin.close()
