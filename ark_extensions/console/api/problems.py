"""Reading what a client sent, and saying plainly what is wrong with it.

Promises: JSON is read strictly (UTF-8, no NaN or infinity, no doubled keys, no bomb of brackets); a validation error becomes
one sentence at one field, without the validator's own words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ark_extensions.console.api.models import RULE, Input
from ark_extensions.console.handlers import TooLarge
from ark_extensions.domain.errors import InvalidField, Malformed

BODY_MAX = 1024 * 1024

M = TypeVar("M", bound=Input)

#: pydantic's error type → our sentence; its context fills the fields
SENTENCES = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field. Remove it.",
    "string_type": "This must be text.",
    "string_unicode": "This is not valid text.",
    "string_too_short": "This must not be empty.",
    "string_too_long": "This is too long: at most {max_length} characters.",
    "string_pattern_mismatch": "This has characters that are not allowed here.",
    "int_type": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_from_float": "This must be a whole number.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than_equal": "This must be at most {le}.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "literal_error": "This must be one of: {expected}.",
    "tuple_type": "This must be a list.",
    "list_type": "This must be a list.",
    "too_long": "Choose at most {max_length} of them.",
    "model_type": "This must be an object with fields.",
    "model_attributes_type": "This must be an object with fields.",
    "dict_type": "This must be an object with fields.",
    "timezone_aware": "This must be a time with its time zone, such as 2026-11-23T18:00:00Z.",
    "value_error": "This must be a time with its time zone, such as 2026-11-23T18:00:00Z.",
}
TIME_SENTENCE = SENTENCES["timezone_aware"]
OTHER_SENTENCE = "This value cannot be used here."


def _no_constant(text: str) -> Any:
    raise Malformed("{text} is not a number that can be used. Send a plain number.", text=text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed("{text} is not a number that can be used. Send a plain number.", text=text[:40])
    return value


def _whole(text: str) -> int:
    if len(text) > 40:
        raise Malformed("{text} is not a number that can be used. Send a plain number.", text=text[:40])
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The request names a field twice.")
    return found


def read_json(raw: bytes) -> Any:
    """The request's body; ``{}`` when it is empty. Raises Malformed or TooLarge."""
    if len(raw) > BODY_MAX:
        raise TooLarge("The request is longer than any request needs to be.")
    if not raw.strip():
        return {}
    try:
        text = raw.decode("utf-8")
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Malformed("The request is not valid JSON in UTF-8.") from error


def validated(model: type[M], data: Any) -> M:
    """``data`` as the model; raises InvalidField with a sentence at the first field that is wrong."""
    if not isinstance(data, Mapping):
        raise Malformed("The request must be a JSON object.")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise plain(error) from None


def plain(error: ValidationError) -> InvalidField:
    """The first error of a validation, as a sentence at its field."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(part for part in first["loc"] if isinstance(part, str))
    kind = first["type"]
    if kind == RULE:
        rule = first["ctx"]
        return InvalidField(rule["msgid"], field=place or rule["field"], code=rule["code"], **rule["params"])
    context = {key: value for key, value in first.get("ctx", {}).items() if isinstance(value, (str, int, float))}
    if kind.startswith(("datetime", "date_")):
        return InvalidField(TIME_SENTENCE, field=place or None)
    code = {"missing": "required", "extra_forbidden": "unknown_field"}.get(kind)
    return InvalidField(SENTENCES.get(kind, OTHER_SENTENCE), field=place or None, code=code, **context)
