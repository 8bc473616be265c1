"""Mail and webhook against real servers on the loopback: what arrives, and what happens when nothing does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from ark_extensions.billing.messages import write_message
from ark_extensions.billing.passes import deliver
from ark_extensions.notify import Message, SmtpChannel, Undeliverable, WebhookChannel
from ark_extensions.settings import Mail, Settings
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import users
from ark_extensions.usecases.deliveries import due_deliveries
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.users import set_mailed
from ark_extensions.usecases.views import Sentence
from tests.unit.purse_stage import T0, sqlite, stage

SECRET = "shared"


class _Smtp(StreamRequestHandler):
    """The few commands of a mail server that takes everything."""

    def handle(self) -> None:
        mails: list[str] = self.server.mails  # type: ignore[attr-defined]
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            self.server.said.append(line)  # type: ignore[attr-defined]
            if verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                lines = []
                while (text := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(text)
                mails.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def smtp() -> Iterator[ThreadingTCPServer]:
    server = ThreadingTCPServer(("127.0.0.1", 0), _Smtp)
    server.daemon_threads = True
    server.mails, server.said = [], []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.calls, server.status = [], 204  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = stage(sqlite(tmp_path))
    with storage.write() as connection:
        connection.execute(users.update().where(users.c.name == "alice").values(email="alice@example.org", language="zh"))
        for name in ("alice", "bob"):
            tell(connection, owner=name, at=T0, kind="unfreeze", message=Sentence("Your wallet is no longer frozen."))
    yield storage
    storage.close()


def webhook(hook: HTTPServer) -> WebhookChannel:
    return WebhookChannel(f"http://127.0.0.1:{hook.server_address[1]}/hook", SECRET)


def send(storage: Storage, channel: object, minutes: int = 0) -> str | None:
    write = write_message(Settings(language="en"))
    return asyncio.run(deliver(storage, [channel], write, now=T0 + timedelta(minutes=minutes)))  # type: ignore[list-item]


def test_mail_arrives_once_in_the_readers_language_and_only_where_there_is_an_address(storage: Storage, smtp: ThreadingTCPServer) -> None:
    channel = SmtpChannel(Mail(host="127.0.0.1", port=smtp.server_address[1], sender="ark@example.org", starttls=False), None)
    send(storage, channel)
    send(storage, channel, 5)
    [mail] = smtp.mails  # type: ignore[attr-defined]
    assert "To: alice@example.org" in mail and "From: ark@example.org" in mail


@pytest.mark.parametrize("user", [None, "ark"])
def test_neither_mail_nor_password_goes_in_the_clear_to_a_server_that_does_not_encrypt(user: str | None, smtp: ThreadingTCPServer) -> None:
    mail = Mail(host="127.0.0.1", port=smtp.server_address[1], sender="ark@example.org", user=user)
    with pytest.raises(Undeliverable):
        SmtpChannel(mail, "hunter2").deliver(Message(1, "alice", "alice@example.org", "subject", "text", "kind", T0))
    said = b"".join(smtp.said)  # type: ignore[attr-defined]
    assert said.upper().startswith(b"EHLO") and b"AUTH" not in said and b"MAIL" not in said and b"hunter2" not in said


def test_a_webhook_is_signed_and_called_once(storage: Storage, hook: HTTPServer) -> None:
    send(storage, webhook(hook))
    send(storage, webhook(hook), 5)
    calls = hook.calls  # type: ignore[attr-defined]
    assert [json.loads(body)["user"] for _, body in calls] == ["alice", "bob"]
    for headers, body in calls:
        assert headers["Ark-Signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert "no longer frozen" in json.loads(calls[1][1])["text"]


def test_what_did_not_arrive_is_tried_again_later_and_then_no_more(storage: Storage, hook: HTTPServer) -> None:
    hook.status = 500  # type: ignore[attr-defined]
    send(storage, webhook(hook))
    send(storage, webhook(hook))  # too soon
    assert len(hook.calls) == 2  # type: ignore[attr-defined]
    hook.status = 204  # type: ignore[attr-defined]
    assert send(storage, webhook(hook), 2) == "2 messages were sent."
    assert send(storage, webhook(hook), 600) is None


def test_a_server_that_is_not_there_is_undeliverable() -> None:
    message = Message(1, "u", "u@example.org", "s", "t", "k", T0)
    for channel in (WebhookChannel("http://127.0.0.1:9/x", SECRET), SmtpChannel(Mail(host="127.0.0.1", port=9, sender="a@b"), None)):
        with pytest.raises(Undeliverable):
            channel.deliver(message)


@pytest.mark.parametrize(("mailed", "severity", "arrives"), [
    ("all", "info", True), ("warnings", "info", False), ("warnings", "warning", True), ("none", "warning", False),
])  # fmt: skip
def test_a_reader_gets_by_mail_what_they_chose_and_what_was_not_wanted_does_not_come_later(
    storage: Storage, mailed: str, severity: str, arrives: bool
) -> None:
    send(storage, Kept())
    set_mailed(storage, user="alice", mailed=mailed)
    with storage.write() as connection:
        tell(connection, owner="alice", at=T0, kind="term_renewed", message=Sentence("x"), severity=severity)
    channel = Kept()
    send(storage, channel)
    set_mailed(storage, user="alice", mailed="all")
    send(storage, channel, 5)
    assert [message.address is not None for message in channel.kept] == [arrives]
    assert "term_renewed" in [due.kind for due in due_deliveries(storage, channel="webhook", now=T0)], "the operator's hook gets all"


class Kept:
    """A mail channel that keeps what it is given."""

    name = "mail"

    def __init__(self) -> None:
        self.kept: list[Message] = []

    def deliver(self, message: Message) -> None:
        self.kept.append(message)
