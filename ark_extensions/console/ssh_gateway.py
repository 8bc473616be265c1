"""Where people find the SSH gateway: its public name, its port and its host key, for commands and configuration lines."""

from __future__ import annotations

from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization

from ark_extensions.domain.ssh_access import Gateway
from ark_extensions.settings import Settings


def gateway(settings: Settings, address: str) -> Gateway | None:
    """None where workspaces take no SSH. ``address``: the one under which the reader reached the platform."""
    if not (settings.ssh_enabled and settings.sandbox):
        return None
    host = settings.ssh_public_host or urlsplit(address).hostname or "localhost"
    return Gateway(host, settings.ssh_port, _host_keys(settings))


def _host_keys(settings: Settings) -> tuple[str, ...]:
    try:
        words = settings.secret("ssh_host_key.pub").split()
    except OSError:
        words = _public_of(settings).split()
    return (f"{words[0]} {words[1]}",) if len(words) >= 2 else ()


def _public_of(settings: Settings) -> str:
    """The public half of a key that came without it, as a cluster's secret does; empty while the gateway has none."""
    try:
        private = settings.secret("ssh_host_key").encode()
        load = serialization.load_ssh_private_key if b"OPENSSH" in private else serialization.load_pem_private_key
        public = load(private, None).public_key()
        return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    except (OSError, ValueError):
        return ""
