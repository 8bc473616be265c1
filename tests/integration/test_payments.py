"""Callbacks of payment services against the running console: signed ones pay once, all others change nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest

from ark_extensions.usecases.recharges import begin_recharge
from tests.console_stage import WEBHOOK_SECRET, Stage, ask, stage

__all__ = ["stage"]

PATH = "/services/console/api/v1/payments/stripe/callback"


@pytest.fixture
def payer(stage: Stage) -> tuple[str, str]:
    """(token, id) of a user's pending recharge of 50 at Stripe, whose server cannot be asked for a page here."""
    name = f"payer-{time.monotonic_ns()}"
    token = stage.user(name)
    facts = {"user": name, "request_id": "r1", "provider": "stripe", "amount_micros": 50_000_000}
    return token, begin_recharge(stage.storage, **facts, now=datetime.now(UTC)).id


def test_a_transfer_is_begun_shown_confirmed_by_an_operator_and_told(stage: Stage) -> None:
    token, admin = stage.user("transfers"), stage.user("root-admin")
    body = {"request_id": "t1", "provider": "manual", "amount": "25.00"}
    begun = stage.api("POST", "/wallet/recharges", token=token, body=body)
    assert begun.status == 201 and begun.json["instructions"].startswith("Account 123")
    assert stage.api("POST", "/wallet/recharges", token=token, body={**body, "amount": "26.00"}).status == 409
    waiting = stage.api("GET", "/admin/recharges?status=pending", token=admin).json["items"]
    assert begun.json["id"] in [item["id"] for item in waiting]
    path = f"/admin/recharges/{begun.json['id']}/confirm"
    assert stage.api("POST", path, token=token, body={"reason": "mine"}).status == 403
    assert stage.api("POST", path, token=admin, body={"reason": "seen on the account"}).json["status"] == "paid"
    acts = stage.api("GET", "/admin/acts", token=admin).json["items"]
    assert ("confirm_transfer", "transfers", "seen on the account") in [(act["act"], act["subject"], act["reason"]) for act in acts]


def test_a_way_to_pay_that_is_not_offered_is_refused_at_its_field(stage: Stage) -> None:
    token = stage.user("transfers")
    refused = stage.api("POST", "/wallet/recharges", token=token, body={"request_id": "t2", "provider": "alipay", "amount": "5.00"})
    assert (refused.status, refused.field) == (422, "provider")
    assert [p["name"] for p in stage.api("GET", "/wallet/providers", token=token).json["items"]] == ["manual", "stripe"]


def test_a_payment_service_that_does_not_answer_charges_nothing(stage: Stage) -> None:
    """Nothing outside can be reached from a test: Stripe's page cannot be had."""
    token = stage.user("transfers")
    answer = stage.api("POST", "/wallet/recharges", token=token, body={"request_id": "t3", "provider": "stripe", "amount": "5.00"})
    assert (answer.status, answer.code) == (503, "unavailable")


def signed(recharge_id: str, amount: int = 5000, secret: str = WEBHOOK_SECRET, at: int | None = None) -> tuple[dict[str, str], bytes]:
    session = {
        "id": f"cs_{recharge_id}",
        "client_reference_id": recharge_id,
        "payment_status": "paid",
        "amount_total": amount,
        "currency": "cny",
    }
    stamp = int(time.time()) if at is None else at
    body = json.dumps(
        {"id": "evt", "object": "event", "type": "checkout.session.completed", "created": stamp, "data": {"object": session}}
    ).encode()
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={signature}", "Content-Type": "application/json"}, body


def balance(stage: Stage, token: str) -> str:
    return str(stage.api("GET", "/wallet", token=token).json["balance"]["amount"])


def test_a_signed_callback_pays_once_and_is_acknowledged(stage: Stage, payer: tuple[str, str]) -> None:
    token, recharge_id = payer
    before = float(balance(stage, token))
    headers, body = signed(recharge_id)
    for _ in range(3):
        answer = ask(stage.console_port, "POST", PATH, raw=body, headers=headers)
        assert (answer.status, answer.body) == (200, b"ok")
    assert float(balance(stage, token)) == before + 50
    assert stage.api("GET", f"/wallet/recharges/{recharge_id}", token=token).json["status"] == "paid"
    assert "50" in stage.api("GET", "/notices", token=token).json["items"][0]["message"]


def test_forged_old_foreign_and_unequal_callbacks_pay_nothing(stage: Stage, payer: tuple[str, str]) -> None:
    token, recharge_id = payer
    before = balance(stage, token)
    tries = {
        403: [signed(recharge_id, secret="whsec_other"), signed(recharge_id, at=int(time.time()) - 4000), ({}, b"{}")],
        409: [signed(recharge_id, amount=5001)],
        404: [signed("f" * 32)],
    }
    for status, callbacks in tries.items():
        for headers, body in callbacks:
            assert ask(stage.console_port, "POST", PATH, raw=body, headers=headers).status == status
    assert ask(stage.console_port, "POST", PATH.replace("stripe", "paypal"), raw=b"{}", headers={}).status == 404
    assert balance(stage, token) == before
    assert stage.api("GET", f"/wallet/recharges/{recharge_id}", token=token).json["status"] == "pending"


def test_figures_are_there_for_prometheus(stage: Stage) -> None:
    answer = stage.api("GET", "/admin/metrics", token=stage.user("root-admin"))
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    assert b"ark_book_differences 0.0" in answer.body and b"ark_users" in answer.body


def test_anothers_recharge_is_not_there(stage: Stage, payer: tuple[str, str]) -> None:
    _, recharge_id = payer
    stranger = stage.user("payer-stranger")
    for method in ("GET", "DELETE"):
        assert stage.api(method, f"/wallet/recharges/{recharge_id}", token=stranger, body=None if method == "GET" else {}).status == 404


def test_an_address_for_notices_is_kept_and_a_wrong_one_refused(stage: Stage) -> None:
    token = stage.user("mailed")
    assert stage.api("PATCH", "/me", token=token, body={"email": "li@example.org"}).json["email"] == "li@example.org"
    for wrong in ("nobody", "a@b@c", "a b@c", "a@b\r\nBcc: x@y", "<a@b>", "x" * 400 + "@y"):
        refused = stage.api("PATCH", "/me", token=token, body={"email": wrong})
        assert (refused.status, refused.field) == (422, "email")
    assert stage.api("PATCH", "/me", token=token, body={"language": "zh"}).json["email"] == "li@example.org"
    assert stage.api("PATCH", "/me", token=token, body={"email": None}).json["email"] is None
