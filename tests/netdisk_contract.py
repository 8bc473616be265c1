"""Whether an answer of the netdisk's API is as its OpenAPI document says."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from ark_extensions.netdisk.openapi import OPERATIONS, document


def operation_of(method: str, path: str) -> dict[str, Any]:
    """``path`` below the API's prefix, without the query."""
    for row in OPERATIONS:
        if row.method == method and re.fullmatch(re.sub(r"\{path\}", ".+", re.sub(r"\{id\}", "[^/]+", row.path)), "/" + path):
            found: dict[str, Any] = document()["paths"][row.path][method.lower()]
            return found
    raise AssertionError(f"{method} {path} is not in the document")


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})


def assert_as_documented(method: str, path: str, status: int, body: bytes) -> None:
    said = operation_of(method, path.partition("?")[0])["responses"].get(str(status))
    assert said is not None, f"{method} {path} answered {status}, which the document does not know"
    if "$ref" in said:
        said = document()["components"]["responses"][said["$ref"].rpartition("/")[2]]
    schema = said.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return
    found = json.loads(body)
    if "anyOf" in schema:
        schema = schema["anyOf"]["results" in found]
    _validator(schema["$ref"].rpartition("/")[2]).validate(found)
