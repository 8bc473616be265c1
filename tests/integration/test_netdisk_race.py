"""The race: a user's own workspace swaps a folder for a link out of the tree, back and forth, while requests go through it.

The same harness runs over a server that checks with realpath and then opens, as most do: it must leak there, or the harness
proves nothing. Over ours nothing may come out and nothing may get in.
"""

from __future__ import annotations

import http.client
import http.server
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.netdisk_client import basic
from tests.netdisk_server import Server

SECRET, OWN = b"the neighbour's secret", b"the user's own file..."
SECONDS = 6.0
CLIENTS = 4


def swap(tree: str, victim: str) -> None:
    """For ever: ``folder`` is a folder, then a link to the victim's, then a folder again."""
    from ark_extensions.netdisk import kernel

    os.symlink(victim, f"{tree}/.link")
    fd = os.open(tree, os.O_RDONLY)
    while True:
        kernel.rename(fd, "folder", fd, ".link", kernel.RENAME_EXCHANGE)


@contextmanager
def swapping(tree: Path, victim: Path) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=swap, args=(str(tree), str(victim)), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join(10)


class CheckThenOpen(http.server.BaseHTTPRequestHandler):
    """What everybody writes first."""

    protocol_version = "HTTP/1.1"
    root = ""

    def _checked(self) -> str:
        wanted = os.path.join(self.root, self.path.lstrip("/"))
        real = os.path.realpath(wanted)
        return wanted if real.startswith(self.root + "/") else ""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        try:
            path = self._checked()
            self._answer(200, Path(path).read_bytes()) if path else self._answer(403)
        except OSError:
            self._answer(404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            path = self._checked()
            if path:
                Path(path).write_bytes(body)
            self._answer(201 if path else 403)
        except OSError:
            self._answer(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


def attack(port: int, prefix: str, headers: dict[str, str], ended: Callable[[], bool], seen: list[bytes], number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    turn = 0
    while not ended():
        turn += 1
        try:
            connection.request("GET", f"{prefix}/folder/file", headers=headers)
            answer = connection.getresponse()
            seen.append(answer.read() if answer.status == 200 else b"")
            connection.request("PUT", f"{prefix}/folder/put-{number}-{turn % 50}", body=b"put", headers=headers)
            connection.getresponse().read()
        except (http.client.HTTPException, OSError):
            connection.close()
    connection.close()


def race(tree: Path, victim: Path, port: int, prefix: str, headers: dict[str, str], enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Attack until time is up or ``enough``. → every body that a GET brought."""
    seen: list[bytes] = []
    until = time.monotonic() + SECONDS
    with swapping(tree, victim):

        def ended() -> bool:
            return time.monotonic() > until or enough(seen)

        threads = [threading.Thread(target=attack, args=(port, prefix, headers, ended, seen, n)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    return seen


def prepare(tree: Path, victim: Path) -> None:
    victim.mkdir()
    (victim / "file").write_bytes(SECRET)
    (tree / "folder").mkdir()
    (tree / "folder" / "file").write_bytes(OWN)


def test_the_harness_catches_a_server_that_leaks(tmp_path: Path) -> None:
    tree, victim = tmp_path / "tree", tmp_path / "victim"
    tree.mkdir()
    prepare(tree, victim)
    handler = type("Naive", (CheckThenOpen,), {"root": str(tree)})
    naive = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=naive.serve_forever, daemon=True).start()
    try:
        seen = race(tree, victim, naive.server_port, "", {}, lambda bodies: SECRET in bodies and len(os.listdir(victim)) > 1)
    finally:
        naive.shutdown()
        naive.server_close()
    assert SECRET in seen, "the control must leak on reading"
    assert len(os.listdir(victim)) > 1, "the control must leak on writing"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path).start()
    yield running
    running.stop()


def test_nothing_leaks_through_ours(server: Server, tmp_path: Path) -> None:
    tree, victim = server.data("alice"), tmp_path / "victim"
    prepare(tree, victim)
    headers = {"Authorization": basic("alice", "token-alice")}
    seen = race(tree, victim, server.port, "/services/netdisk/dav", headers, lambda bodies: False)
    assert seen.count(OWN) > 20 and seen.count(b"") > 20, "both sides of the swap were met"
    assert SECRET not in seen
    assert os.listdir(victim) == ["file"] and (victim / "file").read_bytes() == SECRET
