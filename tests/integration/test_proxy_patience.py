"""A large file is longer than five minutes on its way: the proxy must not end its upload, as Node by itself would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from ark_extensions.cli.processes import PATIENCE, proxy_command
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
    assert limits(tmp_path) == "300000 60000", "if Node is patient by now, PATIENCE can go"


def test_a_body_may_take_its_time_and_headers_may_not(tmp_path: Path) -> None:
    assert limits(tmp_path, PATIENCE) == "0 60000"
    assert PATIENCE in proxy_command(Settings(), environments())


def test_the_proxy_of_a_cluster_is_as_patient(tmp_path: Path) -> None:
    values = yaml.safe_load((PROJECT / "helm-values/base.yaml").read_text())
    options = values["proxy"]["chp"]["extraEnv"]["NODE_OPTIONS"]
    assert options == PATIENCE
    assert limits(tmp_path, NODE_OPTIONS=options) == "0 60000"


def test_the_running_proxy_is_such_a_one(platform: Platform) -> None:
    assert PATIENCE.encode() in Path(f"/proc/{platform.pid('proxy')}/cmdline").read_bytes().split(b"\0")
