"""What goes wrong while a workspace starts, as a value: a sentence for its user, a code, and the raw detail for the events."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping
from typing import Any

from ark_extensions.domain.errors import ArkError, Conflict, Forbidden, InsufficientBalance, InvalidField, NotFound, Unavailable
from ark_extensions.usecases.views import Sentence

_STATUS: tuple[tuple[type[ArkError], int], ...] = (
    (InvalidField, 422),
    (NotFound, 404),
    (Forbidden, 403),
    (Conflict, 409),
    (InsufficientBalance, 402),
    (Unavailable, 503),
)

DISK_FULL = Sentence("The platform's disk is full, so the workspace did not start. Ask an operator to make room.")
NO_ANSWER = Sentence("The workspace's server did not answer within {seconds} seconds, so it was ended. Nothing is charged. Try again.")
DIED = Sentence(
    "The workspace's server ended while it was starting (exit code {exit_code}). Nothing is charged. "
    "Start it again, or choose another image."
)
PLATFORM_FAULT = Sentence("The workspace did not start because of a fault of the platform. Start it again, or tell an operator.")


class StartFailure(Exception):
    """A start that was accepted and did not come up. It costs nothing; ``detail`` is shown in advanced mode only."""

    def __init__(self, code: str, sentence: Sentence, *, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence.msgid.format(**sentence.params))
        self.code = code
        self.sentence = sentence
        self.detail = dict(detail or {})


def status_of(error: ArkError) -> int:
    """The HTTP status with which the Hub answers a refusal."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def as_start_failure(error: Exception) -> StartFailure:
    """Any exception of a start as a failure with a sentence; the exception's own text goes into the detail."""
    if isinstance(error, StartFailure):
        return error
    detail = {"exception": "".join(traceback.format_exception(error))[-4000:]}
    if isinstance(error, ArkError):
        return StartFailure(error.code, Sentence(error.msgid, error.params), detail=detail)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StartFailure("disk_full", DISK_FULL, detail=detail)
    return StartFailure("platform_fault", PLATFORM_FAULT, detail=detail)
