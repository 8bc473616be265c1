"""What comes in about money beyond pay-as-you-go: terms, recharges, vouchers, budgets, the operator's acts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from ark_extensions.console.api.models import CatalogId, Input, Limit, Line, Moment, PageQuery, RequestId, _amount, _rule
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.money import MAX_AMOUNT_MICROS, parse_amount

Amount = Annotated[str, BeforeValidator(_rule(_amount))]
Months = Annotated[StrictInt, Field(description="1 to 12")]


def _either_way(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidField("An amount is a text such as “20.00”, so that no digit is lost.")
    try:
        micros = parse_amount(value)
    except ValueError as wrong:
        raise InvalidField("An amount is a plain decimal number such as “20.00”, with at most six decimals.") from wrong
    if not 0 < abs(micros) <= MAX_AMOUNT_MICROS:
        raise InvalidField("A correction is not zero and at most one hundred million.")
    return value


class BuyBody(Input):
    """A term of monthly compute."""

    request_id: RequestId
    offer: CatalogId
    months: Months
    auto_renew: StrictBool = False


class RenewBody(Input):
    request_id: RequestId
    months: Months


class AssetBody(Input):
    auto_renew: StrictBool


class RechargeBody(Input):
    request_id: RequestId
    provider: CatalogId
    amount: Amount


class VoucherBody(Input):
    code: Annotated[StrictStr, Field(min_length=1, max_length=100)]


class GrowBody(Input):
    """A data disk only grows."""

    data_disk_gib: StrictInt


class ActBody(Input):
    """An operator's act on a wallet: an amount, and the reason that is kept."""

    amount: Amount
    reason: Line
    request_id: RequestId


class RefundBody(ActBody):
    """``subject``: the bill line's, such as ``run:…``."""

    subject: Line


class CorrectBody(Input):
    amount: Annotated[str, BeforeValidator(_rule(_either_way))]
    reason: Line
    request_id: RequestId


class FreezeBody(Input):
    frozen: StrictBool
    reason: Line


class ReasonBody(Input):
    reason: Line


class VouchersBody(Input):
    """A batch of codes. ``credit_days``: what is redeemed expires after so many days."""

    request_id: RequestId
    amount: Amount
    count: Annotated[StrictInt, Field(ge=1, le=10_000)]
    expires_at: Moment
    reason: Line
    credit_days: Annotated[StrictInt, Field(ge=1, le=3650)] | None = None


class PriceBody(Input):
    """A price from a moment on (null: now)."""

    subject: Line
    price: Annotated[StrictStr, Field(max_length=20)]
    valid_from: Moment | None = None
    reason: Line


class ActsQuery(PageQuery):
    """Who did what to whom; what is left out does not matter."""

    actor: Line | None = None
    act: Line | None = None
    subject: Line | None = None


class RechargesQuery(Input):
    status: Literal["pending", "paid", "cancelled"] | None = None
    limit: Limit = 100


class SpanQuery(Input):
    """Days back from now."""

    days: Annotated[int, Field(ge=1, le=366)] = 30
