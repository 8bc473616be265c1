"""What a workspace may lay into its tree to hurt the service or another file: device nodes, names that some systems take for one,
files of a tebibyte that hold nothing."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import stat
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.netdisk_client import ask, basic, fresh_user
from tests.netdisk_server import Server

MIB = 1024 * 1024
#: names that are one name where case or Unicode form does not count, each with content of its own
PAIRS = {
    "É.txt": b"one letter", "E\u0301.txt": b"a letter and a mark", "Readme": b"as a title", "README": b"in capitals",
    "ß": b"one", "ss": b"two", "K": b"the letter", "\u212a": b"the unit", "i": b"dotted", "ı": b"dotless",
    "file": b"plain", "file\u200b": b"with a space of no width", "name.": b"ends in a stop", "name": b"does not",
    "nul": b"a device elsewhere", "NUL": b"and in capitals",
}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("hostile")).start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    return fresh_user(running)


def node(place: Path, kind: int, major: int, minor: int) -> None:
    try:
        os.mknod(place, kind | 0o666, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("device nodes can only be made by root of the machine")


class Openings:
    """Which of some files were opened since, by anybody (inotify)."""

    IN_OPEN = 0x20

    def __init__(self, *places: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names = {libc.inotify_add_watch(self._fd, os.fsencode(place), self.IN_OPEN): place.name for place in places}

    def seen(self) -> set[str]:
        events = os.read(self._fd, 1 << 16)
        os.close(self._fd)
        return {self._names[watch] for watch, *_ in struct.iter_unpack("iIII", events)}


def test_devices_are_neither_opened_nor_sent_nor_written(server: Server) -> None:
    tree = server.data()
    (tree / "folder").mkdir()
    (tree / "folder" / "kept").write_bytes(b"kept")
    # /dev/zero never ends, and the others are nobody's
    for name, kind, major, minor in (("zero", stat.S_IFCHR, 1, 5), ("none", stat.S_IFCHR, 240, 77), ("disk", stat.S_IFBLK, 259, 9999)):
        node(tree / "folder" / name, kind, major, minor)
    os.mkfifo(tree / "folder" / "pipe")
    opened = Openings(tree / "folder" / "zero", tree / "folder" / "pipe", tree / "folder" / "kept")
    for name in ("zero", "none", "disk", "pipe"):
        for method, path in (
            ("GET", "/dav/"),
            ("HEAD", "/dav/"),
            ("GET", "/api/v1/files/"),
            ("GET", "/api/v1/preview/"),
            ("GET", "/api/v1/render/"),
        ):
            said = ask(server, method, f"{path}folder/{name}", headers={"Accept-Language": "en"})
            assert said.status == 403 and (method == "HEAD" or b"is not an ordinary file" in said.body), (name, method, path, said.body)
        there = {"Destination": f"http://127.0.0.1:{server.port}/services/netdisk/dav/copy-{name}"}
        assert ask(server, "COPY", f"/dav/folder/{name}", headers=there).status == 403
    listed = ask(server, "GET", "/api/v1/list?path=folder").body
    assert listed.count(b'"other"') == 4 and b'"kept"' in listed
    archive = zipfile.ZipFile(io.BytesIO(ask(server, "GET", "/api/v1/zip?path=folder&path=folder/zero").body))
    assert archive.namelist() == ["folder/kept"]
    whole = {"Destination": f"http://127.0.0.1:{server.port}/services/netdisk/dav/copy"}
    assert ask(server, "COPY", "/dav/folder", headers=whole).status == 201
    assert os.listdir(tree / "copy") == ["kept"]
    assert opened.seen() == {"kept"}, "to open a device may already do something"
    # what is put under the name of a device takes its place, and goes nowhere else
    assert ask(server, "PUT", "/dav/folder/none", b"x").status == 204
    assert (tree / "folder" / "none").read_bytes() == b"x" and (tree / "folder" / "none").is_file()
    assert ask(server, "DELETE", "/dav/folder/zero").status == 204


def test_names_that_look_alike_are_files_of_their_own_by_every_way(server: Server, tmp_path: Path) -> None:
    for name, content in PAIRS.items():
        assert ask(server, "PUT", f"/dav/{quote(name)}", content).status == 201, f"{name!r} took the place of another"
    assert {name: (server.data() / name).read_bytes() for name in os.listdir(server.data())} == PAIRS
    for name, content in PAIRS.items():
        assert ask(server, "GET", f"/dav/{quote(name)}").body == content
        assert ask(server, "GET", f"/api/v1/files/{quote(name)}").body == content
    (tmp_path / "all.zip").write_bytes(ask(server, "GET", "/api/v1/zip?path=").body)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.read(entry) for entry in archive.namelist()) == sorted(PAIRS.values())
    # one of a pair moves, is deleted and comes back, and the other does not notice
    moves = '{"items": ["README"], "to": "E\u0301", "on_conflict": "refuse"}'.encode()
    assert ask(server, "POST", "/api/v1/moves", moves, headers={"Content-Type": "application/json"}).status == 200
    assert ask(server, "DELETE", f"/dav/{quote('É.txt')}").status == 204
    assert (server.data() / "Readme").read_bytes() == PAIRS["Readme"] and (server.data() / "E\u0301").read_bytes() == PAIRS["README"]
    assert ask(server, "GET", f"/dav/{quote('É.txt')}").status == 404
    assert ask(server, "GET", "/dav/" + quote("E\u0301.txt")).body == PAIRS["E\u0301.txt"]


def resident(server: Server) -> int:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_a_tebibyte_of_nothing_costs_nothing(server: Server) -> None:
    """Sent as far as somebody reads it, never held in memory; measured and copied as the nothing that it takes."""
    (server.data() / "folder").mkdir()
    for name in ("folder/giant.txt", "folder/giant.ipynb", "folder/giant.png"):
        with open(server.data() / name, "wb") as giant:
            giant.truncate(1 << 40)
    assert ask(server, "GET", "/api/v1/preview/folder/giant.txt").status == 200
    assert ask(server, "GET", "/api/v1/render/folder/giant.ipynb").status == 409
    assert ask(server, "GET", "/api/v1/view/folder/giant.png").status == 409
    before = resident(server)
    for _ in range(4):  # more than the zips that one user may have at once: who goes away gives their place back
        for path in ("dav/folder/giant.txt", "api/v1/zip?path=folder"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                who = basic(server.user, f"token-{server.user}")
                connection.sendall(f"GET /services/netdisk/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\n\r\n".encode())
                came = b""
                while len(came) < 8 * MIB:
                    came += connection.recv(MIB)
                assert came.startswith(b"HTTP/1.1 200")
                assert ask(server, "GET", "/api/v1/usage").status == 200, "others are answered meanwhile"
    there = {"Destination": f"http://127.0.0.1:{server.port}/services/netdisk/dav/copy"}
    assert ask(server, "COPY", "/dav/folder", headers=there).status == 201
    for name in ("folder", "copy"):
        taken = subprocess.run(["du", "-s", "-B1", str(server.data() / name)], capture_output=True, text=True, check=True, timeout=60)
        assert int(taken.stdout.split()[0]) < MIB
    assert resident(server) - before < 32 * MIB
