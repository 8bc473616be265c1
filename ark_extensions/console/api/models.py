"""What comes in: the bodies and queries of the API. Unknown keys are refused, every text and number is bounded.

A rule that the domain has is the domain's: its sentence reaches the caller at the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from ark_extensions.domain.autostop import MAX_AHEAD, MAX_IDLE_MINUTES, MIN_IDLE_MINUTES, check_idle_minutes
from ark_extensions.domain.errors import ArkError, InvalidField
from ark_extensions.domain.money import MAX_AMOUNT_MICROS, parse_amount
from ark_extensions.domain.users import check_email
from ark_extensions.domain.workspaces import DISPLAY_NAME_MAX, NAME_MAX, check_display_name, check_name
from ark_extensions.usecases.orders import MAX_MOUNTS
from ark_extensions.usecases.views import WorkspaceOrder

LIMIT_MAX = 500
DISK_GIB_MAX = 1_000_000
AUTO_STOP_MINUTES_MAX = int(MAX_AHEAD.total_seconds()) // 60
#: longer texts are refused before any rule looks at them; shorter ones get the rule's own sentence
TEXT_MAX = 10_000
#: the type of a validation error that carries a sentence of the domain
RULE = "ark_rule"


class Input(BaseModel):
    """Base of all bodies and queries."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _rule(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rule of the domain as a validator: pydantic knows where the value stood, the rule knows the sentence."""

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except ArkError as error:
            context = {"msgid": error.msgid, "params": dict(error.params), "code": error.code, "field": error.field}
            raise PydanticCustomError(RULE, "refused", context) from error

    return checked


def _printable(text: str) -> str:
    if any(not c.isprintable() for c in text):
        raise InvalidField("This has characters that cannot be shown. Remove line breaks and control characters.")
    return text


def _optional_disk(value: Any) -> Any:
    return 0 if value is None else value


def _time(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > 40 or "T" not in value:
        raise ValueError("not a time")
    return value


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("beyond the calendar") from error


def _documented(**schema: Any) -> Any:
    return Field(json_schema_extra=schema)


RequestId = Annotated[
    StrictStr,
    Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$", description="made by the client; the same id again is the same order"),
]
CatalogId = Annotated[StrictStr, Field(min_length=1, max_length=64), AfterValidator(_rule(_printable))]
ItemRef = Annotated[
    StrictStr, Field(min_length=1, max_length=80, description="`name` or `name@version`"), AfterValidator(_rule(_printable))
]
Name = Annotated[
    StrictStr,
    Field(max_length=TEXT_MAX),
    AfterValidator(_rule(check_name)),
    _documented(maxLength=NAME_MAX, pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
]
DisplayName = Annotated[
    StrictStr, Field(max_length=TEXT_MAX), AfterValidator(_rule(check_display_name)), _documented(maxLength=DISPLAY_NAME_MAX)
]
DiskGib = Annotated[StrictInt, Field(ge=0, le=DISK_GIB_MAX, description="0: no data disk"), BeforeValidator(_optional_disk)]
IdleMinutes = Annotated[
    StrictInt, AfterValidator(_rule(check_idle_minutes)), _documented(minimum=MIN_IDLE_MINUTES, maximum=MAX_IDLE_MINUTES)
]
Moment = Annotated[AwareDatetime, BeforeValidator(_time), AfterValidator(_utc)]
Line = Annotated[StrictStr, Field(min_length=1, max_length=200), AfterValidator(_rule(_printable))]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str | None, Field(max_length=100, description="`next` of the page before")]


class AutoStop(Input):
    """When to stop by itself: after a span from now, or at a time; one of the two."""

    after_minutes: Annotated[StrictInt, Field(ge=1, le=AUTO_STOP_MINUTES_MAX)] | None = None
    at: Moment | None = None

    def model_post_init(self, context: Any) -> None:
        if (self.after_minutes is None) == (self.at is None):
            raise InvalidField("Give either after how many minutes it stops, or at what time.", field="auto_stop")


_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")


def _amount(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidField("An amount is a text such as “20.00”, so that no digit is lost.")
    if not _AMOUNT.fullmatch(value):
        raise InvalidField("An amount is a plain decimal number such as “20.00”, with at most six decimals.")
    micros = parse_amount(value)
    if not 0 < micros <= MAX_AMOUNT_MICROS:
        raise InvalidField("An amount is more than zero and at most one hundred million.")
    return value


class Budget(Input):
    """What it may cost: one run, and its whole life. It stops when that is used up; null: no limit."""

    run: Annotated[str, BeforeValidator(_rule(_amount))] | None = None
    total: Annotated[str, BeforeValidator(_rule(_amount))] | None = None

    def micros(self, amount: str | None) -> int | None:
        return None if amount is None else parse_amount(amount)


class QuoteBody(Input):
    """What a workspace is made of; ids only. Prices, images' references and quantities are the platform's."""

    offer: CatalogId | None = None
    asset: CatalogId | None = None
    image: CatalogId
    name: Name | None = None
    display_name: DisplayName | None = None
    data_disk_gib: DiskGib = 0
    datasets: Annotated[tuple[ItemRef, ...], Field(max_length=MAX_MOUNTS)] = ()
    models: Annotated[tuple[ItemRef, ...], Field(max_length=MAX_MOUNTS)] = ()
    auto_stop: AutoStop | None = None
    idle_stop_minutes: IdleMinutes | None = None
    budget: Budget | None = None
    request_id: RequestId | None = None

    def order(self) -> WorkspaceOrder:
        stop = self.auto_stop
        return WorkspaceOrder(
            request_id=self.request_id or "",
            offer=self.offer,
            asset=self.asset,
            image=self.image,
            name=self.name,
            display_name=self.display_name,
            data_disk_gib=self.data_disk_gib,
            datasets=self.datasets,
            models=self.models,
            auto_stop_after_minutes=stop.after_minutes if stop else None,
            auto_stop_at=stop.at if stop else None,
            idle_stop_minutes=self.idle_stop_minutes,
            budget_run_micros=self.budget.micros(self.budget.run) if self.budget else None,
            budget_total_micros=self.budget.micros(self.budget.total) if self.budget else None,
        )


class CreateBody(QuoteBody):
    """An order of a workspace. The same ``request_id`` again answers the first result."""

    request_id: RequestId


class StartBody(Input):
    """A start may change the compute: to an offer, or to monthly compute; not both."""

    offer: CatalogId | None = None
    asset: CatalogId | None = None


class ChangeBody(Input):
    """What is left out stays as it is; ``null`` cancels a stop."""

    display_name: DisplayName = ""
    auto_stop: AutoStop | None = None
    idle_stop_minutes: IdleMinutes | None = None
    budget: Budget | None = None


class ReleaseBody(Input):
    """``confirm`` repeats the workspace's name."""

    confirm: Annotated[StrictStr, Field(max_length=TEXT_MAX)]


class MeBody(Input):
    """What is left out stays; ``email`` null: no notices by mail. ``mailed``: which notices are."""

    mailed: Literal["all", "warnings", "none"] | None = None
    language: Literal["zh", "en"] | None = None
    email: Annotated[StrictStr, Field(max_length=320), AfterValidator(_rule(check_email))] | None = None


class CreditBody(Input):
    """Money given to a user's wallet, with the reason that stands in the journal. What is left at ``expires_at`` goes back."""

    expires_at: Moment | None = None

    amount: Annotated[str, BeforeValidator(_rule(_amount))]
    reason: Line
    request_id: RequestId


class WithdrawBody(Input):
    """What is taken off sale. Workspaces that have it keep it."""

    what: Literal["offer", "image", "dataset", "model"]
    id: CatalogId


class OffersQuery(Input):
    plan: Literal["payg", "monthly"] | None = None
    gpu_model: Annotated[str, Field(max_length=100, description="`cpu`: offers without a GPU")] | None = None
    min_gpu_count: Annotated[int, Field(ge=0, le=1024)] | None = None
    min_memory_gib: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    max_price: Annotated[str, BeforeValidator(_rule(_amount))] | None = None
    available: bool | None = None
    limit: Limit = LIMIT_MAX
    cursor: Cursor = None


class PageQuery(Input):
    limit: Limit = 100
    cursor: Cursor = None


class ListQuery(Input):
    limit: Limit = LIMIT_MAX
    cursor: Cursor = None


class EventsQuery(PageQuery):
    advanced: Annotated[bool, Field(description="with the raw detail")] = False


class StreamQuery(Input):
    after: Annotated[int, Field(ge=0, le=2**62, description="resume after this event; `Last-Event-ID` wins")] | None = None
    advanced: bool = False


def _month(text: str) -> str:
    try:
        date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise InvalidField("A month is written as 2026-11.") from error
    if len(text) != 7 or not datetime(2000, 1, 1).date() <= date.fromisoformat(f"{text}-01") <= datetime(2200, 1, 1).date():
        raise InvalidField("A month is written as 2026-11.")
    return text


class MonthQuery(Input):
    month: Annotated[str, AfterValidator(_rule(_month)), _documented(pattern=r"^\d{4}-\d{2}$")] | None = None

    def first_day(self) -> date | None:
        return None if self.month is None else date.fromisoformat(f"{self.month}-01")


class BillsQuery(MonthQuery):
    limit: Limit = LIMIT_MAX
    cursor: Cursor = None
