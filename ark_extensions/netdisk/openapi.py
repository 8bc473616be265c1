"""The OpenAPI 3.1 document of the netdisk's API: a row for each method of each address, with the models that read its body.

Imported when somebody asks for it: it is not needed to serve files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ark_extensions.netdisk import answers as a
from ark_extensions.netdisk import api, api_kept
from ark_extensions.netdisk.listing import PAGE_MAX, SORTS

VERSION = "1.0"
SCHEMAS = "#/components/schemas/{model}"
REFUSALS = {
    "400": "The request cannot be read.",
    "401": "Nobody is signed in, or the token is not known.",
    "403": "The caller may not do this, or the path leads out of the netdisk.",
    "404": "It does not exist.",
    "409": "It clashes with what is there.",
    "413": "The request is too long.",
    "422": "A field is wrong; `field` names it.",
    "503": "Something the platform depends on does not answer now.",
    "507": "It does not fit under the user's limit, or on the disk.",
}
TEXT: dict[str, Any] = {"type": "string"}
CONFLICT = {"type": "string", "enum": ["refuse", "replace", "keep_both"], "default": "refuse"}
PATH = {"path": {**TEXT, "description": "relative to the user's tree; a byte that is no UTF-8 is percent-encoded"}}
LIST = {
    **PATH,
    "sort": {"type": "string", "enum": list(SORTS), "default": "name"},
    "order": {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
    "limit": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 200},
    "cursor": TEXT,
}


@dataclass(frozen=True)
class Operation:
    """``takes``: the media type of a body that is no JSON; ``gives``: of an answer that is none. ``account``: not with a personal
    token."""

    method: str
    path: str
    summary: str
    answer: type[BaseModel] | None = None
    status: int = 200
    body: type[BaseModel] | None = None
    query: tuple[tuple[str, dict[str, Any]], ...] = ()
    takes: str = ""
    gives: str = ""
    account: bool = False


def _query(fields: dict[str, dict[str, Any]]) -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple(fields.items())


BYTES = "application/octet-stream"
ABOUT = "A user's files. Trees and large files go by WebDAV (`/services/netdisk/dav/`) and tus 1.0 (`/services/netdisk/tus/`)."
OPERATIONS = (
    Operation("GET", "/usage", "What is used, what it may be and what it costs", a.Usage),
    Operation("GET", "/list", "A page of a folder, folders first", a.Page, query=_query(LIST)),
    Operation("GET", "/search", "Names that contain a text, for at most five seconds", a.Found, query=_query({**PATH, "q": TEXT})),
    Operation("POST", "/folders", "Make a folder", a.Path, 201, api.FolderBody),
    Operation("POST", "/moves", "Rename or move", a.Results, body=api.MoveBody),
    Operation("GET", "/copies", "Copies and imports of late", a.Jobs),
    Operation("POST", "/copies", "Begin a copy", a.Job, 202, api.MoveBody),
    Operation("GET", "/copies/{id}", "How far a copy is", a.Job),
    Operation("DELETE", "/copies/{id}", "Stop a copy; nothing of it is kept", a.Job),
    Operation("GET", "/imports", "Datasets and models that can be copied into the netdisk", a.Importables),
    Operation("POST", "/imports", "Begin to copy a dataset or model into the netdisk", a.Job, 202, api.ImportBody),
    Operation("GET", "/trash", "What is in the trash", a.Trash),
    Operation("POST", "/trash", "Delete into the trash", a.Results, body=api_kept.PathsBody),
    Operation("DELETE", "/trash", "Delete for good: some, or all", None, 204, api_kept.IdsBody),
    Operation("POST", "/trash/restore", "Restore from the trash", a.Results, body=api_kept.RestoreBody),
    Operation("GET", "/uploads", "Unfinished uploads", a.Uploads),
    Operation("DELETE", "/uploads", "Clean unfinished uploads: some, or all", None, 204, api_kept.IdsBody),
    Operation("GET", "/files/{path}", "A file", gives=BYTES),
    Operation(
        "PUT", "/files/{path}", "A whole file; folders above it are made", a.EntryAt, 201, query=(("on_conflict", CONFLICT),), takes=BYTES
    ),
    Operation("GET", "/zip", "Files and folders as a zip, made while it is sent", query=_query(PATH), gives="application/zip"),
    Operation("GET", "/preview/{path}", "What a file's preview is, and of a text the text", a.Preview),
    Operation("GET", "/view/{path}", "An image, for a browser to show", gives="image/*"),
    Operation("GET", "/render/{path}", "A notebook as a page without scripts", gives="text/html"),
    Operation("GET", "/tokens", "Personal tokens", a.Tokens, account=True),
    Operation(
        "POST",
        "/tokens",
        "Make a personal token, which opens the netdisk and nothing else",
        a.MadeToken,
        201,
        api_kept.TokenBody,
        account=True,
    ),
    Operation("DELETE", "/tokens/{id}", "Revoke a personal token", None, 204, account=True),
)


@cache
def document() -> dict[str, Any]:
    """The whole document; the same object at each call, not to be changed."""
    wanted: dict[tuple[Any, JsonSchemaMode], None] = {(a.Error, "serialization"): None, (a.NoneDone, "serialization"): None}
    for row in OPERATIONS:
        wanted |= {(model, "validation"): None for model in (row.body,) if model is not None}
        wanted |= {(model, "serialization"): None for model in (row.answer,) if model is not None}
    _, made = models_json_schema(list(wanted), ref_template=SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    session = "a browser's session; scripts of a page send the `_xsrf` cookie's value as `X-XSRFToken`"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ark netdisk",
            "version": VERSION,
            "description": ABOUT,
        },
        "servers": [{"url": api.API}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": made["$defs"],
            "responses": {status: _refusal(text) for status, text in REFUSALS.items()},
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`token TOKEN`, with the netdisk's scope",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": "service-netdisk", "description": session},
            },
        },
    }


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": SCHEMAS.format(model="Error")}}}}


def _operation(row: Operation) -> dict[str, Any]:
    name = f"{row.method.lower()}_{row.path.strip('/').replace('/', '_').replace('{', '').replace('}', '')}"
    refused = {"400", "401", "403", "404", "409", "422", "503"} | ({"413", "507"} if row.method != "GET" else set())
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": row.summary,
        "tags": [row.path.split("/")[1]],
        "parameters": _parameters(row),
        "responses": {str(row.status): _success(row), **{s: {"$ref": f"#/components/responses/{s}"} for s in sorted(refused)}},
        "x-access": "account" if row.account else "netdisk",
    }
    if row.body is not None:
        needed = any(field.is_required() for field in row.body.model_fields.values())
        content = {"application/json": {"schema": {"$ref": SCHEMAS.format(model=row.body.__name__)}}}
        operation["requestBody"] = {"required": needed, "content": content}
    elif row.takes:
        operation["requestBody"] = {"required": True, "content": {row.takes: {"schema": {"type": "string", "format": "binary"}}}}
    if row.method == "PUT":
        operation["responses"]["200"] = _success(row)
    if row.answer is a.Results:
        either = {"anyOf": [{"$ref": SCHEMAS.format(model=model)} for model in ("Error", "NoneDone")]}
        operation["responses"]["409"] = {"description": REFUSALS["409"], "content": {"application/json": {"schema": either}}}
    return operation


def _parameters(row: Operation) -> list[dict[str, Any]]:
    in_path = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    found: list[dict[str, Any]] = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in in_path]
    return found + [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in row.query]


def _success(row: Operation) -> dict[str, Any]:
    if row.gives:
        return {"description": "Done.", "content": {row.gives: {"schema": {"type": "string", "format": "binary"}}}}
    if row.answer is None:
        return {"description": "Done."}
    return {"description": "Done.", "content": {"application/json": {"schema": {"$ref": SCHEMAS.format(model=row.answer.__name__)}}}}
