"""The API's contract: the OpenAPI document, the reading of bodies, sentences at fields, cursors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import CreateBody, Input, OffersQuery
from ark_extensions.console.api.openapi import document
from ark_extensions.console.api.problems import read_json, validated
from ark_extensions.console.api.routes import Access, Route, by_path
from ark_extensions.console.api.table import ROUTES
from ark_extensions.console.handlers import STATUS, TooLarge, status_of
from ark_extensions.domain.errors import ArkError, Conflict, InvalidField, Malformed, SoldOut
from ark_extensions.web.i18n import render_error

GOOD = {"request_id": "r", "offer": "cpu-1", "image": "python-cpu"}


def test_the_document_is_openapi_and_holds_every_route() -> None:
    made = json.loads(json.dumps(document(ROUTES)))
    validate(made)
    assert made["openapi"] == "3.1.0"
    operations = {(method.upper(), path) for path, methods in made["paths"].items() for method in methods}
    assert operations == {(route.method, route.path) for route in ROUTES}
    names = [operation["operationId"] for methods in made["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    for methods in made["paths"].values():
        for operation in methods.values():
            assert {"401", "403", "422"} <= set(operation["responses"])
            assert operation["summary"]


def test_every_body_refuses_unknown_keys() -> None:
    for route in ROUTES:
        for model in filter(None, (route.body, route.query)):
            assert issubclass(model, Input) and model.model_config["extra"] == "forbid"
    schemas = document(ROUTES)["components"]["schemas"]
    assert schemas["CreateBody"]["additionalProperties"] is False


def test_a_route_is_in_the_table_once() -> None:
    assert all(route.access in get_args(Access) for route in ROUTES)
    with pytest.raises(ValueError, match="twice"):
        by_path([ROUTES[0], ROUTES[0]])


def test_paths_do_not_shadow_each_other() -> None:
    """A plain path is never taken for one with a parameter: dispatching sorts them, and no two of a kind overlap."""
    shapes_of = [route.pattern.replace("?P<owner>", "").replace("?P<user>", "").replace("?P<name>", "") for route in ROUTES]
    assert len({(route.method, shape) for route, shape in zip(ROUTES, shapes_of, strict=True)}) == len(ROUTES)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c))
)
def test_any_json_at_all_is_accepted_or_refused_with_a_sentence(value: Any) -> None:
    try:
        validated(CreateBody, read_json(json.dumps(value).encode()))
    except (InvalidField, Malformed) as error:
        assert str(error) and render_error(error, "en", "CNY")


@given(
    st.sampled_from(sorted(CreateBody.model_fields)),
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.text()),
)
def test_any_value_in_any_field_is_accepted_or_refused_at_that_field(name: str, value: Any) -> None:
    try:
        validated(CreateBody, {**GOOD, name: value})
    except InvalidField as error:
        assert error.field is not None and error.field.split(".")[0] == name
        assert "{" not in render_error(error, "en", "CNY").replace(str(value), "")


@given(st.binary(max_size=200))
def test_any_bytes_at_all(raw: bytes) -> None:
    try:
        read_json(raw)
    except Malformed:
        pass


def test_a_long_body_is_not_even_read() -> None:
    with pytest.raises(TooLarge):
        read_json(b" " * (1024 * 1024 + 1))


def test_an_order_carries_what_was_asked_for() -> None:
    at = datetime(2026, 12, 24, 18, tzinfo=UTC)
    body = validated(CreateBody, {**GOOD, "datasets": ["digits"], "data_disk_gib": None, "auto_stop": {"at": "2026-12-25T02:00:00+08:00"}})
    order = body.order()
    assert (order.request_id, order.datasets, order.data_disk_gib, order.auto_stop_at) == ("r", ("digits",), 0, at)
    after = validated(CreateBody, {**GOOD, "auto_stop": {"after_minutes": 30}}).order()
    assert (after.auto_stop_after_minutes, after.auto_stop_at) == (30, None)


def test_a_query_comes_as_text() -> None:
    query = validated(OffersQuery, {"min_gpu_count": "2", "available": "true", "limit": "3"})
    assert (query.min_gpu_count, query.available, query.limit) == (2, True, 3)


@given(st.integers(min_value=0, max_value=10**17))
def test_a_cursor_comes_back(position: int) -> None:
    cursor = shapes.write_cursor(position)
    assert cursor is not None and shapes.read_cursor(cursor) == position


@given(st.text(max_size=50))
def test_a_cursor_that_is_not_ours_is_refused(text: str) -> None:
    try:
        position = shapes.read_cursor(text)
    except InvalidField as error:
        assert error.field == "cursor"
    else:
        assert position is not None and position >= 0


@given(st.lists(st.integers(), max_size=40), st.integers(1, 10))
def test_pages_of_a_list_are_the_list(items: list[int], limit: int) -> None:
    seen: list[int] = []
    cursor = None
    while True:
        page, cursor = shapes.cut(items, limit, cursor)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    assert seen == items


def test_a_runway_is_never_shown_longer_than_it_is() -> None:
    assert shapes.hours(timedelta(hours=1, seconds=59)) == 1.01
    assert shapes.hours(None) is None


def test_every_error_of_the_tree_has_its_status() -> None:
    def classes(kind: type[ArkError]) -> list[type[ArkError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in classes(child))]

    for kind in classes(ArkError):
        if kind is not ArkError and kind.__module__.startswith("ark_extensions.domain"):
            assert any(issubclass(kind, listed) for listed, _ in STATUS), kind
    assert (status_of(SoldOut("x")), status_of(Conflict("x")), status_of(TooLarge("x"))) == (409, 409, 413)


def test_a_routes_name_is_made_of_its_path() -> None:
    route = next(r for r in ROUTES if (r.method, r.path) == ("POST", "/workspaces/{name}/start"))
    assert isinstance(route, Route)
    assert (route.parameters, route.operation_id) == (["name"], "post_workspaces_name_start")
