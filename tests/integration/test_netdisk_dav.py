"""WebDAV against the real service: litmus, strict headers, verified uploads, isolation, quota."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.netdisk_client import ask, basic, fresh_user
from tests.netdisk_server import Server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("netdisk"), ARK_NETDISK_LIMIT_GIB="1", ARK_NETDISK_MAX_FILES="1000").start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    return fresh_user(running)


def destination(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}/services/netdisk{path}"


@pytest.mark.skipif(shutil.which("litmus") is None, reason="litmus is not installed")
def test_litmus_passes_every_group(server: Server, tmp_path: Path) -> None:
    command = ["litmus", "-k", f"{server.url}/dav/", server.user, f"token-{server.user}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    summaries = dict(re.findall(r"<- summary for `(\w+)': of \d+ tests run: \d+ passed, (\d+) failed", done.stdout))
    assert summaries == dict.fromkeys(("basic", "copymove", "props", "locks", "http"), "0"), done.stdout[-4000:]


def test_who_may_come_in(server: Server) -> None:
    path = "/dav/"
    assert ask(server, "PROPFIND", path, headers={"Authorization": ""}).status == 401
    assert ask(server, "PROPFIND", path, headers={"Authorization": "Basic !!"}).status == 401
    assert ask(server, "PROPFIND", path, headers={"Authorization": "token invented"}).status == 401
    assert ask(server, "PROPFIND", path, headers={"Authorization": "token foreign-alice", "Depth": "0"}).status == 403
    assert ask(server, "PROPFIND", path, headers={"Authorization": f"Bearer token-{server.user}", "Depth": "0"}).status == 207
    other = ask(server, "PROPFIND", path, headers={"Authorization": "Basic YWxpY2U6dG9rZW4tYm9i", "Depth": "0"})  # alice:token-bob
    assert other.status == 401 and "Basic" in other["WWW-Authenticate"]


def test_a_file_goes_up_and_down_in_every_byte(server: Server) -> None:
    data = os.urandom(5 * MIB + 3)
    sent = ask(server, "PUT", "/dav/%E6%95%B0%E6%8D%AE.bin", data, headers={"X-OC-Mtime": "1600000000"})
    assert sent.status == 201 and sent["X-OC-Mtime"] == "accepted"
    place = server.data() / "数据.bin"
    assert place.read_bytes() == data and int(place.stat().st_mtime) == 1600000000
    back = ask(server, "GET", "/dav/%E6%95%B0%E6%8D%AE.bin")
    assert back.body == data and back["ETag"] == sent["ETag"]
    assert back["Content-Disposition"].startswith("attachment") and back["X-Content-Type-Options"] == "nosniff"
    part = ask(server, "GET", "/dav/%E6%95%B0%E6%8D%AE.bin", headers={"Range": "bytes=10-19"})
    assert (part.status, part.body, part["Content-Range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    big = ask(server, "GET", "/dav/%E6%95%B0%E6%8D%AE.bin", headers={"Range": f"bytes={MIB}-"})
    assert (big.status, big.body) == (206, data[MIB:])
    assert ask(server, "GET", "/dav/%E6%95%B0%E6%8D%AE.bin", headers={"Range": "bytes=99999999-"}).status == 416
    assert ask(server, "GET", "/dav/%E6%95%B0%E6%8D%AE.bin", headers={"If-None-Match": back["ETag"]}).status == 304
    head = ask(server, "HEAD", "/dav/%E6%95%B0%E6%8D%AE.bin")
    assert (head.status, head["Content-Length"], head.body) == (200, str(len(data)), b"")


def test_a_checksum_is_verified_before_the_file_appears(server: Server) -> None:
    data = b"hello"
    good = {"OC-Checksum": "SHA1:" + hashlib.sha1(data).hexdigest()}
    assert ask(server, "PUT", "/dav/a", data, headers=good).status == 201
    assert ask(server, "PUT", "/dav/a", b"hellO", headers=good).status == 400
    assert ask(server, "PUT", "/dav/a", data, headers={"OC-Checksum": "SHA1:zz"}).status == 400
    assert (server.data() / "a").read_bytes() == data
    assert os.listdir(server.data().parent / ".staging") == []


def test_missing_folders_are_409_and_folders_no_files(server: Server) -> None:
    assert ask(server, "PUT", "/dav/no/such/file", b"x").status == 409
    assert ask(server, "MKCOL", "/dav/no/such").status == 409
    assert ask(server, "MKCOL", "/dav/folder").status == 201
    assert ask(server, "MKCOL", "/dav/folder").status == 405
    assert ask(server, "PUT", "/dav/folder", b"x").status == 405
    assert ask(server, "GET", "/dav/folder").status == 405
    assert ask(server, "PUT", "/dav/folder/x", b"x", headers={"Content-Range": "bytes 0-0/2"}).status == 400


def test_two_clients_do_not_overwrite_each_other_unseen(server: Server) -> None:
    first = ask(server, "PUT", "/dav/a", b"one")
    assert ask(server, "PUT", "/dav/a", b"two", headers={"If-None-Match": "*"}).status == 412
    assert ask(server, "PUT", "/dav/a", b"two", headers={"If-Match": first["ETag"]}).status == 204
    assert ask(server, "PUT", "/dav/a", b"three", headers={"If-Match": first["ETag"]}).status == 412
    assert ask(server, "PUT", "/dav/a", b"four", headers={"If": f"([{first['ETag']}])"}).status == 412
    assert (server.data() / "a").read_bytes() == b"two"


BAD_PATHS = [
    "/dav/..", "/dav/../x", "/dav/%2e%2e/x", "/dav/%2E%2E/%2e%2e/etc/passwd", "/dav/a/..%2f..%2fx", "/dav/a%2fb", "/dav/%00",
    "/dav/x%00.txt",
    "/dav/a/%2e/b", "/dav/" + "x" * 256, "/dav/" + "/".join(["d"] * 200), "/dav/%0a", "/dav/a#b", "/dav/a?b",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("method", ["PUT", "MKCOL", "GET", "DELETE", "MOVE"])
def test_paths_that_name_nothing_in_the_tree(server: Server, path: str, method: str) -> None:
    headers = {"Destination": destination(server, "/dav/taken")} if method == "MOVE" else {}
    answer = ask(server, method, path, b"x" if method == "PUT" else None, headers=headers)
    assert 400 <= answer.status < 500, answer
    assert list(server.data().iterdir()) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Destination": "http://elsewhere.example/services/netdisk/dav/x"}, {"Destination": "/services/netdisk/dav/../x"},
        {"Destination": "/services/netdisk/davx"}, {"Destination": "/services/console/x"}, {"Destination": "x"}, {},
        {"Destination": "//127.0.0.1/services/netdisk/dav/x"}, {"Destination": "file:///services/netdisk/dav/x"},
        {"Destination": "/services/netdisk/dav/%2e%2e/x"}, {"Destination": "/services/netdisk/dav/x", "Overwrite": "maybe"},
        {"Destination": "/services/netdisk/dav/x", "Depth": "7"}, {"Destination": "/services/netdisk/dav/"},
        {"Destination": "/services/netdisk/dav/x", "If": "(<urn:uuid:1>"}, {"Destination": "/services/netdisk/dav/x", "If": "garbage"},
        {"Destination": "/services/netdisk/dav/no/such/folder"}, {"Destination": "/services/netdisk/dav/a/inside"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_headers_that_mean_nothing_certain_are_refused(server: Server, headers: dict[str, str], method: str) -> None:
    ask(server, "MKCOL", "/dav/a")
    answer = ask(server, method, "/dav/a", headers=headers)
    assert 400 <= answer.status < 503, answer
    assert os.listdir(server.data()) == ["a"]


def test_no_link_leads_out(server: Server, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "secret").write_text("secret")
    tree = server.data()
    (tree / "abs").symlink_to(victim)
    (tree / "rel").symlink_to(os.path.relpath(victim, tree))
    (tree / "file").symlink_to(victim / "secret")
    (tree / "proc").symlink_to("/proc/self/root")
    (tree / "loop").symlink_to("loop")
    for path in ("abs/secret", "rel/secret", "file", "proc/etc/passwd", "loop"):
        assert ask(server, "GET", f"/dav/{path}").status in (403, 404), path
    for path in ("abs/new", "rel/new", "proc/tmp/new"):
        assert ask(server, "PUT", f"/dav/{path}", b"x").status == 403, path
        assert ask(server, "MKCOL", f"/dav/{path}").status == 403, path
    assert ask(server, "MOVE", "/dav/abs/secret", headers={"Destination": destination(server, "/dav/mine")}).status == 403
    assert ask(server, "DELETE", "/dav/abs/secret").status == 403
    ask(server, "PUT", "/dav/x", b"x")
    assert ask(server, "MOVE", "/dav/x", headers={"Destination": destination(server, "/dav/abs/x")}).status == 403
    assert ask(server, "COPY", "/dav/x", headers={"Destination": destination(server, "/dav/file")}).status == 204, "the link is replaced"
    assert ask(server, "PUT", "/dav/rel", b"x").status in (204, 403, 405)
    assert ask(server, "DELETE", "/dav/abs").status == 204, "the link goes, not what it leads to"
    listing = ask(server, "PROPFIND", "/dav/", headers={"Depth": "1"}).body.decode()
    assert "secret" not in listing
    assert sorted(p.name for p in victim.iterdir()) == ["secret"] and (victim / "secret").read_text() == "secret"


def test_a_link_that_stays_inside_is_followed(server: Server) -> None:
    (server.data() / "real").mkdir()
    (server.data() / "real" / "f").write_text("here")
    (server.data() / "link").symlink_to("real")
    assert ask(server, "GET", "/dav/link/f").body == b"here"
    assert b"/dav/link/" in ask(server, "PROPFIND", "/dav/", headers={"Depth": "1"}).body


def test_pipes_sockets_and_holes_do_no_harm(server: Server) -> None:
    tree = server.data()
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(tree, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
        began = time.monotonic()
        assert ask(server, "GET", "/dav/pipe").status == 403
        assert ask(server, "GET", "/dav/sock").status == 403
        with open(tree / "hole", "wb") as hole:
            hole.truncate(1 << 40)
        ranged = ask(server, "GET", "/dav/hole", headers={"Range": "bytes=1000000000-1000000009"})
        assert (ranged.status, ranged.body) == (206, b"\0" * 10)
        assert ask(server, "COPY", "/dav/hole", headers={"Destination": destination(server, "/dav/hole2")}).status == 201
        assert (tree / "hole2").stat().st_size == 1 << 40 and (tree / "hole2").stat().st_blocks < 100
        ask(server, "MKCOL", "/dav/folder")
        os.mkfifo(tree / "folder" / "pipe")
        assert ask(server, "COPY", "/dav/folder", headers={"Destination": destination(server, "/dav/folder2")}).status == 201
        assert ask(server, "PROPFIND", "/dav/", headers={"Depth": "1"}).status == 207
        assert time.monotonic() - began < 50


def test_names_keep_their_bytes(server: Server) -> None:
    nfc, nfd = "/dav/%C3%A9", "/dav/e%CC%81"
    assert ask(server, "PUT", nfc, b"1").status == 201 and ask(server, "PUT", nfd, b"2").status == 201
    assert ask(server, "PUT", "/dav/A", b"3").status == 201 and ask(server, "PUT", "/dav/a", b"4").status == 201
    assert ask(server, "GET", nfc).body == b"1" and ask(server, "GET", "/dav/A").body == b"3"
    raw = os.fsencode(server.data()) + b"/\xff\xfe"
    with open(raw, "wb") as file:
        file.write(b"5")
    listing = ask(server, "PROPFIND", "/dav/", headers={"Depth": "1"}).body.decode()
    assert "/dav/%FF%FE" in listing and ask(server, "GET", "/dav/%FF%FE").body == b"5"


@pytest.mark.parametrize(
    "body",
    [
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><propfind xmlns="DAV:"><prop>&a;</prop></propfind>',
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><propfind xmlns="DAV:">&b;</propfind>',
        "<propfind", "<a/>", "x" * 300_000,
    ],
)  # fmt: skip
def test_xml_has_no_entities(server: Server, body: str) -> None:
    answer = ask(server, "PROPFIND", "/dav/", body, headers={"Depth": "0"})
    assert answer.status == 400 and b"root:" not in answer.body


def test_what_cannot_fit_is_refused_before_it_is_sent(server: Server) -> None:
    began = time.monotonic()
    refused = ask(server, "PUT", "/dav/huge", b"x" * 1000, headers={"Content-Length": str(2 * 1024 * MIB)})
    assert refused.status == 507 and b"left of" in refused.body and time.monotonic() - began < 30
    assert os.listdir(server.data()) == [] and os.listdir(server.data().parent / ".staging") == []


def test_inodes_are_limited_too(server: Server) -> None:
    (server.data() / "many").mkdir()
    assert ask(server, "PUT", "/dav/first", b"x").status == 201
    for number in range(995):
        assert ask(server, "MKCOL", f"/dav/many/{number}").status in (201, 507)
    statuses = {ask(server, "PUT", f"/dav/more{number}", b"x").status for number in range(10)}
    assert 507 in statuses


def test_what_a_program_deletes_can_be_restored(server: Server) -> None:
    ask(server, "MKCOL", "/dav/work")
    ask(server, "PUT", "/dav/work/notes", b"important")
    assert ask(server, "DELETE", "/dav/work/").status == 204
    assert ask(server, "DELETE", "/dav/work/").status == 404
    assert ask(server, "PROPFIND", "/dav/work", headers={"Depth": "0"}).status == 404
    [item] = json.loads(ask(server, "GET", "/api/v1/trash").body)["items"]
    assert (item["path"], item["kind"], item["files"]) == ("work", "folder", 2)
    assert ask(server, "POST", "/api/v1/trash/restore", json.dumps({"ids": [item["id"]]})).status == 200
    assert ask(server, "GET", "/dav/work/notes").body == b"important"


def test_deleting_and_overwriting_give_room_back(server: Server) -> None:
    def used() -> int:
        answer = ask(server, "PROPFIND", "/dav/", PROPFIND_QUOTA, headers={"Depth": "0"})
        match = re.search(rb"quota-used-bytes>(\d+)<", answer.body)
        assert match
        return int(match.group(1))

    data = os.urandom(4 * MIB)
    for _ in range(3):
        ask(server, "PUT", "/dav/a", data)
    assert 4 * MIB <= used() <= 4.2 * MIB
    ask(server, "COPY", "/dav/a", headers={"Destination": destination(server, "/dav/b")})
    assert 8 * MIB <= used() <= 8.4 * MIB
    ask(server, "DELETE", "/dav/a")
    ask(server, "DELETE", "/dav/b")
    assert used() >= 8 * MIB, "what lies in the trash counts"
    assert ask(server, "DELETE", "/api/v1/trash", "{}").status == 204
    deadline = time.monotonic() + 60
    while used() > 100_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)


PROPFIND_QUOTA = '<propfind xmlns="DAV:"><prop><quota-used-bytes/><quota-available-bytes/></prop></propfind>'


def test_killed_in_the_middle_of_a_put_the_old_file_is_whole(server: Server) -> None:
    old = os.urandom(MIB)
    ask(server, "PUT", "/dav/f", old)
    for sent in (1, 70_000, MIB, 3 * MIB):
        connection = socket.create_connection(("127.0.0.1", server.port))
        who = basic(server.user, f"token-{server.user}")
        head = f"PUT /services/netdisk/dav/f HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\nContent-Length: {4 * MIB}\r\n\r\n"
        connection.sendall(head.encode() + b"n" * sent)
        server.kill()
        connection.close()
        assert (server.data() / "f").read_bytes() == old
        server.start()
        assert ask(server, "GET", "/dav/f").body == old
    deadline = time.monotonic() + 60
    while os.listdir(server.data().parent / ".staging"):
        assert time.monotonic() < deadline, "what a killed service left behind is cleared"
        time.sleep(0.05)


def test_a_client_that_goes_away_leaves_nothing(server: Server) -> None:
    ask(server, "GET", "/dav/")
    connection = socket.create_connection(("127.0.0.1", server.port))
    who = basic(server.user, f"token-{server.user}")
    head = f"PUT /services/netdisk/dav/f HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\nContent-Length: {4 * MIB}\r\n\r\n"
    connection.sendall(head.encode() + b"n" * MIB)
    connection.close()
    deadline = time.monotonic() + 60
    while os.listdir(server.data().parent / ".staging"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert os.listdir(server.data()) == []


def test_two_writers_of_one_path_one_of_them_wins_whole(server: Server) -> None:
    contents = [bytes([number]) * (2 * MIB) for number in range(6)]
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda c=c: statuses.append(ask(server, "PUT", "/dav/f", c).status)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(statuses) <= {201, 204} and len(statuses) == 6
    assert (server.data() / "f").read_bytes() in contents
    assert os.listdir(server.data().parent / ".staging") == []
