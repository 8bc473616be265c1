"""Notices as messages: in the reader's language, with the address of the console."""

from __future__ import annotations

from collections.abc import Callable

from ark_extensions.notify import Message
from ark_extensions.settings import Settings
from ark_extensions.usecases.deliveries import Due
from ark_extensions.web.i18n import _, render, translator


def write_message(settings: Settings) -> Callable[[Due], Message]:
    """Puts a notice into words for the user it is for."""

    def write(due: Due) -> Message:
        language = due.language or settings.language
        said = render(due.message, language, settings.currency)
        subject = translator(language)(_("Ark: a notice for you"))
        text = f"{said}\n\n{settings.base_url}/services/console/\n"
        return Message(due.notice_id, due.owner, due.email, subject, text, due.kind, due.at)

    return write
