"""What goes out: the models of the API's answers, as the OpenAPI document shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Output(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class Money(Output):
    """A decimal string with its currency: no digit is lost."""

    amount: str = Field(examples=["3.20"])
    currency: str = Field(examples=["CNY"])


class Price(Money):
    per: Literal["hour", "day", "month"]


class Gpu(Output):
    """``memory_gib`` is of one GPU."""

    model: str
    count: int
    memory_gib: int


class Offer(Output):
    """``available``: how many are free now; ``total``: how many there are."""

    id: str
    name: str
    plan: Literal["payg", "monthly"]
    price: Price
    price_version: str
    gpu: Gpu | None
    vcpu: int
    memory_gib: float
    system_disk_gib: int
    available: int
    total: int


class Offers(Output):
    items: list[Offer]
    next: str | None


class Image(Output):
    id: str
    name: str
    description: str
    framework: str
    size_bytes: int


class Images(Output):
    items: list[Image]
    next: str | None


class Disk(Output):
    size_gib: int
    price: Price


class Disks(Output):
    items: list[Disk]
    next: str | None


class ItemVersion(Output):
    version: int
    size_bytes: int
    file_count: int
    created_at: datetime


class Item(Output):
    """A dataset or model; ``size_bytes`` is of its newest version, ``path`` where it appears in a workspace."""

    id: str
    name: str
    title: str
    description: str
    license: str
    size_bytes: int
    path: str
    versions: list[ItemVersion]


class Items(Output):
    items: list[Item]
    next: str | None


class Quote(Output):
    """``first_hour`` is what the wallet must hold; ``runway_hours`` null: nothing burns."""

    now: Money
    per_hour: Money
    per_day_stopped: Money
    first_hour: Money
    available: Money
    runway_hours: float | None


class Cost(Output):
    this_run: Money
    total: Money


class Budget(Output):
    """What it may cost before it stops; null: no limit."""

    run: Money | None
    total: Money | None


class Workspace(Output):
    """``offer``, ``image``, ``datasets`` and ``models`` can be sent in a new order as they are. ``why``: why it runs, when it
    will stop, what it will cost. ``event_cursor``: where a stream of its events goes on from."""

    id: str
    name: str
    owner: str
    display_name: str
    state: Literal["creating", "starting", "running", "stopping", "stopped", "failed", "released"]
    offer: str
    offer_name: str
    asset: str | None
    image: str
    image_name: str
    data_disk_gib: int
    datasets: list[str]
    models: list[str]
    price_per_hour: Money
    auto_stop_at: datetime | None
    idle_stop_minutes: int | None
    budget: Budget
    created_at: datetime
    started_at: datetime | None
    cost: Cost
    why: list[str]
    url: str
    restorable_until: datetime | None
    event_cursor: int


class Workspaces(Output):
    items: list[Workspace]
    next: str | None


class Event(Output):
    """``detail`` (raw) only with ``advanced=true``."""

    id: int
    workspace: str
    at: datetime
    kind: str
    severity: Literal["info", "warning", "error"]
    message: str
    actor: str
    detail: dict[str, Any] | None


class Events(Output):
    items: list[Event]
    next: str | None


class Ssh(Output):
    """Copyable: a command for a shell, lines for ``~/.ssh/config``, lines for ``~/.ssh/known_hosts``."""

    command: str
    config: str
    known_hosts: str


class Access(Output):
    """Where to open a running workspace; ``ssh`` is null where there is no gateway."""

    jupyter: str
    vscode: str
    ssh: Ssh | None


class Credit(Money):
    """A gift that is still to be spent; null: it does not expire."""

    expires_at: datetime | None


class Wallet(Output):
    """``balance`` includes the credits, which are spent first; ``runway_hours`` null: nothing burns."""

    balance: Money
    held: Money
    available: Money
    credits: list[Credit]
    burn_per_hour: Money
    runway_hours: float | None


class Transaction(Output):
    """``amount`` is what the wallet gained (negative: paid)."""

    id: int
    at: datetime
    kind: str
    amount: Money
    balance_after: Money
    subject: str
    memo: str
    actor: str


class Transactions(Output):
    items: list[Transaction]
    next: str | None


class BillLine(Output):
    """One run of one workspace."""

    run: str
    workspace: str
    offer: str
    started_at: datetime
    ended_at: datetime | None
    seconds: int
    price_per_hour: Money
    price_version: str
    cost: Money
    close_reason: str | None


class Bills(Output):
    """``total`` is of all runs of the month, whatever the page shows."""

    items: list[BillLine]
    next: str | None
    total: Money


class Limits(Output):
    workspaces: int
    data_disk_default_gib: int
    netdisk_free_gib: int
    recycle_days: int


class Me(Output):
    name: str
    email: str | None
    mailed: Literal["all", "warnings", "none"]
    admin: bool
    language: Literal["zh", "en"]
    currency: str
    limits: Limits


class Person(Output):
    name: str
    admin: bool
    language: str | None
    created_at: datetime


class People(Output):
    items: list[Person]
    next: str | None


class Balance(Output):
    user: str
    balance: Money


class ErrorBody(Output):
    code: str = Field(examples=["insufficient_balance"])
    message: str = Field(description="a sentence with a way out, in the language of the caller")
    field: str | None
    detail: dict[str, Any]


class Error(Output):
    error: ErrorBody
