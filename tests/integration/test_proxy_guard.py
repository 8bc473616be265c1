"""What configurable-http-proxy lacks. A large file is longer than five minutes on its way: its upload must not be ended, as Node by itself
would; and nobody's body may be read as the next request on a connection that others use.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from ark_extensions.cli.processes import PROXY_GUARD, proxy_command
from ark_extensions.environments import PROJECT, environments
from ark_extensions.settings import Settings
from tests.platform import Platform

#: as configurable-http-proxy makes its server
ASKED = """
import http from "http";
const server = http.createServer({ keepAlive: true, keepAliveTimeout: 5000 }, () => {});
server.listen(0, "127.0.0.1", () => { console.log(server.requestTimeout, server.headersTimeout); server.close(); });
"""


def limits(tmp_path: Path, *options: str, **environment: str) -> str:
    """Milliseconds that a request, and its headers, may take; 0: for ever."""
    (tmp_path / "asked.mjs").write_text(ASKED)
    node = environments().node_bin / "node"
    done = subprocess.run([node, *options, tmp_path / "asked.mjs"], env={**os.environ, **environment}, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


def test_node_by_itself_would_cut_an_upload_off(tmp_path: Path) -> None:
    assert limits(tmp_path) == "300000 60000", "if Node is patient by now, PROXY_GUARD can go"


def test_a_body_may_take_its_time_and_headers_may_not(tmp_path: Path) -> None:
    assert limits(tmp_path, PROXY_GUARD) == "0 60000"
    assert PROXY_GUARD in proxy_command(Settings(), environments())


def test_the_proxy_of_a_cluster_is_as_patient(tmp_path: Path) -> None:
    values = yaml.safe_load((PROJECT / "helm-values/base.yaml").read_text())
    options = values["proxy"]["chp"]["extraEnv"]["NODE_OPTIONS"]
    assert options == PROXY_GUARD
    assert limits(tmp_path, NODE_OPTIONS=options) == "0 60000"


def test_the_running_proxy_is_such_a_one(platform: Platform) -> None:
    assert PROXY_GUARD.encode() in Path(f"/proc/{platform.pid('proxy')}/cmdline").read_bytes().split(b"\0")


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS"])
def test_a_body_is_never_read_as_the_next_request(platform: Platform, method: str) -> None:
    """configurable-http-proxy takes the framing off these methods' bodies: a stranger's would be answered to whoever asks next."""
    hidden = b"GET /services/console/api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", platform.port), timeout=20) as attacker:
            lines = f"{method} /services/console/nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            attacker.sendall(lines.encode() + chunk)
            assert attacker.recv(4096).startswith(b"HTTP/1.1 411 ")
        assert platform.request("GET", "/services/console/health").json == {"status": "ok"}


def test_a_delete_with_a_length_and_a_post_in_chunks_pass(platform: Platform) -> None:
    token = platform.token("admin")
    assert platform.request("DELETE", "/services/console/api/v1/ssh-sessions", {}, token=token).status < 300
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=20)
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    connection.request(
        "PATCH", "/services/console/api/v1/me", body=iter([b'{"language": ', b'"zh"}']), headers=headers, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    connection.close()
