"""Which processes make up the platform, how each is started, and how to see that they answer."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

from ark_extensions.environments import PROJECT, Environments
from ark_extensions.settings import Settings
from ark_extensions.supervisor.children import Service

# what a person waits for, and what the Hub waits for at its own start; the loops start when these answer
FIRST = ("proxy", "hub", "console", "netdisk")
LOOPS = ("billing", "autostop", "reconcile")
SSH = "ssh"
# the Hub stops the workspaces, which needs the proxy and takes its time
STOP_ORDER = ("hub", "console")
HUB_STOP_SECONDS = 60.0
HEALTH = ("/hub/health", "/services/console/health")
# What configurable-http-proxy lacks and has no option for, as an argument of Node's. Without a space, so that it fits into NODE_OPTIONS
# too (helm-values/base.yaml has the same).
# - Node ends every request that is longer than five minutes on its way (408): a large file on its way to the netdisk would be cut off.
#   How slowly a body may come is for the service behind; headers still have a minute.
# - The proxy takes the framing off a DELETE or OPTIONS that comes in chunks (http-proxy-3's deleteLength) and passes the body on: the
#   service reads it as the next request of the connection, whose answer then goes to somebody else. Such a request is refused.
PROXY_GUARD = (
    "--import=data:text/javascript,import{Server}from'node:http';const{listen,emit}=Server.prototype;"
    "Server.prototype.listen=function(...a){this.requestTimeout=0;return(listen.apply(this,a))};"
    "Server.prototype.emit=function(e,...a){const[q,s]=a;"
    "if(e==='request'&&q.headers['transfer-encoding']&&['DELETE','OPTIONS'].includes(q.method))"
    "{s.writeHead(411,{connection:'close'}).end();return!0}return(emit.call(this,e,...a))}"
)


def services(settings: Settings, built: Environments, environment: Mapping[str, str]) -> dict[str, Service]:
    """Every process by name, in the order of starting."""
    hub_config = str(PROJECT / "hub_config/jupyterhub_config.py")
    with_proxy_token = {**environment, "CONFIGPROXY_AUTH_TOKEN": settings.secret("proxy_token")}
    found = {
        "proxy": Service("proxy", proxy_command(settings, built), _proxy_environment(with_proxy_token)),
        "hub": Service("hub", [sys.executable, "-m", "jupyterhub", "-f", hub_config], with_proxy_token, stop_seconds=HUB_STOP_SECONDS),
    }
    for name in ("console", "netdisk", *loops(settings)):
        found[name] = Service(name, [sys.executable, "-m", f"ark_extensions.{name}"], environment)
    return found


def loops(settings: Settings) -> tuple[str, ...]:
    """What runs beside the platform's first processes: the SSH gateway too, where workspaces take SSH."""
    return (*LOOPS, SSH) if settings.ssh_enabled and settings.sandbox else LOOPS


def proxy_command(settings: Settings, built: Environments) -> list[str]:
    """configurable-http-proxy as the Hub itself would start it; the Hub is the default target, so that it answers
    even while a restarted proxy has not learnt its routes again."""
    hub = f"http://127.0.0.1:{settings.ports.hub}"
    return [
        *(str(built.node_bin / "node"), PROXY_GUARD, str(built.proxy_script)),
        *("--ip", settings.host, "--port", str(settings.port)),
        *("--api-ip", "127.0.0.1", "--api-port", str(settings.ports.proxy_api)),
        *("--default-target", hub, "--error-target", f"{hub}/hub/error", "--log-level", "warn"),
    ]


def child_environment(settings: Settings) -> dict[str, str]:
    """What every process gets: where the state is, and what this start decided (ports, address, sandbox)."""
    return {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "ARK_STATE_DIR": str(settings.state_dir),
        "ARK_CACHE_DIR": str(settings.cache_dir),
        "ARK_HOST": settings.host,
        "ARK_PORT": str(settings.port),
        "ARK_SANDBOX": str(settings.sandbox).lower(),
    }


def answers(host: str, port: int, path: str, *, seconds: float = 1.0) -> bool:
    """Whether a GET is answered with 200."""
    return ask(host, port, "GET", path, seconds=seconds) == 200


def ask(host: str, port: int, method: str, path: str, *, token: str | None = None, seconds: float = 1.0) -> int:
    """The status of a request to a local server; 0: no answer."""
    connection = http.client.HTTPConnection(local_address(host), port, timeout=seconds)
    try:
        connection.request(method, path, headers={"Authorization": f"token {token}"} if token else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def platform_answers(settings: Settings) -> bool:
    return all(answers(settings.host, settings.port, path) for path in HEALTH)


def restore_routes(settings: Settings) -> int:
    """Ask the Hub to tell a restarted proxy its routes; the status of its answer."""
    return ask("127.0.0.1", settings.ports.hub, "POST", "/hub/api/proxy", token=settings.secret("operator_token"), seconds=5.0)


def local_address(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def _proxy_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "NODE_ENV": "production"}
