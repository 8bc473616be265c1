"""The gateway's own host key: made at the first start, kept with the installation's secrets, shown as known_hosts lines."""

from __future__ import annotations

import os
from pathlib import Path

import asyncssh

NAME = "ssh_host_key"


def gateway_key(secrets: Path) -> asyncssh.SSHKey:
    """Read it, or make it; two processes that make it at once agree on one. Beside it lies ``ssh_host_key.pub``, where the
    secrets can be written (a cluster's cannot)."""
    path = secrets / NAME
    if not path.exists():
        secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = secrets / f"{NAME}.{os.getpid()}"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(asyncssh.generate_private_key("ssh-ed25519", comment="ark gateway").export_private_key())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        fresh.unlink()
    key = asyncssh.read_private_key(path)
    public = secrets / f"{NAME}.pub"
    if not public.exists():
        try:
            public.write_bytes(key.export_public_key())
        except OSError:
            pass
    return key
