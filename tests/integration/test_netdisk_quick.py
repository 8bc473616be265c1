"""The short way of small requests answers as the long one does: each is asked both ways, and must not differ by a word."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ark_extensions.netdisk import quick
from ark_extensions.netdisk.app import listen, make_app
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.volumes.local_dir import LocalDirVolumes
from tests.integration.netdisk_client import Answer, ask, basic, fresh_user
from tests.netdisk_server import Server, StandInHub, make_database
from tests.ports import free_port

#: an unknown header sends a request to the full handlers
LONG_WAY = {"X-Unknown": "1"}
FIND = '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop>{}</d:prop></d:propfind>'
ALL = FIND.format("<d:displayname/><d:getlastmodified/><d:getcontentlength/><d:resourcetype/><oc:checksums/><d:quota-used-bytes/>")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("quick")).start()
    yield server
    server.stop()


@pytest.fixture
def server(one: Server) -> Server:
    fresh_user(one)
    ask(one, "OPTIONS", "/dav/")  # the token is known and the desk is open: from now on the short way is taken
    return one


#: what two files that are otherwise the same may differ in; an empty answer has no type
OWN = re.compile(rb"<D:(getlastmodified|creationdate|getetag|quota-used-bytes)>[^<]*<")
APART = ("date", "etag", "oc-etag", "content-length", "content-type")


def facts(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, {k.lower(): v for k, v in answer.headers.items() if k.lower() not in APART}, OWN.sub(b"", answer.body)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("MKCOL", "/dav/folder/", None, {}),
        ("MKCOL", "/dav/file.txt", None, {}),
        ("MKCOL", "/dav/missing/below", None, {}),
        ("MKCOL", "/dav/inside", None, {}),
        ("MKCOL", "/dav/outside", None, {}),
        ("MKCOL", "/dav/folder/", "a body", {}),
        ("MKCOL", "/dav/%2e%2e", None, {}),
        ("MKCOL", "/dav/a%2fb", None, {}),
        ("PROPFIND", "/dav/file.txt", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/folder/", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/inside/", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/outside", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/missing", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/pipe", ALL, {"Depth": "0"}),
        ("PROPFIND", "/dav/file.txt", None, {"Depth": "0"}),
        ("PROPFIND", "/dav/file.txt", "<a><b></a>", {"Depth": "0"}),
        ("PROPFIND", "/dav/file.txt", '<!DOCTYPE x><propfind xmlns="DAV:"><prop/></propfind>', {"Depth": "0"}),
        ("PROPFIND", "/dav/folder", ALL, {"Depth": "1"}),
        ("PROPFIND", "/dav/folder", ALL, {"Depth": "7"}),
        ("PUT", "/dav/folder", b"x", {}),
        ("PUT", "/dav/missing/f", b"x", {}),
        ("PUT", "/dav/new.txt", b"x" * 1000, {}),
        ("PUT", "/dav/empty", b"", {}),
        ("PUT", "/dav/file.txt", b"other", {"X-OC-Mtime": "1600000000"}),
        ("PUT", "/dav/sum", b"abc", {"OC-Checksum": "SHA1:" + hashlib.sha1(b"abc").hexdigest()}),
        ("PUT", "/dav/sum", b"abc", {"OC-Checksum": "SHA1:" + hashlib.sha1(b"abd").hexdigest()}),
        ("PUT", "/dav/sum", b"abc", {"OC-Checksum": "SHA1:xyz"}),
        ("PUT", "/dav/time", b"abc", {"X-OC-Mtime": "yesterday"}),
        ("PUT", "/dav/control%0aname", b"x", {}),
        ("PUT", "/dav/inside/new", b"x", {}),
        ("PUT", "/dav/outside/new", b"x", {}),
        ("PUT", "/dav/%ff%fe", b"x", {}),
        ("PUT", "/dav/" + "n" * 300, b"x", {}),
    ],
)
def test_both_ways_say_and_do_the_same(
    server: Server, tmp_path: Path, method: str, path: str, body: str | bytes, headers: dict[str, str]
) -> None:
    said, left = [], []
    for extra in ({}, LONG_WAY):
        user = fresh_user(server).user
        ask(server, "OPTIONS", "/dav/")
        data = server.data(user)
        (data / "folder").mkdir()
        (data / "file.txt").write_bytes(b"content")
        (data / "inside").symlink_to("folder")
        (data / "outside").symlink_to(tmp_path)
        (data / "pipe").touch()
        said.append(facts(ask(server, method, path, body, headers={**headers, **extra})))
        left.append(
            sorted((str(p.relative_to(data)).encode(errors="surrogateescape"), p.is_file() and p.read_bytes()) for p in data.rglob("*"))
        )
    assert said[0] == said[1]
    assert left[0] == left[1]
    assert not list(tmp_path.iterdir()), "something left the tree"


def raw(server: Server, *pieces: bytes, ends: bool = False) -> bytes:
    """All that comes back on one connection on which ``pieces`` were sent; with ``ends`` the client says no more after them."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        came = b""
        while part := connection.recv(65536):
            came += part
    return came


def request(server: Server, method: str, path: str, *more: str, body: bytes = b"", end: str = "\r\n") -> bytes:
    lines = [f"{method} /services/netdisk/dav/{path} HTTP/1.1", "Host: x", f"Authorization: {basic(server.user, 'token-' + server.user)}"]
    return end.join([*lines, *more, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def test_both_ways_share_a_connection_and_no_byte_is_lost(server: Server) -> None:
    """Plain and other requests in one go, heads and bodies cut anywhere: each is answered in its turn."""
    asked = [
        request(server, "PUT", "a", body=b"1" * 1000), request(server, "GET", "a"),
        request(server, "PUT", "b", "X-Unknown: 1", body=b"22"), request(server, "PUT", "c", body=b"333"),
        request(server, "MKCOL", "d"), request(server, "MKCOL", "d"), request(server, "PUT", "e", "Connection: close", body=b"5"),
    ]  # fmt: skip
    stream = b"".join(asked)
    for cut in (len(stream), 1, 7, 333):
        for name in ("a", "b", "c", "e"):
            (server.data() / name).unlink(missing_ok=True)
        (server.data() / "d").rmdir() if (server.data() / "d").exists() else None
        came = raw(server, *(stream[at : at + cut] for at in range(0, len(stream), cut)))
        assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"201", b"200", b"201", b"201", b"201", b"405", b"201"], cut
        assert [(server.data() / name).read_bytes() for name in "abce"] == [b"1" * 1000, b"22", b"333", b"5"]


@pytest.mark.parametrize(
    "doubtful",
    [
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 3"],
        ["Content-Length: 1, 1"],
        ["Content-Length : 1"],
        ["Host: y"],
        ["X-OC-Mtime: 1\x0b2"],
        ["User-Agent: a", " folded: b"],
        ["Expect: 100-continue"],
        ["Content-Range: bytes 0-1/2"],
        ['If-Match: "no"'],
        ["User-Agent: caf\xe9", 'If-Match: "no"'],
    ],
)
def test_a_head_that_two_readers_could_read_in_two_ways_is_read_by_one(server: Server, doubtful: list[str]) -> None:
    """What hides in the body of such a request is never taken for a request of its own."""
    hidden = request(server, "PUT", "smuggled", body=b"!")
    came = raw(server, request(server, "PUT", "f", *doubtful, body=hidden), ends=True)
    assert not (server.data() / "smuggled").exists(), came
    assert not (server.data() / "f").exists() or (server.data() / "f").read_bytes() == hidden


def test_other_line_ends_are_no_plain_requests(server: Server) -> None:
    came = raw(server, request(server, "PUT", "bare", "Connection: close", body=b"x", end="\n"))
    assert came.startswith((b"HTTP/1.1 201", b"HTTP/1.1 400"))


def test_a_lock_stands_in_the_way_of_the_short_way_too(server: Server) -> None:
    ask(server, "PUT", "/dav/locked", b"old")
    info = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
    assert ask(server, "LOCK", "/dav/locked", info).status == 200
    assert ask(server, "PUT", "/dav/locked", b"new").status == 423
    assert (server.data() / "locked").read_bytes() == b"old"


def test_a_revoked_or_foreign_token_goes_no_short_way(server: Server) -> None:
    other = {"Authorization": "token token-" + server.user}
    assert ask(server, "PUT", "/dav/f", b"x", headers=other).status == 201
    for wrong in ("token foreign-" + server.user, "token nothing", "Basic Og==", "", "token token-" + server.user + ", token token-bob"):
        assert ask(server, "PUT", "/dav/f", b"y", headers={"Authorization": wrong}).status in (401, 403)
    assert (server.data() / "f").read_bytes() == b"x"


def test_what_the_short_way_was_promised_is_given_back(server: Server) -> None:
    """A client that breaks off in the middle of a small body leaves no file and no promise."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"PUT /services/netdisk/dav/half HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(server.user, 'token-' + server.user)}\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
    usage = ask(server, "GET", "/api/v1/usage")
    assert b'"reserved_bytes": 0' in usage.body
    assert not (server.data() / "half").exists()


def test_who_says_no_more_is_answered_all_that_was_asked(server: Server) -> None:
    asked = [request(server, "PUT", "a", body=b"1"), request(server, "MKCOL", "d"), *[request(server, "MKCOL", "d")] * 3]
    asked += [request(server, "GET", "a"), request(server, "PUT", "b", body=b"2"), request(server, "PUT", "c", body=b"333")[:-1]]
    came = raw(server, b"".join(asked), ends=True)
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"201", b"201", b"405", b"405", b"405", b"200", b"201"]
    assert not (server.data() / "c").exists(), "a file that did not come as a whole"


def test_a_client_that_asks_much_and_reads_late_gets_every_answer_in_its_order(server: Server) -> None:
    (server.data() / "d").mkdir()
    ways = [request(server, "MKCOL", "d"), request(server, "PROPFIND", "d", "Depth: 0", body=ALL.encode().ljust(2000))]
    count = 8000
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        sender = threading.Thread(target=lambda: connection.sendall(b"".join(ways) * count))
        sender.start()
        sender.join(1)
        assert sender.is_alive(), "the service waits for its client, instead of keeping what it is asked"
        assert ask(server, "MKCOL", "/dav/d").status == 405, "and answers others meanwhile"
        sender_ends = threading.Thread(target=lambda: (sender.join(), connection.shutdown(socket.SHUT_WR)))
        sender_ends.start()
        came = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        sender_ends.join()
    assert re.findall(rb"(?m)^HTTP/1.1 (\d+)", came) == [b"405", b"207"] * count


@pytest.mark.parametrize("sent", ["nothing", "half a head", "half a body", "a request before"])
async def test_who_says_nothing_for_long_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    monkeypatch.setattr(quick, "STALL_SECONDS", 0.2)
    settings = Settings(state_dir=tmp_path)
    make_database(settings.resolved_database_url)
    storage = Storage(settings.resolved_database_url)
    app = make_app(settings, storage, LocalDirVolumes(tmp_path), StandInHub())
    monkeypatch.setattr("ark_extensions.netdisk.app.IDLE_SECONDS", 0.5)
    port = free_port()
    service = listen(app, port)
    try:
        await app.settings["tokens"].owner_of("token-alice")
        desk = await app.settings["office"].desk("alice")
        head = b"PUT /services/netdisk/dav/f HTTP/1.1\r\nHost: x\r\nAuthorization: token token-alice\r\nContent-Length: 5\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write({"nothing": b"", "half a head": head[:20], "half a body": head + b"ab", "a request before": head + b"abcde"}[sent])
        came = await asyncio.wait_for(reader.read(), 20)
        assert came.startswith(b"HTTP/1.1 201" if sent == "a request before" else b"") and (bool(came) == (sent == "a request before"))
        assert desk.reserved.bytes == 0
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # who is there when the service ends
        await asyncio.wait_for(service.close_all_connections(), 10)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    finally:
        service.stop()
        app.settings["office"].close()
        storage.close()
