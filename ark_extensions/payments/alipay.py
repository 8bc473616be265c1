"""Alipay page pay through the alipay SDK: RSA2-signed requests and callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl

from alipay import AliPay

from ark_extensions.domain.money import format_amount, parse_amount
from ark_extensions.payments import Begun, Forged, NotAPayment, Paid

GATEWAY = "https://openapi.alipay.com/gateway.do"
#: Alipay writes times of China without a zone
CHINA = timezone(timedelta(hours=8))
#: Alipay repeats a notification for up to 25 hours; an older one is a replay
MAX_AGE = timedelta(hours=26)


class AlipayPage:
    """Keys are PEM texts of the installation's secrets: the application's private key and Alipay's public key."""

    name = "alipay"
    acknowledgement = b"success"

    def __init__(self, app_id: str, private_key: str, alipay_public_key: str) -> None:
        self._app_id = app_id
        self._sdk = AliPay(
            appid=app_id,
            app_notify_url=None,
            app_private_key_string=private_key,
            alipay_public_key_string=alipay_public_key,
            sign_type="RSA2",
        )

    def begin(self, *, recharge_id: str, amount_micros: int, currency: str, return_url: str, notify_url: str) -> Begun:
        query = self._sdk.api_alipay_trade_page_pay(
            subject="Ark",
            out_trade_no=recharge_id,
            total_amount=format_amount(amount_micros),
            return_url=return_url,
            notify_url=notify_url,
        )
        return Begun(None, pay_url=f"{GATEWAY}?{query}")

    def read_callback(self, *, headers: Mapping[str, str], body: bytes, now: datetime) -> Paid:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        signature = fields.pop("sign", "")
        try:
            genuine = bool(signature) and self._sdk.verify(dict(fields), signature)
        except Exception as wrong:  # the SDK raises whatever its base64 and RSA layers raise
            raise Forged(type(wrong).__name__) from wrong
        if not genuine or fields.get("app_id") != self._app_id:
            raise Forged("the signature does not verify")
        at = datetime.strptime(fields["notify_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
        if now - at > MAX_AGE:
            raise Forged("the notification is too old")
        if fields.get("trade_status") not in ("TRADE_SUCCESS", "TRADE_FINISHED"):
            raise NotAPayment(fields.get("trade_status", ""))
        return Paid(fields["out_trade_no"], fields["trade_no"], parse_amount(fields["total_amount"]), "CNY", at)
