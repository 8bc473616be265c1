"""tus against the real service: what was acknowledged survives kill -9 at any byte, and nothing half-made is ever seen."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.netdisk_client import TUS, address, ask, basic, begin_tus, fresh_user, metadata, offset, patch
from tests.netdisk_server import Server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("netdisk")).start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    return fresh_user(running)


def staged(server: Server) -> list[str]:
    return os.listdir(server.data().parent / ".staging")


def until(condition, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be so"
        time.sleep(0.01)


def test_parts_make_a_file_that_appears_whole(server: Server) -> None:
    data = os.urandom(3 * MIB + 17)
    created = begin_tus(server, "models/deep/weights.bin", len(data), last_modified="1700000000123")
    assert created.status == 201 and "Upload-Expires" in created.headers
    where = address(created)
    first = patch(server, where, 0, data[:MIB])
    assert (first.status, first["Upload-Offset"]) == (204, str(MIB))
    place = server.data() / "models/deep/weights.bin"
    assert not place.exists(), "an unfinished file must not be seen"
    last = patch(server, where, MIB, data[MIB:])
    assert last.status == 204 and last["Ark-Path"] == "models/deep/weights.bin"
    assert place.read_bytes() == data and int(place.stat().st_mtime) == 1700000000
    assert staged(server) == []
    again = patch(server, where, len(data), b"")
    assert (again.status, again["Upload-Offset"]) == (204, str(len(data))), "the client may not have heard"
    assert offset(server, where) == len(data)


def test_a_wrong_offset_is_refused_and_nothing_written(server: Server) -> None:
    where = address(begin_tus(server, "a", 100))
    assert patch(server, where, 10, b"x" * 10).status == 409
    assert offset(server, where) == 0
    assert patch(server, where, 0, b"x" * 101).status == 400


def test_checksums_of_parts_and_of_the_whole(server: Server) -> None:
    data = os.urandom(1000)
    where = address(begin_tus(server, "a", 1000))
    wrong = "sha1 " + base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    right = "sha1 " + base64.b64encode(hashlib.sha1(data[:500]).digest()).decode()
    assert patch(server, where, 0, data[:500], **{"Upload-Checksum": wrong}).status == 460
    assert offset(server, where) == 0
    assert patch(server, where, 0, data[:500], **{"Upload-Checksum": right}).status == 204
    assert patch(server, where, 500, data[500:], **{"Upload-Checksum": "crc zz"}).status == 400
    whole = begin_tus(server, "b", 1000, checksum="sha256:" + hashlib.sha256(b"not this").hexdigest())
    assert patch(server, address(whole), 0, data).status == 460
    assert not (server.data() / "b").exists()


def test_conflicts_are_the_users_choice(server: Server) -> None:
    (server.data() / "a.txt").write_text("old")
    assert begin_tus(server, "a.txt", 3).status == 409, "refused before a byte is sent"
    both = begin_tus(server, "a.txt", 3, on_conflict="keep_both")
    assert patch(server, address(both), 0, b"new")["Ark-Path"] == "a%20(2).txt"
    replaced = begin_tus(server, "a.txt", 3, on_conflict="replace")
    assert patch(server, address(replaced), 0, b"yes").status == 204
    assert (server.data() / "a.txt").read_text() == "yes" and (server.data() / "a (2).txt").read_text() == "new"


def test_an_upload_is_its_owners_only(server: Server) -> None:
    where = address(begin_tus(server, "a", 10))
    assert ask(server, "HEAD", where, user="mallory", headers=TUS).status == 404
    assert patch(server, where, 0, b"x" * 10, user="mallory").status == 404
    assert ask(server, "DELETE", where, user="mallory", headers=TUS).status == 404
    assert ask(server, "DELETE", where, headers=TUS).status == 204
    assert ask(server, "HEAD", where, headers=TUS).status == 404 and staged(server) == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/../x", "..", "a/./b", "\x00", "x" * 300, "a\nb", "\u0007"])
def test_metadata_name_nothing_outside(server: Server, path: str) -> None:
    assert begin_tus(server, path, 3).status == 400
    assert [p.name for p in server.data().iterdir()] == []


def test_a_link_out_of_the_tree_is_not_followed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (server.data() / "out").symlink_to(tmp_path / "victim")
    created = begin_tus(server, "out/x", 3)
    assert created.status in (201, 403)
    if created.status == 201:
        assert patch(server, address(created), 0, b"abc").status == 403
    assert list((tmp_path / "victim").iterdir()) == []


def raw_patch(server: Server, where: str, at: int, length: int) -> socket.socket:
    """A PATCH whose body is sent by hand."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = (
        f"PATCH /services/netdisk{where} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: {basic(server.user, 'token-' + server.user)}\r\n"
        f"Upload-Offset: {at}\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def test_killed_at_any_byte_the_upload_goes_on(server: Server) -> None:
    rng = random.Random(20261123)
    data = rng.randbytes(4 * MIB)
    where = address(begin_tus(server, "big", len(data)))
    at = kills = 0
    while kills < 6:
        part = rng.randrange(1, 2 * MIB)
        connection = raw_patch(server, where, at, len(data) - at)
        connection.sendall(data[at : at + part])
        server.kill()
        connection.close()
        kills += 1
        server.start()
        known = offset(server, where)
        assert at <= known <= min(at + part, len(data)), "never behind what was acknowledged, never ahead of what was sent"
        at = known
        acknowledged = patch(server, where, at, data[at : at + 1000])
        at = int(acknowledged["Upload-Offset"]) if acknowledged.status == 204 else at
        if at == len(data):
            break
    if at < len(data):
        assert patch(server, where, at, data[at:]).status == 204
    assert (server.data() / "big").read_bytes() == data
    assert staged(server) == []


def test_all_bytes_there_but_killed_before_the_rename(server: Server) -> None:
    data = os.urandom(MIB)
    where = address(begin_tus(server, "late", len(data)))
    patch(server, where, 0, data[: MIB // 2])
    server.kill()
    (server.data().parent / ".staging" / where.rpartition("/")[2]).write_bytes(data)
    server.start()
    assert offset(server, where) == len(data)
    assert (server.data() / "late").read_bytes() == data


def test_a_client_that_comes_back_takes_over_a_hanging_connection(server: Server) -> None:
    data = os.urandom(2 * MIB)
    where = address(begin_tus(server, "x", len(data)))
    hanging = raw_patch(server, where, 0, len(data))
    hanging.sendall(data[:MIB])
    until(lambda: offset(server, where) > 0)
    deadline = time.monotonic() + 60
    while True:
        answer = patch(server, where, (at := offset(server, where)), data[at:])
        if answer.status == 204:
            break
        assert answer.status in (409, 423) and time.monotonic() < deadline
    hanging.close()
    assert (server.data() / "x").read_bytes() == data


def test_an_empty_file_and_creation_with_the_first_bytes(server: Server) -> None:
    assert begin_tus(server, "empty", 0).status == 201
    assert (server.data() / "empty").read_bytes() == b""
    headers = {**TUS, "Upload-Length": "5", "Upload-Metadata": metadata(path="five"), "Content-Type": "application/offset+octet-stream"}
    created = ask(server, "POST", "/tus/", b"hello", headers=headers)
    assert (created.status, created["Upload-Offset"]) == (201, "5")
    assert (server.data() / "five").read_bytes() == b"hello"


def test_unfinished_uploads_expire_and_free_their_room(tmp_path: Path) -> None:
    server = Server(tmp_path, ARK_NETDISK_LIMIT_GIB="1").start()
    try:
        gib = 1024 * MIB
        where = address(begin_tus(server, "half", gib * 6 // 10))
        refused = begin_tus(server, "other", gib * 6 // 10)
        assert refused.status == 507 and b"netdisk_full" in refused.body, "room is promised to the unfinished one"
        assert ask(server, "DELETE", where, headers=TUS).status == 204
        assert begin_tus(server, "other", gib * 6 // 10).status == 201
    finally:
        server.stop()
