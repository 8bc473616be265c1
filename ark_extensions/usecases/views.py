"""What the doors show: frozen records that use cases return. Money in micros, times aware UTC, sentences as msgids.

A ``Sentence`` is an English gettext msgid with its parameters; the door translates it (`web/i18n.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from ark_extensions.domain.offers import Offer
from ark_extensions.domain.workspaces import State

T = TypeVar("T")


@dataclass(frozen=True)
class Sentence:
    """``params`` values are str or int; a datetime travels as ISO text under a key ending in ``_at``, money in micros
    under a key ending in ``_micros``: the door formats them for its reader."""

    msgid: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UserView:
    name: str
    admin: bool
    language: str | None
    created_at: datetime
    email: str | None = None
    mailed: str = "all"


@dataclass(frozen=True)
class OfferView:
    offer: Offer
    price_micros: int
    per: str
    price_version_id: str
    free: int
    total: int


@dataclass(frozen=True)
class DiskView:
    size_gib: int
    price_micros_per_day: int


@dataclass(frozen=True)
class ItemView:
    """A dataset or model with its versions, newest first: (version, size_bytes, file_count, created_at)."""

    kind: str
    name: str
    title: str
    description: str
    license: str
    versions: tuple[tuple[int, int, int, datetime], ...]


@dataclass(frozen=True)
class WorkspaceOrder:
    """What a person asks for. Ids only; compute is an offer or an asset. ``datasets``/``models``: ``name`` or ``name@version``."""

    request_id: str
    offer: str | None
    image: str
    asset: str | None = None
    name: str | None = None
    display_name: str | None = None
    data_disk_gib: int = 0
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    auto_stop_after_minutes: int | None = None
    auto_stop_at: datetime | None = None
    idle_stop_minutes: int | None = None
    budget_run_micros: int | None = None
    budget_total_micros: int | None = None


@dataclass(frozen=True)
class Quote:
    """``now_micros``: taken at once; ``per_day_stopped_micros``: what the disk costs while stopped; ``first_hour_micros``:
    what the wallet must hold; ``runway`` at the whole burn with this workspace running (None: nothing burns)."""

    now_micros: int
    per_hour_micros: int
    per_day_stopped_micros: int
    first_hour_micros: int
    available_micros: int
    runway: timedelta | None


@dataclass(frozen=True)
class WorkspaceView:
    id: str
    owner: str
    name: str
    display_name: str
    state: State
    offer: Offer
    price_micros_per_hour: int
    image_id: str
    image_name: str
    data_disk_gib: int
    datasets: tuple[tuple[str, int], ...]
    models: tuple[tuple[str, int], ...]
    auto_stop_at: datetime | None
    idle_stop_minutes: int | None
    created_at: datetime
    started_at: datetime | None
    seen_at: datetime | None
    cost_this_run_micros: int
    cost_total_micros: int
    restorable_until: datetime | None
    why: tuple[Sentence, ...]
    event_cursor: int
    asset_id: str | None = None
    budget_run_micros: int | None = None
    budget_total_micros: int | None = None
    #: what its own disk costs: the price when it was bought, not the one on sale now
    disk_price_micros_per_day: int = 0


@dataclass(frozen=True)
class EventView:
    id: int
    workspace_id: str
    workspace_name: str
    at: datetime
    kind: str
    severity: str  # info | warning | error
    message: Sentence
    actor: str
    detail: Mapping[str, Any]
    owner: str = ""


@dataclass(frozen=True)
class WalletView:
    balance_micros: int
    burn_micros_per_hour: int
    runway: timedelta | None
    #: gifts still to spend: (micros, when they expire), spent in this order before what was paid in
    credits: tuple[tuple[int, datetime | None], ...] = ()
    frozen_reason: str | None = None
    #: of the balance, what is kept for the rest of the first hour of each workspace that is paid by the hour
    held_micros: int = 0

    @property
    def available_micros(self) -> int:
        """What something new may cost."""
        return self.balance_micros - self.held_micros


@dataclass(frozen=True)
class TransactionView:
    """``amount_micros``: what the wallet gained (negative: paid)."""

    id: int
    at: datetime
    kind: str
    amount_micros: int
    balance_after_micros: int
    subject: str
    memo: str
    actor: str


@dataclass(frozen=True)
class RunView:
    """One run of one workspace, and what it has cost so far: what is charged of it stands on the bill (`bills.BillLine`)."""

    id: str
    workspace_name: str
    offer_name: str
    opened_at: datetime
    closed_at: datetime | None
    seconds: int
    price_micros_per_hour: int
    price_version_id: str
    cost_micros: int
    close_reason: str | None


@dataclass(frozen=True)
class StopOrder:
    """A loop's decision that the door must carry out at the Hub: stop this server."""

    workspace_id: str
    owner: str
    name: str
    reason: str


@dataclass(frozen=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next: int | None
