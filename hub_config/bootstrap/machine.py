"""What this machine has: read only, so that it can be asked before anything is changed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LOWEST_PYTHON = (3, 11)
GIB = 2**30


def is_root() -> bool:
    return os.geteuid() == 0


def has_apt() -> bool:
    """Whether this is Debian, Ubuntu or a relative."""
    return shutil.which("apt-get") is not None and Path("/var/lib/dpkg/status").exists()


def workspace_python() -> Path | None:
    """A Python that sandboxed workspaces can see: one under /usr, as new as the platform needs."""
    for candidate in [
        "/usr/bin/python3",
        *(f"/usr/bin/python3.{minor}" for minor in range(11, 20)),
        "/usr/local/bin/python3",
        sys.executable,
    ]:
        real = Path(candidate).resolve()
        if real.exists() and str(real).startswith("/usr/") and python_version(real) >= LOWEST_PYTHON:
            return Path(candidate)
    return None


def any_python() -> Path:
    """The Python that runs this, outside any virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable)


def python_version(python: Path) -> tuple[int, int]:
    """From the name of the real file (``python3.11``); asked of the program itself where the name does not say."""
    named = re.fullmatch(r"python(\d)\.(\d+)", python.resolve().name)
    if named:
        return int(named[1]), int(named[2])
    answer = run([str(python), "-c", "import sys; print(*sys.version_info[:2])"])
    found = re.match(r"(\d+) (\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def can_make_virtual_environments(python: Path) -> bool:
    return run([str(python), "-c", "import ensurepip, venv"]).returncode == 0


def sandbox_problem() -> str | None:
    """What bubblewrap says when it is asked for the sandbox a workspace gets; None: it runs."""
    try_it = "--unshare-user --uid 1000 --gid 1000 --unshare-pid --unshare-ipc --unshare-uts --proc /proc --dev /dev --tmpfs /tmp".split()
    system = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64".split()
    answer = run(["bwrap", *try_it, *system, "--", "/usr/bin/true"])
    if answer.returncode == 0:
        return None
    return (answer.stderr.strip().splitlines() or [f"exit {answer.returncode}"])[-1]


def port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def free_gib(path: Path) -> float:
    """Free space where ``path`` is or will be."""
    return shutil.disk_usage(existing_parent(path)).free / GIB


def is_writable(path: Path) -> bool:
    parent = existing_parent(path)
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def existing_parent(path: Path) -> Path:
    """The nearest directory above that is there, as far as this account can see."""
    while not os.path.exists(path):
        path = path.parent
    return path


def same_file_system(one: Path, other: Path) -> bool:
    return existing_parent(one).stat().st_dev == existing_parent(other).stat().st_dev


def has_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or (shutil.which("nvidia-smi") is not None and run(["nvidia-smi", "-L"]).returncode == 0)


def run(argv: Sequence[str], *, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    """Ask a program; one that is not there or hangs answers with status 127."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return subprocess.CompletedProcess(list(argv), 127, "", str(failure))
