"""Odd values in every field, query and path of every route, made from the table: refused or taken, never a fault of ours."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from ark_extensions.console.api.routes import Route
from ark_extensions.console.api.table import ROUTES
from tests.console_stage import ADMIN, Stage, stage

__all__ = ["stage"]

VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 2**63, 10**30, "", " ", "x", "x" * 1000, "字" * 1000, "\x00", "\n", "\u202e", "NaN", "-0", "1e400",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "2026-11-23T18:00:00Z", [], [None], [[]], ["x"] * 200, {}, {"x": {}},
    {"at": None}, {"after_minutes": 1.0}, "<script>alert(1)</script>", "' OR 1=1 --", "%00", "../..",
]  # fmt: skip
NAMES = ["x" * 300, "字", "a%2Fb", "%00", "%0a", "..", "'", "A", "-", "\u202e", "😀"]
WITH_BODY = [route for route in ROUTES if route.body is not None]


def key(route: Route) -> str:
    return f"{route.method} {route.path}"


def send(stage: Stage, route: Route, *, path: str | None = None, query: str = "", body: Any = None) -> None:
    address = path if path is not None else route.path.replace("{name}", "no-such").replace("{user}", "odd").replace("{owner}", "odd")
    answer = stage.api(route.method, address + query, token=stage.user(ADMIN), body=body)
    assert answer.status < 500, (key(route), body, query, answer.body)
    if answer.status >= 400:
        error = answer.json["error"]
        assert error["message"] and error["code"] and set(error) == {"code", "message", "field", "detail"}


@pytest.mark.parametrize("route", WITH_BODY, ids=key)
def test_bodies(stage: Stage, route: Route) -> None:
    stage.user("odd")
    assert route.body is not None
    whole: dict[str, Any] = {"request_id": "odd", "offer": "cpu-1", "image": "python-cpu", "confirm": "x", "language": "en"}
    whole |= {"amount": "1", "reason": "odd", "what": "offer", "id": "none"}
    good = {name: whole[name] for name in route.body.model_fields if name in whole}
    for name in route.body.model_fields:
        for number, value in enumerate(VALUES):
            changed = {**good, name: value}
            if "request_id" in good and name != "request_id":
                changed["request_id"] = f"odd-{name}-{number}"
            if route.path == "/workspaces" and name not in ("offer", "image"):
                changed["offer"] = "none"  # nothing is made of what is right in an odd way
            send(stage, route, body=changed)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.query.model_fields and not route.stream], ids=key)
def test_queries(stage: Stage, route: Route) -> None:
    for name in route.query.model_fields:
        for value in VALUES:
            text = value if isinstance(value, str) else json.dumps(value)
            send(stage, route, query=f"?{name}={quote(text.encode('utf-8', 'surrogatepass'))}")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.parameters], ids=key)
def test_paths(stage: Stage, route: Route) -> None:
    for parameter in route.parameters:
        for value in NAMES:
            path = route.path.replace("{" + parameter + "}", value if "%" in value else quote(value))
            for other in route.parameters:
                path = path.replace("{" + other + "}", "odd")
            send(stage, route, path=path, body={} if route.body is not None else None)
