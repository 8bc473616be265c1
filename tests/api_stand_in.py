"""A small Kubernetes API for tests of the adapters: objects in memory, lists in pages, and failures where it is told to fail.

It serves pods, claims and nodes over real HTTP: list with label selectors and cursors, get, create, merge-patch, delete with
a uid. ``fail(n, …)`` makes the next n calls that match answer something else.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = re.compile(r"(?:/api/v1|/apis/[a-z0-9.]+/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?")


@dataclass
class Failure:
    """``act`` writes an answer, or breaks the connection by returning without one."""

    left: int
    method: str
    part: str
    act: Callable[[BaseHTTPRequestHandler], None]


@dataclass
class StandIn:
    url: str = ""
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    page: int = 2

    def add(self, kind: str, name: str, *, namespace: str = "ark", labels: dict[str, str] | None = None, **content: Any) -> dict[str, Any]:
        metadata = {"name": name, "labels": labels or {}, "uid": uuid.uuid4().hex}
        if kind != "nodes":
            metadata["namespace"] = namespace
        made = self.objects["" if kind == "nodes" else namespace, kind, name] = {"metadata": metadata, **content}
        return made

    def names(self, kind: str) -> list[str]:
        return sorted(name for _, of, name in self.objects if of == kind)

    def fail(self, times: int, method: str, part: str, status: int, **headers: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            send(handler, status, {"kind": "Status", "message": f"told to answer {status}"}, headers)

        self.failures.append(Failure(times, method, part, answer))

    def drop(self, times: int, method: str, part: str) -> None:
        """The connection ends without an answer."""
        self.failures.append(Failure(times, method, part, lambda handler: None))


def send(handler: BaseHTTPRequestHandler, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
    body = json.dumps(document).encode()
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            answer(self, state)

        do_GET = do_POST = do_PATCH = do_DELETE = do

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, state: StandIn) -> None:
    length = int(handler.headers.get("Content-Length") or 0)
    body = json.loads(handler.rfile.read(length)) if length else {}
    method, address = handler.command, urlsplit(handler.path)
    state.calls.append((method, handler.path, body))
    for failure in state.failures:
        if failure.left and failure.method == method and failure.part in handler.path:
            failure.left -= 1
            return failure.act(handler)
    found = PATH.fullmatch(address.path)
    assert found is not None, address.path
    kind, name = found["kind"], found["name"]
    if name is None and method == "GET":
        return send(handler, 200, listed(state, found["namespace"], kind, {k: v[0] for k, v in parse_qs(address.query).items()}))
    key = (found["namespace"] or "", kind, name or "")
    if key not in state.objects:
        return send(handler, 404, {"message": "not found"})
    one = state.objects[key]
    if method == "PATCH":
        merge(one, body)
    elif method == "DELETE":
        if body.get("preconditions", {}).get("uid", one["metadata"]["uid"]) != one["metadata"]["uid"]:
            return send(handler, 409, {"message": "the uid differs"})
        del state.objects[key]
    send(handler, 200, one)


def listed(state: StandIn, namespace: str | None, kind: str, query: dict[str, str]) -> dict[str, Any]:
    wanted = [term.partition("=") for term in query.get("labelSelector", "").split(",") if term]
    found = []
    for (space, of, _), one in sorted(state.objects.items()):
        labels = one["metadata"]["labels"]
        if of == kind and namespace in (None, space) and all(k in labels and (not eq or labels[k] == v) for k, eq, v in wanted):
            found.append(one)
    start = int(query.get("continue", 0))
    metadata = {"continue": str(start + state.page)} if start + state.page < len(found) else {}
    return {"items": found[start : start + state.page], "metadata": metadata}


def merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    """RFC 7386."""
    for name, value in change.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = value
