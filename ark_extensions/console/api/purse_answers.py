"""What goes out about terms, recharges, vouchers, bills and the operator's view."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from ark_extensions.console.api.answers import Money, Output, Price


class Asset(Output):
    """A term of monthly compute. ``renewal`` null: it is no longer sold."""

    id: str
    offer: str
    offer_name: str
    bought_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    auto_renew: bool
    used_by: str | None
    paid: Money
    renewal: Price | None


class Assets(Output):
    items: list[Asset]
    next: None = None


class Conversion(Output):
    """What comes back to the wallet for the days not begun, and what was paid for them and does not."""

    asset: str
    days_left: int
    back: Money
    lost: Money


class Provider(Output):
    name: str


class Providers(Output):
    items: list[Provider]
    next: None = None


class Recharge(Output):
    """Go to ``pay_url``, or follow ``instructions``."""

    id: str
    user: str
    provider: str
    amount: Money
    status: Literal["pending", "paid", "cancelled"]
    pay_url: str | None
    instructions: str | None
    created_at: datetime
    settled_at: datetime | None


class Recharges(Output):
    items: list[Recharge]
    next: None = None


class Redeemed(Output):
    credit: Money
    balance: Money


class Notice(Output):
    id: int
    at: datetime
    kind: str
    severity: Literal["info", "warning", "error"]
    message: str


class Notices(Output):
    items: list[Notice]
    next: None = None


class Line(Output):
    """One charge. ``quantity`` is seconds of use, months of a term, or bytes of a day on the netdisk."""

    at: datetime
    kind: str
    subject: str
    workspace: str | None
    offer: str | None
    from_at: datetime
    until_at: datetime
    quantity: int
    price: Price | None
    price_version: str | None
    amount: Money
    closed_because: str | None


class Amounts(Output):
    name: str
    amount: Money


class Day(Output):
    day: date
    kinds: list[Amounts]


class MonthBill(Output):
    month: str
    total: Money
    by_day: list[Day]
    by_workspace: list[Amounts]
    by_kind: list[Amounts]
    lines: list[Line]


class Batch(Output):
    id: str
    amount: Money
    count: int
    redeemed: int
    reason: str
    actor: str
    created_at: datetime
    expires_at: datetime


class Batches(Output):
    items: list[Batch]
    next: None = None


class NewBatch(Output):
    """The codes are shown this once."""

    id: str
    codes: list[str]


class Act(Output):
    id: int
    at: datetime
    actor: str
    act: str
    subject: str
    reason: str
    detail: dict[str, Any]


class Acts(Output):
    items: list[Act]
    next: str | None


class PriceVersion(Output):
    id: str
    subject: str
    price: Price
    valid_from: datetime


class Prices(Output):
    items: list[PriceVersion]
    next: None = None


class Revenue(Output):
    total: Money
    by_day: list[Amounts]
    by_offer: list[Amounts]
    owed: list[Amounts]


class Difference(Output):
    kind: str
    message: str
    rows: list[dict[str, Any]]


class Halt(Output):
    """Why nothing is posted now, and how many postings wait."""

    at: datetime
    found: list[str]
    waiting: int


class Differences(Output):
    """An empty list is the only right answer. ``halted``: posting is halted."""

    halted: Halt | None
    items: list[Difference]
    next: None = None
