"""Ports for what a test starts."""

from __future__ import annotations

import secrets
import socket


def free_port() -> int:
    """Below the range from which the system takes ports for connections: none of them can take it before somebody listens there."""
    while True:
        port = 10_000 + secrets.randbelow(10_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
