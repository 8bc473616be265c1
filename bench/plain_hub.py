"""The baseline of the start benches: plain JupyterHub with its own local spawner, proxy and workspace environment as ours.

Same machine, same JupyterHub, same configurable-http-proxy on the same Node, same JupyterLab; no platform around it.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ark_extensions.environments import environments
from tests.ports import free_port

USER = "bench"
CONFIG = """
c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = ["{node}", "{proxy}", "--log-level", "warn"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.allowed_users = {{"{user}"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}/{{username}}"
c.Spawner.cmd = ["{singleuser}"]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {{"JUPYTER_PREFER_ENV_PATH": "1"}}
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "access:servers"]}}]
c.JupyterHub.log_level = "WARN"
"""


class PlainHub:
    """`with PlainHub() as hub`: a directory of its own; `start` and `stop` as often as a bench likes. ``more``: further
    configuration, for another spawner, with ``told`` put into it."""

    def __init__(self, more: str = "", **told: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ark-bench-hub-"))
        self.token = secrets.token_hex(16)
        self.port, hub_port, api_port = free_port(), free_port(), free_port()
        built = environments()
        config = (CONFIG + more).format(
            port=self.port,
            hub_port=hub_port,
            api_port=api_port,
            node=built.node_bin / "node",
            proxy=built.proxy_script,
            user=USER,
            home=self.directory / "home",
            singleuser=built.workspace / "bin/jupyterhub-singleuser",
            token=self.token,
            **told,
        )
        (self.directory / "jupyterhub_config.py").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PlainHub:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Begin a start; `wait_for` says when something answers."""
        log = (self.directory / "hub.log").open("ab")
        command = [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ARK_", "JUPYTERHUB"))}
        self._process = subprocess.Popen(command, cwd=self.directory, env=environment, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        """End it and all it started, servers too."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._process = None

    def request(self, method: str, path: str, body: object = None) -> int:
        """The status of one request; 0 when nothing answers."""
        return status_of(self.port, method, path, token=self.token, body=body)


def status_of(port: int, method: str, path: str, *, token: str, body: object = None) -> int:
    """The status of one request to the loopback; 0 when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_for(port: int, path: str, *, token: str, seconds: float = 120.0) -> None:
    """Ask every 20 ms until the path answers 200; both sides of a bench wait in this way."""
    give_up = time.monotonic() + seconds
    while status_of(port, "GET", path, token=token) != 200:
        if time.monotonic() > give_up:
            raise AssertionError(f"{path} did not answer within {seconds} s")
        time.sleep(0.02)
