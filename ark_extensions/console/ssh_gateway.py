"""Where people find the SSH gateway: its public name, its port and its host key, for commands and configuration lines."""

from __future__ import annotations

from urllib.parse import urlsplit

from ark_extensions.console.handlers import ConsoleHandler
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
    except OSError:  # the gateway has not run yet
        return ()
    return (f"{words[0]} {words[1]}",) if len(words) >= 2 else ()


def address_of(handler: ConsoleHandler) -> str:
    """The address under which this page's reader reached the platform."""
    settings, request = handler.console_settings, handler.request
    if settings.public_url or "X-Forwarded-Proto" not in request.headers:
        return settings.base_url
    return f"{request.protocol}://{request.host}"
