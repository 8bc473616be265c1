"""A plain HTTP client for the netdisk's tests: one request, one answer, headers as they are."""

from __future__ import annotations

import base64
import http.client
import itertools
from dataclasses import dataclass
from typing import Any

from tests.netdisk_server import Server

_numbers = itertools.count()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str:
        value = self.headers[name]
        assert value is not None, f"no {name} in {dict(self.headers)}"
        return value


def basic(user: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def ask(
    server: Server, method: str, path: str, body: Any = None, *, user: str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """``path`` below ``/services/netdisk``, sent as it is."""
    user = user or server.user
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest(method, "/services/netdisk" + path, skip_accept_encoding=True)
        all_headers = {"Authorization": basic(user, f"token-{user}"), **(headers or {})}
        data = body.encode() if isinstance(body, str) else body
        if data is not None:
            all_headers.setdefault("Content-Length", str(len(data)))
        for name, value in all_headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        if data:
            try:
                connection.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused early: the answer is there to be read
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def fresh_user(server: Server) -> Server:
    """The server, asked as somebody who has nothing yet; started anew if a test killed it."""
    server.user = f"u{next(_numbers)}"
    if server.process is None or server.process.poll() is not None:
        server.start()
    return server


TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def begin_tus(server: Server, path: str, length: int, *, user: str | None = None, **said: str) -> Answer:
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata(path=path, **said)}
    return ask(server, "POST", "/tus/", user=user, headers=headers)


def address(created: Answer) -> str:
    return created["Location"].removeprefix("/services/netdisk")


def patch(server: Server, where: str, offset: int, data: bytes, *, user: str | None = None, **headers: str) -> Answer:
    all_headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream", **headers}
    return ask(server, "PATCH", where, data, user=user, headers=all_headers)


def offset(server: Server, where: str, *, user: str | None = None) -> int:
    return int(ask(server, "HEAD", where, user=user, headers=TUS)["Upload-Offset"])
