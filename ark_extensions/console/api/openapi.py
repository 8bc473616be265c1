"""The OpenAPI 3.1 document, made from the table of routes and the models that validate."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ark_extensions.console.api.answers import Error
from ark_extensions.console.api.routes import Route, by_path

#: of the contract
VERSION = "1.0"
SCHEMAS = "#/components/schemas/{model}"
REFUSALS = {
    "400": "The request cannot be read.",
    "401": "Nobody is signed in, or the token is not known.",
    "402": "The wallet does not hold what this needs.",
    "403": "The caller may not do this.",
    "404": "It does not exist, or it is not the caller's.",
    "409": "It clashes with what is there now, or is sold out.",
    "413": "The request is too long.",
    "422": "A field is wrong; `field` names it.",
    "429": "Too much at once.",
    "503": "Something the platform depends on does not answer now.",
}
#: what is paid for at once, or needs money in the wallet
COSTS = ("/workspaces", "/workspaces/{name}/start", "/workspaces/{name}/disk", "/assets", "/assets/{id}/renew")
#: what an installation without an SSH gateway has not
NOT_EVERYWHERE = ("/ssh-config", "/ssh-known-hosts")
#: what a path's parameter is
PARAMETERS = {
    "name": "a workspace's name",
    "owner": "a user's name",
    "user": "a user's name",
    "id": "an id that the platform gave",
    "provider": "a payment service",
}


@cache
def document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """The whole document; the same object at each call, not to be changed."""
    schemas = _schemas(routes)
    paths = {
        path: {method.lower(): _operation(route, schemas) for method, route in methods.items()} for path, methods in by_path(routes).items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ark", "version": VERSION, "description": "Rent workspaces with GPUs: the console's REST API, version 1."},
        "servers": [{"url": "/services/console/api/v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {status: _refusal(text) for status, text in REFUSALS.items()},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`token TOKEN`, a token of the Hub"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "service-console",
                    "description": "a browser's session; scripts of a page send the `_xsrf` cookie's value as `X-XSRFToken`",
                },
            },
        },
    }


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    wanted: dict[tuple[Any, JsonSchemaMode], None] = {(Error, "serialization"): None}
    for route in routes:
        wanted[(route.query, "validation")] = None
        if route.body is not None:
            wanted[(route.body, "validation")] = None
        if route.response is not None:
            wanted[(route.response, "serialization")] = None
    _, made = models_json_schema(list(wanted), ref_template=SCHEMAS)
    schemas: dict[str, Any] = made["$defs"]
    return schemas


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": SCHEMAS.format(model="Error")}}}}


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "parameters": _parameters(route, schemas),
        "responses": {str(route.status): _success(route), **_refusals(route)},
        "x-access": route.access,
    }
    if route.body is not None:
        content = {"application/json": {"schema": {"$ref": SCHEMAS.format(model=route.body.__name__)}}}
        needed = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": content}
    return operation


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "description": PARAMETERS[name], "schema": {"type": "string"}}
        for name in route.parameters
    ]
    for name, schema in schemas[route.query.__name__].get("properties", {}).items():
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.stream:
        resume = "resume after the event of this id"
        found.append({"name": "Last-Event-ID", "in": "header", "required": False, "description": resume, "schema": {"type": "integer"}})
    return found


def _success(route: Route) -> dict[str, Any]:
    if route.media != "application/json":
        return {"description": "Done.", "content": {route.media: {"schema": {"type": "string"}}}}
    if route.response is None:
        return {"description": "Done."}
    schema = {"$ref": SCHEMAS.format(model=route.response.__name__)}
    if route.stream:
        text = "Server-sent events named `workspace`; each `data` is an Event as JSON."
        return {"description": text, "content": {"text/event-stream": {"schema": schema}}}
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


def _refusals(route: Route) -> dict[str, Any]:
    statuses = {"401", "403", "422", "503"}
    if route.parameters or route.body is not None or route.path in NOT_EVERYWHERE:  # a body may name what is not there
        statuses |= {"404"}
    if route.body is not None:
        statuses |= {"400", "409", "413"}
    if route.stream:
        statuses |= {"429"}
    if route.path in COSTS and route.method == "POST":
        statuses |= {"402"}
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
