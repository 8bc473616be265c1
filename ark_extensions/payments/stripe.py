"""Stripe Checkout through Stripe's own library: a hosted page to pay on, callbacks with checked signatures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import stripe

from ark_extensions.domain.money import MICROS
from ark_extensions.payments import Begun, Forged, NotAPayment, Paid, ProviderDown

#: a callback whose signature is older than this is a replay (Stripe's own default is 300 s)
TOLERANCE_SECONDS = 300
TIMEOUT_SECONDS = 20
#: currencies that Stripe counts in whole units (docs.stripe.com/currencies#zero-decimal)
ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())


def _unit_micros(currency: str) -> int:
    return MICROS if currency.upper() in ZERO_DECIMAL else MICROS // 100


class StripeCheckout:
    """``secret_key`` and ``webhook_secret`` come from the installation's secrets, never from the settings file."""

    name = "stripe"
    acknowledgement = b"ok"

    def __init__(self, secret_key: str, webhook_secret: str) -> None:
        http = stripe.RequestsClient(timeout=TIMEOUT_SECONDS)
        self._client = stripe.StripeClient(secret_key, http_client=http)
        self._webhook_secret = webhook_secret

    def begin(self, *, recharge_id: str, amount_micros: int, currency: str, return_url: str, notify_url: str) -> Begun:
        item = {
            "quantity": 1,
            "price_data": {
                "currency": currency.lower(),
                "unit_amount": amount_micros // _unit_micros(currency),
                "product_data": {"name": "Ark"},
            },
        }
        try:
            session = self._client.v1.checkout.sessions.create(
                params={
                    "mode": "payment",
                    "client_reference_id": recharge_id,
                    "line_items": [item],
                    "success_url": return_url,
                    "cancel_url": return_url,
                },
                options={"idempotency_key": recharge_id},
            )
        except stripe.StripeError as failed:
            raise ProviderDown(failed.user_message or type(failed).__name__) from failed
        return Begun(session.id, pay_url=session.url)

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, now: datetime) -> Paid:
        signature = headers.get("Stripe-Signature", "")
        try:
            event = stripe.Webhook.construct_event(body, signature, self._webhook_secret, tolerance=TOLERANCE_SECONDS)
        except (ValueError, stripe.SignatureVerificationError) as wrong:
            raise Forged(str(wrong)) from wrong
        session = event["data"]["object"]
        finished = ("checkout.session.completed", "checkout.session.async_payment_succeeded")
        if event["type"] not in finished or session["payment_status"] != "paid":
            raise NotAPayment(event["type"])
        currency = str(session["currency"]).upper()
        at = datetime.fromtimestamp(event["created"], UTC)
        return Paid(session["client_reference_id"] or "", session["id"], session["amount_total"] * _unit_micros(currency), currency, at)
