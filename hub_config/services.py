"""The platform's services as the Hub knows them, and what each of them, and each user and workspace, may do.

``custom:ark:account`` marks a token that acts as a user's whole account. A workspace's own token does not have it: the
console lets it act for that workspace only.
"""

from __future__ import annotations

from typing import Any

from ark_extensions.settings import Settings
from ark_extensions.web.tokens import ACCOUNT_SCOPE
from hub_config.base import CONSOLE

USE_CONSOLE = "access:services!service=console"
USE_NETDISK = "access:services!service=netdisk"
#: what the console may do with a signed-in user's token, beside opening the console itself
CONSOLE_TOKEN_SCOPES = [ACCOUNT_SCOPE, USE_CONSOLE, "read:users!user", "servers!user"]
#: the netdisk's page makes, lists and revokes the user's personal tokens with the user's own
NETDISK_TOKEN_SCOPES = [ACCOUNT_SCOPE, USE_NETDISK, "read:users:name!user", "tokens!user"]
#: they look and stop, and start nobody's server
LOOP_SCOPES = ["read:servers", "delete:servers", "list:users"]
#: how long the Hub's own start waits for a service: its route is made when it comes later, too
HUB_WAITS_SECONDS = 5
OPERATOR_SCOPES = ["admin:users", "admin:servers", "tokens", "proxy", "read:hub", "read:metrics"]


def configure(c: Any, settings: Settings) -> None:
    c.JupyterHub.custom_scopes = {ACCOUNT_SCOPE: {"description": "Act as your whole Ark account: workspaces, wallet and files"}}
    loops = (_api_only(name, settings) for name in ("billing", "autostop", "reconcile", "ssh", "operator"))
    c.JupyterHub.services = [_console(settings), _netdisk(settings), *loops]
    c.JupyterHub.load_roles = [
        {"name": "user", "scopes": ["self", USE_CONSOLE, USE_NETDISK, ACCOUNT_SCOPE]},
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", USE_CONSOLE]},
        {"name": "ark-loops", "scopes": LOOP_SCOPES, "services": ["billing", "autostop", "reconcile"]},
        # a connection may start a stopped workspace, where its owner allowed that
        {"name": "ark-ssh", "scopes": ["servers"], "services": ["ssh"]},
        # for a workspace that stops itself, and an administrator whose token has no rights on others' servers
        {"name": "ark-console", "scopes": ["delete:servers"], "services": ["console"]},
        {"name": "ark-operator", "scopes": OPERATOR_SCOPES, "services": ["operator"]},
    ]


def _console(settings: Settings) -> dict[str, Any]:
    return {
        "name": "console",
        "url": f"http://{settings.services_host}:{settings.ports.console}",
        "api_token": settings.secret("console_token"),
        "oauth_client_id": "service-console",
        "oauth_redirect_uri": f"{CONSOLE}oauth_callback",
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": CONSOLE_TOKEN_SCOPES,
        "display": False,
        "timeout": HUB_WAITS_SECONDS,
    }


def _netdisk(settings: Settings) -> dict[str, Any]:
    return {
        "name": "netdisk",
        "url": f"http://{settings.services_host}:{settings.ports.netdisk}",
        "api_token": settings.secret("netdisk_token"),
        "oauth_client_id": "service-netdisk",
        "oauth_redirect_uri": "/services/netdisk/oauth_callback",
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": NETDISK_TOKEN_SCOPES,
        "display": False,
        "timeout": HUB_WAITS_SECONDS,
    }


def _api_only(name: str, settings: Settings) -> dict[str, Any]:
    return {"name": name, "api_token": settings.secret(f"{name}_token"), "display": False}
