"""Notices outside the console: e-mail by SMTP and a signed webhook, behind one protocol.

A channel delivers one message or raises; when it is tried again is decided by `usecases.deliveries`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Protocol

from ark_extensions.settings import Mail, Settings

TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Message:
    """One notice for one person, in their language. ``address`` None: this person gave no e-mail address."""

    notice_id: int
    user: str
    address: str | None
    subject: str
    text: str
    kind: str
    at: datetime


class Undeliverable(Exception):
    """It did not arrive; try again later."""


class Channel(Protocol):
    name: str

    def deliver(self, message: Message) -> None:
        """Raises Undeliverable. A message without an address for this channel is dropped in silence."""
        ...


class SmtpChannel:
    """Mail through the operator's server; the password never leaves the secrets directory and this object."""

    name = "mail"

    def __init__(self, mail: Mail, password: str | None) -> None:
        self._mail, self._password = mail, password

    def deliver(self, message: Message) -> None:
        if message.address is None:
            return
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._mail.sender, message.address, message.subject
        mail["Message-ID"] = f"<notice-{message.notice_id}@{self._mail.sender.rpartition('@')[2] or 'ark'}>"
        mail.set_content(message.text)
        try:
            with smtplib.SMTP(self._mail.host, self._mail.port, timeout=TIMEOUT_SECONDS) as server:
                if self._mail.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self._mail.user is not None:
                    server.login(self._mail.user, self._password or "")
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as failed:
            raise Undeliverable(type(failed).__name__) from failed


class WebhookChannel:
    """A JSON document posted to one address, with ``Ark-Signature: sha256=…`` (HMAC of the body with the shared secret)."""

    name = "webhook"

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = url, secret.encode()

    def deliver(self, message: Message) -> None:
        shown = {"id": message.notice_id, "user": message.user, "kind": message.kind, "at": message.at.isoformat(), "text": message.text}
        body = json.dumps(shown, ensure_ascii=False).encode()
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "Ark-Signature": f"sha256={signature}"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                if answer.status >= 300:
                    raise Undeliverable(f"answered {answer.status}")
        except (OSError, urllib.error.URLError, ValueError) as failed:
            raise Undeliverable(type(failed).__name__) from failed


def configured(settings: Settings) -> list[Channel]:
    """The channels that the settings name."""
    found: list[Channel] = []
    if settings.mail is not None:
        found.append(SmtpChannel(settings.mail, settings.secret("smtp_password") if settings.mail.user else None))
    if settings.webhook_url is not None:
        found.append(WebhookChannel(settings.webhook_url, settings.secret("webhook_secret")))
    return found
