"""The servers that the netdisk is measured against, on the same files: nginx's dav module and `rclone serve webdav`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.netdisk_server import Server
from tests.ports import free_port

NGINX = """
load_module {modules}/ngx_http_dav_ext_module.so;
{user}
worker_processes 2; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; client_max_body_size 0;
  client_body_temp_path {root}/tmp; proxy_temp_path {root}/t1;
  fastcgi_temp_path {root}/t2; uwsgi_temp_path {root}/t3; scgi_temp_path {root}/t4;
  server {{
    listen 127.0.0.1:{port};
    location / {{ root {data}; dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; create_full_put_path on; }}
  }}
}}
"""


def rclone() -> str:
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise RuntimeError("rclone is not installed")
    return found


def answers(url: str, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


@contextmanager
def process(command: list[str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers(url)
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()


@contextmanager
def nginx(root: Path) -> Iterator[str]:
    """→ the URL of its WebDAV tree."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    data = root / "data"
    for name in ("data", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    (root / "nginx.conf").write_text(NGINX.format(modules="/usr/lib/nginx/modules", root=root, data=data, port=port, user=user))
    with process([binary, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")], f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def rclone_serve(root: Path) -> Iterator[str]:
    (root / "data").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [rclone(), "serve", "webdav", str(root / "data"), "--addr", f"127.0.0.1:{port}", "--config", "/dev/null"]
    with process(command, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def ours(root: Path) -> Iterator[Server]:
    root.mkdir(parents=True, exist_ok=True)
    server = Server(root).start()
    try:
        yield server
    finally:
        server.stop()
