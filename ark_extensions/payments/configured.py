"""Which providers an installation has: what the settings name, with keys from its secrets directory.

A provider's library is imported only where its provider is used: Stripe's alone takes longer than the rest of a start.
"""

from __future__ import annotations

import logging

from ark_extensions.payments import Provider
from ark_extensions.payments.manual import ManualTransfer
from ark_extensions.settings import Settings

log = logging.getLogger("ark")


def _manual(settings: Settings) -> Provider:
    return ManualTransfer(settings.payments.manual_instructions)


def _stripe(settings: Settings) -> Provider:
    from ark_extensions.payments.stripe import StripeCheckout

    return StripeCheckout(settings.secret("stripe_secret_key"), settings.secret("stripe_webhook_secret"))


def _alipay(settings: Settings) -> Provider:
    from ark_extensions.payments.alipay import AlipayPage

    if settings.currency != "CNY":
        raise ValueError("Alipay takes CNY only: leave it out of payments.providers, or set currency to CNY.")
    return AlipayPage(settings.payments.alipay_app_id, settings.secret("alipay_private_key"), settings.secret("alipay_public_key"))


MAKERS = {"manual": _manual, "stripe": _stripe, "alipay": _alipay}


def configured(settings: Settings) -> dict[str, Provider]:
    """By name, in the settings' order. One that cannot be used is left out, with the reason in the log: the console starts."""
    found: dict[str, Provider] = {}
    for name in settings.payments.providers:
        try:
            found[name] = MAKERS[name](settings)
        except FileNotFoundError as missing:
            log.error("Recharge by %s is off: its key %s is missing.", name, missing.filename)
        except ValueError as wrong:
            log.error("Recharge by %s is off: %s", name, wrong)
    return found
