"""One error tree for the platform: each class has a stable code and a sentence a person can act on.

The sentence is an English gettext msgid with ``{named}`` fields; the web layer translates it with
``translate(error, gettext)`` and chooses the HTTP status by class. Raw exception text never reaches a user.
"""

from __future__ import annotations

from collections.abc import Callable


class ArkError(Exception):
    """Base of everything the platform refuses.

    ``field`` names the request field at fault (None: the whole request). ``params`` fill the sentence.
    """

    code = "refused"

    def __init__(self, msgid: str, *, field: str | None = None, code: str | None = None, **params: object) -> None:
        super().__init__(msgid.format(**params) if params else msgid)
        self.msgid = msgid
        self.field = field
        self.params = params
        if code is not None:
            self.code = code


class Malformed(ArkError):
    """The request is not of the form that the contract gives (HTTP 400)."""

    code = "malformed"


class InvalidField(ArkError):
    """One field has a value that cannot be (HTTP 422)."""

    code = "invalid_field"


class NotFound(ArkError):
    """It does not exist, or it is not the caller's to see (HTTP 404)."""

    code = "not_found"


class Forbidden(ArkError):
    """The caller may not do this (HTTP 403)."""

    code = "forbidden"


class Conflict(ArkError):
    """It clashes with what is there now (HTTP 409)."""

    code = "conflict"


class SoldOut(Conflict):
    """No stock is left for the offer (HTTP 409)."""

    code = "sold_out"


class InsufficientBalance(ArkError):
    """The wallet does not hold what this needs (HTTP 402)."""

    code = "insufficient_balance"


class Unavailable(ArkError):
    """Something the platform depends on does not answer now (HTTP 503)."""

    code = "unavailable"


#: said by errors that take no other words
_SENTENCES = ("Charges and payments are paused while the operator looks into the books. What runs goes on; try again later.",)


class PostingHalted(Unavailable):
    """The audit found the books wrong: nothing is posted until an operator has looked (HTTP 503)."""

    code = "posting_halted"

    def __init__(self) -> None:
        super().__init__(_SENTENCES[0])


def translate(error: ArkError, gettext: Callable[[str], str]) -> str:
    """The error's sentence in the language of ``gettext``."""
    sentence = gettext(error.msgid)
    return sentence.format(**error.params) if error.params else sentence
