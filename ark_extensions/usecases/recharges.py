"""Recharges: begun by a user, paid when the provider (or an operator) says so, posted exactly once.

A callback may come twice, late, out of order, for another amount or for a recharge that is not there: only a pending
recharge of the same provider, amount and currency is paid, and its posting's key is the recharge itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.ledger import recharge as recharge_posting
from ark_extensions.domain.money import MICROS
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import recharges
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.journal import post
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.views import Page, Sentence

MIN_MICROS = MICROS
MAX_MICROS = 1_000_000 * MICROS
#: a payment page that nobody finished is forgotten after this
PENDING_FOR = timedelta(days=7)
MAX_PENDING = 20


@dataclass(frozen=True)
class RechargeView:
    id: str
    owner: str
    provider: str
    amount_micros: int
    status: str
    pay_url: str | None
    created_at: datetime
    settled_at: datetime | None


def _view(row: Row[Any]) -> RechargeView:
    return RechargeView(row.id, row.owner, row.provider, row.amount_micros, row.status, row.pay_url, row.created_at, row.settled_at)


def _by_id(connection: Connection, recharge_id: str) -> Row[Any] | None:
    return connection.execute(select(recharges).where(recharges.c.id == recharge_id)).first()


def begin_recharge(storage: Storage, *, user: str, request_id: str, provider: str, amount_micros: int, now: datetime) -> RechargeView:
    """Record a recharge as pending; the same ``request_id`` answers the first. The provider is asked afterwards."""
    if not MIN_MICROS <= amount_micros <= MAX_MICROS or amount_micros % (MICROS // 100):
        raise InvalidField("A recharge is between 1 and 1,000,000, in whole cents.", field="amount")
    c = recharges.c
    with storage.write() as connection:
        known = connection.execute(select(recharges).where(c.owner == user, c.request_id == request_id)).first()
        if known is not None:
            if (known.provider, known.amount_micros) != (provider, amount_micros):
                raise Conflict(
                    "This request was already used for another recharge. Reload the page and try again.", code="request_id_reused"
                )
            return _view(known)
        open_ones = connection.execute(select(c.id).where(c.owner == user, c.status == "pending", c.created_at > now - PENDING_FOR)).all()
        if len(open_ones) >= MAX_PENDING:
            raise Conflict("You have {max} unfinished recharges. Finish or cancel one first.", code="too_many", max=MAX_PENDING)
        recharge_id = new_id()
        row = {"id": recharge_id, "owner": user, "request_id": request_id, "provider": provider, "amount_micros": amount_micros}
        connection.execute(recharges.insert().values(**row, status="pending", created_at=now))
        begun = _by_id(connection, recharge_id)
        assert begun is not None
        return _view(begun)


def provider_began(storage: Storage, *, recharge_id: str, reference: str | None, pay_url: str | None) -> None:
    """Keep where the user pays, so that the same request leads to the same page."""
    with storage.write() as connection:
        pending = update(recharges).where(recharges.c.id == recharge_id, recharges.c.status == "pending")
        connection.execute(pending.values(provider_reference=reference, pay_url=pay_url))


def get_recharge(storage: Storage, *, user: str, recharge_id: str) -> RechargeView:
    with storage.read() as connection:
        row = _by_id(connection, recharge_id)
    if row is None or row.owner != user:
        raise NotFound("There is no such recharge.")
    return _view(row)


def list_recharges(storage: Storage, *, user: str | None = None, status: str | None = None, limit: int = 100) -> Page[RechargeView]:
    """Newest first; ``user`` None: everybody's (an operator confirms transfers)."""
    c = recharges.c
    query = select(recharges).order_by(c.created_at.desc(), c.id).limit(limit)
    if user is not None:
        query = query.where(c.owner == user)
    if status is not None:
        query = query.where(c.status == status)
    with storage.read() as connection:
        return Page(tuple(_view(row) for row in connection.execute(query)), None)


def recharge_paid(
    storage: Storage,
    *,
    recharge_id: str,
    provider: str,
    reference: str,
    amount_micros: int,
    currency: str,
    own_currency: str,
    now: datetime,
) -> bool:
    """The provider says that it was paid: post it once. False when it was posted before.

    Raises NotFound for a recharge that is not this provider's, Conflict for another amount or currency.
    """
    with storage.write() as connection:
        row = _by_id(connection, recharge_id)
        if row is None or row.provider != provider:
            raise NotFound("There is no such recharge.")
        if row.amount_micros != amount_micros or currency != own_currency:
            raise Conflict("The payment is for another amount than the recharge.", code="amount_differs")
        return _settle(connection, row, reference, f"{provider} {reference}", row.owner, now)


def _settle(connection: Connection, row: Row[Any], reference: str, memo: str, actor: str, now: datetime) -> bool:
    if row.status == "paid":
        return False
    # money that arrived counts even when its owner had given the recharge up
    values = {"status": "paid", "provider_reference": reference, "settled_at": now}
    connection.execute(update(recharges).where(recharges.c.id == row.id).values(**values))
    about = {"key": f"recharge:{row.id}", "user": row.owner, "subject": f"recharge:{row.id}", "memo": memo, "actor": actor}
    post(connection, [recharge_posting(amount_micros=row.amount_micros, at=now, **about)])
    message = Sentence("{paid_micros} arrived in your wallet.", {"paid_micros": row.amount_micros})
    tell(connection, owner=row.owner, at=now, kind="recharged", message=message)
    return True


def confirm_transfer(storage: Storage, *, recharge_id: str, actor: str, reason: str, now: datetime) -> RechargeView:
    """An operator saw the transfer arrive. Only for recharges by transfer; a second confirmation changes nothing."""
    reason = check_reason(reason)
    with storage.write() as connection:
        row = _by_id(connection, recharge_id)
        if row is None or row.provider != "manual":
            raise NotFound("There is no such transfer.")
        if _settle(connection, row, f"transfer {row.id}", reason, actor, now):
            detail = {"recharge": row.id, "amount_micros": row.amount_micros}
            log_act(connection, at=now, actor=actor, act="confirm_transfer", subject=row.owner, reason=reason, detail=detail)
        after = _by_id(connection, recharge_id)
        assert after is not None
        return _view(after)


def cancel_recharge(storage: Storage, *, user: str, recharge_id: str, now: datetime) -> RechargeView:
    """The user gives a pending recharge up; one that is paid stays."""
    with storage.write() as connection:
        row = _by_id(connection, recharge_id)
        if row is None or row.owner != user:
            raise NotFound("There is no such recharge.")
        pending = update(recharges).where(recharges.c.id == recharge_id, recharges.c.status == "pending")
        connection.execute(pending.values(status="cancelled", settled_at=now))
        after = _by_id(connection, recharge_id)
        assert after is not None
        return _view(after)
