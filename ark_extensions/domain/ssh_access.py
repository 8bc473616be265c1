"""How a person reaches a workspace by SSH: the command, the configuration block, the known_hosts lines; and what of a
connection's traffic counts as work. Pure.

Everything here is copied into a shell or a configuration file, so a name that could be read as anything but a name is
quoted, and one with control characters gets no command at all.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

#: the user inside every workspace
INNER_USER = "user"
#: the one port that a workspace answers on, in name: what the platform dials is its own affair
INNER_PORT = 22
#: within a run's directory: the socket that the gateway dials, and the directory that the workspace sees read-only
RUN_SOCKET, RUN_FILES = "ssh.sock", "ssh"
AUTHORIZED_KEYS, HOST_KEY = "authorized_keys", "host_key"
#: a connection that moves less than this in a minute only keeps itself alive (a keep-alive is 84 bytes, there and back)
WORK_BYTES_PER_MINUTE = 1500
#: a session that its gateway has not confirmed for this long is not counted
SESSION_STALE_SECONDS = 300


def is_work(moved_bytes: int, seconds: float) -> bool:
    """Whether a connection that moved so much did more than keep itself alive."""
    return moved_bytes > WORK_BYTES_PER_MINUTE * max(seconds, 1.0) / 60


@dataclass(frozen=True)
class Gateway:
    """Where people find the gateway, and its host keys (``algorithm base64``)."""

    host: str
    port: int
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """What a person copies. ``known_hosts`` has a line for the gateway and one for the workspace, once it has a key."""

    command: str
    config: str
    known_hosts: str


def jump(owner: str, gateway: Gateway) -> str:
    """``alice@gw:2222``, with an IPv6 address in brackets."""
    host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
    return f"{owner}@{host}:{gateway.port}"


def access(owner: str, workspace: str, gateway: Gateway, host_key: str | None) -> Access:
    """The copyable lines for one workspace."""
    if any(not c.isprintable() for c in owner):
        owner = "?"
    command = f"ssh -J {shlex.quote(jump(owner, gateway))} {INNER_USER}@{workspace}"
    return Access(command, config_block(owner, [workspace], gateway), known_hosts(gateway, {workspace: host_key}))


def gateway_alias(gateway: Gateway) -> str:
    """The gateway's name in a configuration file: the same for every workspace, different for every gateway."""
    return "ark-" + re.sub(r"[^a-z0-9]+", "-", gateway.host.lower()).strip("-") + f"-{gateway.port}"


def config_block(owner: str, workspaces: list[str], gateway: Gateway) -> str:
    """Lines for ``~/.ssh/config`` with which ``ssh ws1`` works, and editors that read that file too."""
    alias = gateway_alias(gateway)
    quoted = f'"{owner}"' if re.search(r"[^A-Za-z0-9._@+-]", owner) else owner
    lines = [
        f"Host {alias}",
        f"    HostName {gateway.host}",
        f"    Port {gateway.port}",
        f"    User {quoted}",
        "    ServerAliveInterval 60",
        "    ServerAliveCountMax 5",
    ]
    for name in workspaces:
        lines += [
            "",
            f"Host {name}",
            f"    HostName {name}",
            f"    User {INNER_USER}",
            f"    ProxyJump {alias}",
            "    ServerAliveInterval 60",
            "    ServerAliveCountMax 5",
        ]
    return "\n".join(lines) + "\n"


def known_hosts(gateway: Gateway, host_keys: dict[str, str | None]) -> str:
    """Lines for ``~/.ssh/known_hosts``."""
    place = gateway.host if gateway.port == 22 else f"[{gateway.host}]:{gateway.port}"
    lines = [f"{place} {key}" for key in gateway.host_keys]
    lines += [f"{name} {key}" for name, key in host_keys.items() if key]
    return "".join(f"{line}\n" for line in lines)
