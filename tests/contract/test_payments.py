"""Every provider under one contract: genuine callbacks are read, all others refused. Signatures are made by the real libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import stripe
from alipay import AliPay
from Cryptodome.PublicKey import RSA

from ark_extensions.domain.money import MICROS, format_amount
from ark_extensions.payments import Forged, NotAPayment, Provider, ProviderDown
from ark_extensions.payments.alipay import CHINA, AlipayPage
from ark_extensions.payments.configured import configured
from ark_extensions.payments.manual import ManualTransfer
from ark_extensions.payments.stripe import StripeCheckout
from ark_extensions.settings import Settings

SECRET = "whsec_test_only"


@dataclass
class Case:
    """A provider, and how its server would write a callback: (recharge id, amount, finished?, at) → (headers, body)."""

    provider: Provider
    currency: str
    write: Callable[[str, int, bool, datetime], tuple[dict[str, str], bytes]]


def stripe_case() -> Case:
    def write(recharge_id: str, amount: int, finished: bool, at: datetime) -> tuple[dict[str, str], bytes]:
        session = {
            "id": f"cs_{recharge_id}",
            "object": "checkout.session",
            "client_reference_id": recharge_id,
            "payment_status": "paid" if finished else "unpaid",
            "amount_total": amount * 100 // MICROS,
            "currency": "cny",
        }
        event = {
            "id": "evt_1",
            "object": "event",
            "type": "checkout.session.completed",
            "created": int(at.timestamp()),
            "data": {"object": session},
        }
        body = json.dumps(event)
        timestamp = int(at.timestamp())
        signed = hmac.new(SECRET.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
        assert stripe.WebhookSignature.verify_header(body, f"t={timestamp},v1={signed}", SECRET)  # the library agrees
        return {"Stripe-Signature": f"t={timestamp},v1={signed}"}, body.encode()

    return Case(StripeCheckout("sk_test_only", SECRET), "CNY", write)


def alipay_case(to: str = "app") -> Case:
    """``to``: the application that its server writes to; ours is ``app``."""
    ours, theirs = RSA.generate(2048), RSA.generate(2048)
    pem = {"our": ours.export_key().decode(), "their": theirs.publickey().export_key().decode()}
    server = AliPay(
        appid="app",
        app_private_key_string=theirs.export_key().decode(),
        alipay_public_key_string=ours.publickey().export_key().decode(),
        sign_type="RSA2",
    )

    def write(recharge_id: str, amount: int, finished: bool, at: datetime) -> tuple[dict[str, str], bytes]:
        fields = {
            "app_id": to,
            "notify_time": at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S"),
            "out_trade_no": recharge_id,
            "trade_no": f"2026{recharge_id}",
            "total_amount": format_amount(amount),
            "trade_status": "TRADE_SUCCESS" if finished else "WAIT_BUYER_PAY",
        }
        message = "&".join(f"{key}={fields[key]}" for key in sorted(fields))
        return {}, urlencode({**fields, "sign": server._sign(message), "sign_type": "RSA2"}).encode()

    return Case(AlipayPage("app", pem["our"], pem["their"]), "CNY", write)


CASES = {"stripe": stripe_case, "alipay": alipay_case}


@pytest.fixture(params=sorted(CASES), scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture
def now() -> datetime:
    """The moment of the test: the library of a provider compares a signature's time with its own clock."""
    return datetime.now(UTC).replace(microsecond=0)


def test_a_genuine_callback_is_read(case: Case, now: datetime) -> None:
    headers, body = case.write("abc123", 25 * MICROS, True, now)
    paid = case.provider.read_callback(headers=headers, body=body, now=now)
    assert (paid.recharge_id, paid.amount_micros, paid.currency, paid.at) == ("abc123", 25 * MICROS, case.currency, now)
    assert "abc123" in paid.reference


def test_an_unfinished_payment_is_no_payment(case: Case, now: datetime) -> None:
    headers, body = case.write("abc123", MICROS, False, now)
    with pytest.raises(NotAPayment):
        case.provider.read_callback(headers=headers, body=body, now=now)


def test_a_changed_body_is_forged(case: Case, now: datetime) -> None:
    headers, body = case.write("abc123", MICROS, True, now)
    for changed in (body.replace(b"abc123", b"abc124"), body + b" ", b"", b"\xff\xfe", b"sign=", b"{}"):
        if changed == body + b" " and case.provider.name == "alipay":
            changed = body + b"&extra=1"
        with pytest.raises(Forged):
            case.provider.read_callback(headers=headers, body=changed, now=now)


def test_a_foreign_or_missing_signature_is_forged(case: Case, now: datetime) -> None:
    other = CASES[case.provider.name]()
    headers, body = (other.write if case.provider.name == "alipay" else case.write)("abc123", MICROS, True, now)
    wrong = [({}, body)] if case.provider.name == "alipay" else [({}, body), ({"Stripe-Signature": "t=1,v1=00"}, body)]
    for bad_headers, bad_body in wrong:
        with pytest.raises(Forged):
            case.provider.read_callback(headers=bad_headers, body=bad_body, now=now)


def test_what_alipay_tells_another_application_is_no_payment_to_ours(now: datetime) -> None:
    case = alipay_case(to="another")
    headers, body = case.write("abc123", MICROS, True, now)
    with pytest.raises(Forged):
        case.provider.read_callback(headers=headers, body=body, now=now)


def test_an_old_callback_is_a_replay(case: Case, now: datetime) -> None:
    old = now - timedelta(days=3)
    if case.provider.name == "stripe":
        session = {"id": "cs", "client_reference_id": "abc", "payment_status": "paid", "amount_total": 100, "currency": "cny"}
        body = json.dumps({"id": "e", "object": "event", "type": "checkout.session.completed", "created": 1, "data": {"object": session}})
        stamp = int(old.timestamp())
        signed = hmac.new(SECRET.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
        headers, raw = {"Stripe-Signature": f"t={stamp},v1={signed}"}, body.encode()
    else:
        headers, raw = case.write("abc123", MICROS, True, old)
    with pytest.raises(Forged):
        case.provider.read_callback(headers=headers, body=raw, now=now)


def test_alipay_leads_to_a_signed_page() -> None:
    begun = alipay_case().provider.begin(
        recharge_id="abc",
        amount_micros=25_500_000,
        currency="CNY",
        return_url="https://ark.example/back",
        notify_url="https://ark.example/n",
    )
    assert begun.pay_url is not None
    query = parse_qs(urlsplit(begun.pay_url).query)
    content = json.loads(query["biz_content"][0])
    assert (content["out_trade_no"], content["total_amount"]) == ("abc", "25.50")
    assert len(base64.b64decode(query["sign"][0])) == 256


def test_a_provider_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.RequestsClient, "request_with_retries", _refuse)
    with pytest.raises(ProviderDown):
        stripe_case().provider.begin(recharge_id="a", amount_micros=MICROS, currency="CNY", return_url="http://x", notify_url="http://x")


def _refuse(*_: object, **__: object) -> None:
    raise stripe.APIConnectionError("no route")


def test_a_provider_without_a_server_takes_no_callbacks(now: datetime) -> None:
    provider = ManualTransfer("IBAN 123")
    begun = provider.begin(recharge_id="abcdef0123456789", amount_micros=MICROS, currency="CNY", return_url="", notify_url="")
    assert begun.pay_url is None
    with pytest.raises(Forged):
        provider.read_callback(headers={}, body=b"paid=1", now=now)


def test_a_transfer_names_its_reference() -> None:
    begun = ManualTransfer("IBAN 123").begin(
        recharge_id="abcdef0123456789", amount_micros=MICROS, currency="CNY", return_url="", notify_url=""
    )
    assert begun.instructions == "IBAN 123\nABCDEF012345"


def test_a_provider_whose_key_is_missing_or_whose_currency_is_wrong_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "secrets").mkdir()
    payments = {"providers": ["manual", "stripe", "alipay"], "manual_instructions": "IBAN 123"}
    assert list(configured(Settings(state_dir=tmp_path, payments=payments, currency="USD"))) == ["manual"]
    assert "stripe_secret_key is missing" in caplog.text and "CNY only" in caplog.text
