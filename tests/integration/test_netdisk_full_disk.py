"""A disk that fills up while files come in: the old file stays whole, nothing half-made is left, and the refusal is a sentence."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.netdisk_client import address, ask, basic, begin_tus, offset, patch
from tests.netdisk_server import Server

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    disk = tmp_path / "netdisk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    running = Server(tmp_path).start()
    try:
        yield running
    finally:
        running.stop()
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


def fill(server: Server) -> Path:
    filler = server.data() / "filler"
    fd = os.open(filler, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(fd, b"\0" * MIB)
    except OSError:
        return filler
    finally:
        os.close(fd)


def test_a_put_that_meets_a_full_disk_leaves_the_old_file(server: Server) -> None:
    old = os.urandom(MIB)
    assert ask(server, "PUT", "/dav/f", old).status == 201
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    who = basic(server.user, f"token-{server.user}")
    head = f"PUT /services/netdisk/dav/f HTTP/1.1\r\nHost: x\r\nAuthorization: {who}\r\nContent-Length: {60 * MIB}\r\n\r\n"
    connection.sendall(head.encode() + b"n" * (4 * MIB))
    filler = fill(server)
    try:
        connection.sendall(b"n" * (56 * MIB))
    except OSError:
        pass
    assert b" 507 " in connection.makefile("rb").readline()
    connection.close()
    assert (server.data() / "f").read_bytes() == old
    assert ask(server, "PUT", "/dav/g", b"x" * MIB).status == 507, "refused at once"
    filler.unlink()
    assert os.listdir(server.data().parent / ".staging") == []
    assert ask(server, "PUT", "/dav/g", b"x" * MIB).status == 201


def test_an_upload_in_parts_goes_on_when_there_is_room_again(server: Server) -> None:
    data = os.urandom(20 * MIB)
    where = address(begin_tus(server, "big", len(data)))
    assert patch(server, where, 0, data[:MIB]).status == 204
    filler = fill(server)
    assert patch(server, where, MIB, data[MIB:]).status == 507
    at = offset(server, where)
    assert MIB <= at < len(data)
    filler.unlink()
    assert patch(server, where, at, data[at:]).status == 204
    assert (server.data() / "big").read_bytes() == data
