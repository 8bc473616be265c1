"""What a user tells the platform of themselves."""

from __future__ import annotations

import re

from ark_extensions.domain.errors import InvalidField

EMAIL_MAX = 320
#: one @, no spaces or control characters; whether it exists only a mail can tell
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f,;<>\"]{1,64}@[^@\s\x00-\x1f\x7f,;<>\"]{1,255}")


def check_email(text: str) -> str:
    """Raises InvalidField for what no mail can be sent to."""
    if len(text) > EMAIL_MAX or not _EMAIL.fullmatch(text):
        raise InvalidField("This is not an e-mail address.", field="email")
    return text
