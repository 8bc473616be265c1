"""The web server's bound on bodies, on real sockets: what is too long or too slow is refused, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from ark_extensions.web import bodies
from ark_extensions.web.bodies import BoundedServer

KEPT: list[int] = []


class Echo(RequestHandler):
    def post(self) -> None:
        KEPT.append(len(self.request.body))
        self.finish(str(len(self.request.body)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bodies, "BODY_MAX", 1000)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(bodies, "DRAIN_SECONDS", 0.3)
    KEPT.clear()
    yield


@pytest.fixture
async def port() -> AsyncIterator[int]:
    socket, port = bind_unused_port()
    server = BoundedServer(Application([("/.*", Echo)]), idle_connection_timeout=0.3)
    server.add_socket(socket)
    yield port
    server.stop()
    await server.close_all_connections()


async def say(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that is answered until the server ends the connection, or has been silent for half a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        said = b""
        while chunk := await asyncio.wait_for(reader.read(65536), 0.5):
            said += chunk
        return said
    except TimeoutError:
        return said
    except ConnectionError:
        return b"cut"
    finally:
        writer.close()


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /x HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def test_a_body_within_the_bound_arrives(port: int) -> None:
    assert (await say(port, head("Content-Length: 1000"), b"x" * 1000)).endswith(b"1000")
    assert (await say(port, head("Transfer-Encoding: chunked"), b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n")).endswith(b"1000")


@pytest.mark.parametrize("length", [1001, 10**9, 10**40])
async def test_a_longer_one_is_refused_before_it_comes(port: int, length: int) -> None:
    said = await say(port, head(f"Content-Length: {length}"))
    assert said.startswith(b"HTTP/1.1 413 ") and KEPT == []
    error = json.loads(said.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "too_large" and error["message"].endswith(".")


async def test_who_sends_on_still_hears_the_answer_and_the_connection_ends(port: int) -> None:
    said = await say(port, head("Content-Length: 500000"), b"x" * 500_000, head("Content-Length: 3"), b"abc")
    assert said.startswith(b"HTTP/1.1 413 ") and said.count(b"HTTP/1.1") == 1 and b"Connection: close" in said and KEPT == []


async def test_chunks_are_counted(port: int) -> None:
    chunk = b"2bc\r\n" + b"x" * 700 + b"\r\n"
    said = await say(port, head("Transfer-Encoding: chunked"), chunk, chunk, chunk, b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ") and said.count(b"HTTP/1.1") == 1 and KEPT == []


async def test_a_refused_sender_is_not_asked_to_go_on(port: int) -> None:
    said = await say(port, head("Content-Length: 5000", "Expect: 100-continue"))
    assert said.startswith(b"HTTP/1.1 413 ") and b"100" not in said.split(b"\r\n")[0] and said.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("first", [head("Content-Length: 900") + b"x", head("Content-Length: 9000") + b"x", b"POST /x HTTP/1.1\r\nHost: "])
async def test_who_says_no_more_is_let_go(port: int, first: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    await asyncio.wait_for(reader.read(), 20)  # to the end of the connection
    writer.close()
    assert KEPT == []


async def test_the_hub_makes_such_a_server() -> None:
    from hub_config.base import configure_listener

    configure_listener()
    try:
        assert isinstance(HTTPServer(Application(), xheaders=True), BoundedServer)
    finally:
        HTTPServer.configure(None)
