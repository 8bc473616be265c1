"""An image registry of one image, for recording what a cluster says about pulls: ``python tiny_registry.py PORT`` in a node's network.

``/v2/small/…`` has an image, ``/v2/closed/…`` answers 401, anything else 404.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def blob(data: bytes) -> tuple[str, bytes]:
    return "sha256:" + hashlib.sha256(data).hexdigest(), data


def layer() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("filler")
        info.size = 3 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    return made.getvalue()


LAYER = layer()
PACKED = blob(gzip.compress(LAYER, mtime=0))
ROOT = {"type": "layers", "diff_ids": [blob(LAYER)[0]]}
CONFIG = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"]}, "rootfs": ROOT}).encode())
KIND = "application/vnd.docker.distribution.manifest.v2+json"
PARTS = [
    {"mediaType": kind, "digest": digest, "size": len(data)}
    for kind, (digest, data) in (
        ("application/vnd.docker.container.image.v1+json", CONFIG),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", PACKED),
    )
]
MANIFEST = blob(json.dumps({"schemaVersion": 2, "mediaType": KIND, "config": PARTS[0], "layers": [PARTS[1]]}).encode())


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/v2/":
            return self.answer(200, b"{}", "application/json")
        if self.path.startswith("/v2/closed/"):
            return self.answer(401, b"{}", "application/json")
        if self.path.startswith("/v2/small/manifests/"):
            return self.answer(200, MANIFEST[1], KIND, MANIFEST[0])
        for digest, data in (CONFIG, PACKED):
            if self.path.endswith(digest):
                return self.answer(200, data, "application/octet-stream", digest)
        self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', "application/json")

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, kind: str, digest: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
