"""Bad input to the API: each is a clear refusal at the field, in the caller's language, and nothing is half made."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ark_extensions.usecases import market
from ark_extensions.usecases.workspaces import list_workspaces
from tests.console_stage import ADMIN, Stage, ask, stage, until

__all__ = ["stage"]

USER = "bad-input"
GOOD: dict[str, Any] = {"request_id": "r", "offer": "cpu-1", "image": "python-cpu"}
SCRIPTS = ["a", "字", "й", "ا", "😀", "é", "\u202e", "\ufeff", "\U000e0041"]
XSS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "${7*7}",
    "'; DROP TABLE users; --",
    "%s%n{0}{name}",
    "=cmd|' /C calc'!A0",
]
PAST = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
FAR = (datetime.now(UTC) + timedelta(days=4000)).isoformat()

#: (what is sent in place of a good value, the field that is named)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"surprise": 1}, "surprise"),
    ({"price": "0.01"}, "price"),
    ({"vcpu": 64}, "vcpu"),
    ({"image_reference": "evil"}, "image_reference"),
    ({"owner": "someone"}, "owner"),
    ({"__proto__": {}}, "__proto__"),
    ({"request_id": ...}, "request_id"),
    ({"request_id": ""}, "request_id"),
    ({"request_id": "x" * 65}, "request_id"),
    ({"request_id": "a b"}, "request_id"),
    ({"request_id": "字"}, "request_id"),
    ({"request_id": 7}, "request_id"),
    ({"offer": ...}, "offer"),
    ({"offer": None}, "offer"),
    ({"offer": "no-such"}, "offer"),
    ({"offer": ["cpu-1"]}, "offer"),
    ({"offer": "x" * 1000}, "offer"),
    ({"offer": "cpu-1\x00"}, "offer"),
    ({"image": "no-such"}, "image"),
    ({"image": {"$ne": None}}, "image"),
    ({"image": "../../etc/passwd"}, "image"),
    ({"data_disk_gib": -1}, "data_disk_gib"),
    ({"data_disk_gib": 201}, "data_disk_gib"),
    ({"data_disk_gib": 10**30}, "data_disk_gib"),
    ({"data_disk_gib": 200.0}, "data_disk_gib"),
    ({"data_disk_gib": 200.5}, "data_disk_gib"),
    ({"data_disk_gib": "200"}, "data_disk_gib"),
    ({"data_disk_gib": True}, "data_disk_gib"),
    ({"datasets": "digits"}, "datasets"),
    ({"datasets": ["digits", 1]}, "datasets"),
    ({"datasets": ["digits", "digits"]}, "datasets"),
    ({"datasets": ["digits@2"]}, "datasets"),
    ({"datasets": ["digits@0"]}, "datasets"),
    ({"datasets": ["digits@99999999999"]}, "datasets"),
    ({"datasets": ["../digits"]}, "datasets"),
    ({"datasets": ["x" * 1000]}, "datasets"),
    ({"datasets": ["digits-mlp"]}, "datasets"),
    ({"datasets": [f"d{i}" for i in range(51)]}, "datasets"),
    ({"models": {"digits-mlp": 1}}, "models"),
    ({"models": ["no-such"]}, "models"),
    ({"auto_stop": {}}, "auto_stop"),
    ({"auto_stop": {"after_minutes": 5, "at": FAR}}, "auto_stop"),
    ({"auto_stop": {"after_minutes": 0}}, "auto_stop.after_minutes"),
    ({"auto_stop": {"after_minutes": -5}}, "auto_stop.after_minutes"),
    ({"auto_stop": {"after_minutes": 10**18}}, "auto_stop.after_minutes"),
    ({"auto_stop": {"minutes": 5}}, "auto_stop.minutes"),
    ({"auto_stop": {"at": PAST}}, "auto_stop"),
    ({"auto_stop": {"at": FAR}}, "auto_stop"),
    ({"auto_stop": {"at": "tomorrow"}}, "auto_stop.at"),
    ({"auto_stop": {"at": "2026-12-24T18:00:00"}}, "auto_stop.at"),
    ({"auto_stop": {"at": 1e12}}, "auto_stop.at"),
    ({"auto_stop": {"at": "9999-12-31T23:59:59-23:59"}}, "auto_stop.at"),
    ({"auto_stop": "5m"}, "auto_stop"),
    ({"idle_stop_minutes": 0}, "idle_stop_minutes"),
    ({"idle_stop_minutes": 9}, "idle_stop_minutes"),
    ({"idle_stop_minutes": 10**9}, "idle_stop_minutes"),
    ({"name": ""}, "name"),
    ({"name": "Upper"}, "name"),
    ({"name": "1st"}, "name"),
    ({"name": "a--b"}, "name"),
    ({"name": "a/b"}, "name"),
    ({"name": "a\n"}, "name"),
    ({"name": "a\x00"}, "name"),
    ({"name": 5}, "name"),
    ({"display_name": "a\x00b"}, "display_name"),
    ({"display_name": "a\nb"}, "display_name"),
    ({"display_name": "   "}, "display_name"),
    ({"display_name": "x" * 61}, "display_name"),
    *(({"name": c * 1000}, "name") for c in SCRIPTS),
    *(({"display_name": c * 1000}, "display_name") for c in SCRIPTS),
]


def changed(change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **change}.items() if value is not ...}


def made(stage: Stage, user: str = USER) -> list[str]:
    return [view.name for view in list_workspaces(stage.storage, owner=user, now=datetime.now(UTC))]


@pytest.mark.parametrize(("change", "field"), WRONG, ids=lambda value: ascii(value)[:50])
def test_a_wrong_field_is_named_and_nothing_is_made(stage: Stage, change: dict[str, Any], field: str) -> None:
    answer = stage.api("POST", "/workspaces", token=stage.user(USER), body=changed(change))
    assert answer.status == 422, answer.body
    assert answer.field == field
    message = answer.json["error"]["message"]
    assert message.endswith(".") and len(message) < 300, message
    assert not any(word in message.lower() for word in ("pydantic", "input should", "extra inputs", "str_type", "traceback", "none")), (
        message
    )
    assert made(stage) == []


@pytest.mark.parametrize(("change", "field"), WRONG, ids=lambda value: ascii(value)[:50])
def test_a_quote_refuses_the_same(stage: Stage, change: dict[str, Any], field: str) -> None:
    if change == {"request_id": ...}:
        return
    answer = stage.api("POST", "/quotes", token=stage.user(USER), body=changed(change))
    assert (answer.status, answer.field) == (422, field)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nonsense",
        b"\xff\xfe{}",
        b'{"request_id": NaN}',
        b'{"data_disk_gib": Infinity}',
        b'{"data_disk_gib": -Infinity}',
        b'{"data_disk_gib": 1e400}',
        b'{"data_disk_gib": ' + b"9" * 5000 + b"}",
        b'{"offer": "a", "offer": "b"}',
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[]",
        b"null",
        b'"text"',
        b"7",
    ],
    ids=lambda raw: ascii(raw[:30]),
)
def test_what_is_not_a_json_object_is_malformed(stage: Stage, raw: bytes) -> None:
    answer = stage.api("POST", "/workspaces", token=stage.user(USER), raw=raw)
    assert answer.status == 400, answer.body
    assert answer.code == "malformed"
    assert made(stage) == []


def test_text_that_is_not_text_is_refused(stage: Stage) -> None:
    answer = stage.api("POST", "/workspaces", token=stage.user(USER), raw=json.dumps({**GOOD, "display_name": "\ud800"}).encode())
    assert (answer.status, answer.field) == (422, "display_name")


def test_a_body_that_is_too_long_is_refused_in_the_same_form(stage: Stage) -> None:
    answer = stage.api("POST", "/workspaces", token=stage.user(USER), raw=b'{"offer": "' + b"x" * 1_100_000 + b'"}')
    assert (answer.status, answer.code) == (413, "too_large")


def test_a_body_beyond_all_measure_is_refused_before_it_comes(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.console_port), timeout=60) as s:
        s.sendall(b"POST /services/console/api/v1/workspaces HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 413")
    assert stage.console_answers()


def test_errors_speak_the_callers_language(stage: Stage) -> None:
    token = stage.user(USER)
    said = {
        language: stage.api("POST", "/workspaces", token=token, body=changed({"image": ...}), headers={"Accept-Language": language}).json[
            "error"
        ]
        for language in ("zh", "zh-CN,zh;q=0.9,en;q=0.5", "en", "fr")
    }
    assert said["en"]["message"] == said["fr"]["message"] == "This is required."
    assert said["zh"]["code"] == said["en"]["code"] == "required"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/offers?plan=free", "plan"),
        ("/offers?min_gpu_count=-1", "min_gpu_count"),
        ("/offers?min_gpu_count=two", "min_gpu_count"),
        ("/offers?min_gpu_count=1e400", "min_gpu_count"),
        ("/offers?available=perhaps", "available"),
        ("/offers?max_price=NaN", "max_price"),
        ("/offers?max_price=-1", "max_price"),
        ("/offers?max_price=1e3", "max_price"),
        ("/offers?surprise=1", "surprise"),
        ("/offers?plan=payg&plan=monthly", "plan"),
        ("/workspaces?limit=0", "limit"),
        ("/workspaces?limit=501", "limit"),
        ("/workspaces?limit=99999999999999999999999999", "limit"),
        ("/workspaces?cursor=xyz", "cursor"),
        ("/workspaces?cursor=%F0%9F%98%80", "cursor"),
        ("/wallet/transactions?cursor=MTotMQ", "cursor"),
        ("/bills?month=2026-13", "month"),
        ("/bills?month=2026-1", "month"),
        ("/bills?month=0000-01", "month"),
        ("/bills?month=%00", "month"),
        ("/events/stream?after=-1", "after"),
        ("/events/stream?after=x", "after"),
    ],
)
def test_a_wrong_query_is_named(stage: Stage, path: str, field: str) -> None:
    answer = stage.api("GET", path, token=stage.user(USER))
    assert (answer.status, answer.field) == (422, field)


@pytest.mark.parametrize("name", ["nothing", "x" * 1000, "%00", "..%2F..%2Fetc", "%F0%9F%98%80", "<script>", "a%20b", "%27%20OR%201=1"])
def test_a_workspace_that_is_not_there(stage: Stage, name: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/start", {}),
        ("POST", "/stop", {}),
        ("GET", "/events", None),
        ("PATCH", "", {"auto_stop": None}),
    ):
        assert stage.api(method, f"/workspaces/{name}{path}", token=stage.user(USER), body=body).status == 404


def test_an_address_that_cannot_be_read(stage: Stage) -> None:
    answer = stage.api("GET", "/workspaces/%FF%FE", token=stage.user(USER))
    assert answer.status in (400, 404)
    assert answer.json["error"]["message"]


def test_an_unknown_address_and_an_unknown_method(stage: Stage) -> None:
    token = stage.user(USER)
    assert stage.api("GET", "/nothing", token=token).code == "not_found"
    assert stage.api("GET", "/nothing").code == "not_found"
    for method, path, allowed in (
        ("PUT", "/workspaces", "GET, POST"),
        ("DELETE", "/wallet", "GET"),
        ("BREW", "/offers", "GET"),
        ("POST", "/me", "GET, PATCH"),
    ):
        answer = stage.api(method, path, token=token, body={})
        assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method_not_allowed", allowed)


@pytest.mark.parametrize("header", ["token", "token ", "Basic YTpi", "bearer " + "x" * 5000, "token a b", "token \xff", "nonsense"])
def test_a_header_that_is_no_token(stage: Stage, header: str) -> None:
    answer = stage.api("GET", "/me", headers={"Authorization": header})
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize("what", ["offer", "image", "dataset"])
def test_what_was_withdrawn_between_form_and_submit(stage: Stage, what: str) -> None:
    id = "going"
    order = {**GOOD, "datasets": []} | ({"datasets": [id]} if what == "dataset" else {what: id})
    token = stage.user(USER)
    assert stage.api("POST", "/quotes", token=token, body=order).status == 200
    market.withdraw(stage.storage, what=what, id=id, now=datetime.now(UTC))
    answer = stage.api("POST", "/workspaces", token=token, body=order)
    assert (answer.status, answer.field) == (422, "datasets" if what == "dataset" else what)
    assert made(stage) == []


def test_too_dear_and_sold_out(stage: Stage) -> None:
    token = stage.user(USER)
    dear = stage.api("POST", "/workspaces", token=token, body=changed({"offer": "dear", "request_id": "d"}))
    assert (dear.status, dear.code) == (402, "insufficient_balance")
    assert dear.json["error"]["detail"]["available"] == {"amount": "100.00", "currency": "CNY"}
    huge = stage.api("POST", "/workspaces", token=token, body=changed({"offer": "huge", "request_id": "h"}))
    assert (huge.status, huge.code, huge.field) == (409, "sold_out", "offer")
    assert made(stage) == []


def test_a_double_click_is_one_order(stage: Stage) -> None:
    user = "double-click"
    first, second = stage.order(user, request_id="same", name="one"), stage.order(user, request_id="same", name="one")
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] == second.json["id"]
    other = stage.order(user, request_id="same", name="two")
    assert (other.status, other.code) == (409, "request_id_reused")
    taken = stage.order(user, name="one")
    assert (taken.status, taken.code, taken.field) == (409, "name_taken", "name")
    assert made(stage, user) == ["one"]


def test_a_start_of_what_starts_and_a_release_of_what_runs(stage: Stage) -> None:
    user = "impatient"
    token = stage.user(user)
    stage.order(user, name="ws-slow")
    until(lambda: stage.state(user, "ws-slow") == "starting")
    start = stage.api("POST", "/workspaces/ws-slow/start", token=token, body={})
    assert (start.status, start.code) == (409, "workspace_starting")
    until(lambda: stage.state(user, "ws-slow") == "running")
    for method, path, body in (("POST", "/start", {}), ("DELETE", "", {"confirm": "ws-slow"})):
        refused = stage.api(method, f"/workspaces/ws-slow{path}", token=token, body=body)
        assert (refused.status, refused.code) == (409, "workspace_running")
        assert refused.json["error"]["message"] == "The workspace is running. Stop it first."
    assert stage.state(user, "ws-slow") == "running"


def test_a_release_needs_the_name(stage: Stage) -> None:
    user = "careful"
    token = stage.user(user)
    stage.order(user, name="ws-refused")
    until(lambda: stage.state(user, "ws-refused") == "failed")
    for confirm in ("other", "", "x" * 5000, "WS-REFUSED"):
        release = stage.api("DELETE", "/workspaces/ws-refused", token=token, body={"confirm": confirm})
        assert (release.status, release.field) == (422, "confirm")
    assert stage.api("DELETE", "/workspaces/ws-refused", token=token, body={}).field == "confirm"
    assert stage.state(user, "ws-refused") == "failed"


@pytest.mark.parametrize("text", XSS)
def test_text_comes_back_as_the_data_it_is(stage: Stage, text: str) -> None:
    user = "xss"
    token = stage.user(user)
    if "ws" not in made(stage, user):
        stage.order(user, name="ws")
    changed_view = stage.api("PATCH", "/workspaces/ws", token=token, body={"display_name": text})
    assert changed_view.status == 200, changed_view.body
    assert changed_view.json["display_name"] == text
    assert changed_view.headers["Content-Type"].startswith("application/json")
    assert changed_view.headers["X-Content-Type-Options"] == "nosniff"
    newest = stage.api("GET", "/workspaces/ws/events?limit=5", token=token).json["items"]
    assert any(text in event["message"] for event in newest)
    for page in ("workspaces", "workspaces/ws/row", "events", "events?name=ws"):
        html = ask(stage.console_port, "GET", f"/services/console/{page}", headers={"Authorization": f"token {token}"})
        assert html.status == 200
        if "<" in text:
            assert text.encode() not in html.body


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "-1"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "0.0000001"}, "amount"),
        ({"amount": "9" * 30}, "amount"),
        ({"amount": 5}, "amount"),
        ({"amount": "１２"}, "amount"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"reason": "x" * 1000}, "reason"),
        ({"request_id": None}, "request_id"),
    ],
)
def test_a_credit_is_checked(stage: Stage, change: dict[str, Any], field: str) -> None:
    stage.user(USER)
    body = {"amount": "1.00", "reason": "a reason", "request_id": "c1", **change}
    answer = stage.api("POST", f"/admin/users/{USER}/credit", token=stage.user(ADMIN), body=body)
    assert (answer.status, answer.field) == (422, field), answer.body


def test_a_trickling_body_does_not_hold_the_console(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.console_port), timeout=60) as s:
        s.sendall(b"POST /services/console/api/v1/workspaces HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert stage.console_answers()
