"""What every deployment's Hub shares, whatever runs the workspaces."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

from jupyterhub.utils import subdomain_hook_idna
from tornado.httpserver import HTTPServer

from ark_extensions.loop import log_beside
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.web.bodies import IDLE_SECONDS, BoundedServer

CONSOLE = "/services/console/"
#: a refusal is the start request's own answer; what takes longer is answered 202 and told by events
SLOW_SPAWN_SECONDS = 1.0
#: rows of servers beyond the platform's own limit, for released workspaces that can still be restored
SPARE_SERVER_ROWS = 30


@cache
def storage_of(url: str) -> Storage:
    """The Hub process's one connection pool to the platform's database."""
    return Storage(url)


def configure(c: Any, settings: Settings) -> None:
    _addresses(c, settings)
    _state(c, settings)
    configure_listener()
    configure_servers(c, settings)
    configure_pages(c, settings)


def person_domain(name: str, domain: str, kind: str) -> str:
    """With ``JupyterHub.subdomain_host`` each user's workspaces have an origin of their own; the platform's pages stay where the Hub is."""
    return domain if kind == "service" else str(subdomain_hook_idna(name, domain, kind))


def _addresses(c: Any, settings: Settings) -> None:
    c.JupyterHub.bind_url = f"http://{settings.host}:{settings.port}"
    c.JupyterHub.hub_bind_url = f"http://{settings.listen_host}:{settings.ports.hub}"
    if settings.hub_url:
        c.JupyterHub.hub_connect_url = settings.hub_url
    if settings.public_url:
        c.JupyterHub.public_url = settings.public_url
    c.JupyterHub.proxy_check_interval = 5
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.ports.proxy_api}"
    c.ConfigurableHTTPProxy.auth_token = settings.secret("proxy_token")


def _state(c: Any, settings: Settings) -> None:
    file = settings.state_dir / "jupyterhub.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL").close()  # kept in the file: readers never wait for the Hub's commits
    connection.close()
    c.JupyterHub.db_url = f"sqlite:///{file}"
    c.JupyterHub.db_kwargs = {"connect_args": {"timeout": 30}}
    c.JupyterHub.upgrade_db = True
    c.JupyterHub.cookie_secret_file = str(settings.state_dir / "secrets" / "cookie_secret")


def configure_listener() -> None:
    """The Hub makes its own web server; by itself it would gather 100 MB of a stranger's body, however slowly they come."""
    HTTPServer.configure(BoundedServer, idle_connection_timeout=IDLE_SECONDS)


def configure_servers(c: Any, settings: Settings) -> None:
    log_beside()
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.subdomain_hook = person_domain
    c.JupyterHub.named_server_limit_per_user = settings.max_workspaces_per_user + SPARE_SERVER_ROWS
    c.JupyterHub.cleanup_servers = True
    c.JupyterHub.redirect_to_server = False
    c.JupyterHub.default_url = CONSOLE
    c.Spawner.open_storage = lambda: storage_of(settings.resolved_database_url)
    c.Spawner.ssh_secret = lambda: settings.secret("ssh_token")
    c.Spawner.apply_user_options = lambda spawner, options: None  # the gate in the spawner's start reads them
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.poll_interval = 5
    c.Spawner.http_timeout = 30
    c.Spawner.start_timeout = settings.start_timeout_seconds + 30
    c.Spawner.default_url = "/lab"
    c.Spawner.env_keep = []


def configure_pages(c: Any, settings: Settings) -> None:
    c.JupyterHub.template_paths = [str(Path(__file__).parent / "templates")]
    c.JupyterHub.template_vars = {"console_url": CONSOLE, "ark_language": settings.language}
    c.JupyterHub.tornado_settings = {
        "slow_spawn_timeout": SLOW_SPAWN_SECONDS,
        "headers": {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"},
    }
