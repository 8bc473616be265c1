"""Prices: an operator sets one from a moment on. A past version never changes; what runs or was sold keeps its price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.money import MAX_AMOUNT_MICROS
from ark_extensions.domain.offers import PriceVersion
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.market import prices


@dataclass(frozen=True)
class PriceHistory:
    subject: str
    versions: tuple[PriceVersion, ...]


def schedule_price(
    storage: Storage, *, subject: str, price_micros: int, valid_from: datetime, actor: str, reason: str, now: datetime
) -> PriceVersion:
    """A new price version of an offer (``offer:ID``) or disk size (``disk:GIB``), from now or a later moment on."""
    reason = check_reason(reason)
    if not 0 <= price_micros <= MAX_AMOUNT_MICROS:
        raise InvalidField("A price is between 0 and 100,000,000.", field="price")
    if valid_from < now:
        raise InvalidField("A price begins now or later: the past does not change.", field="valid_from")
    with storage.write() as connection:
        known = prices(connection, [subject]).get(subject)
        if not known:
            raise NotFound("The catalogue has no {what} {id}.", what="price", id=subject[:80])
        if any(v.valid_from == valid_from for v in known):
            raise Conflict("A price from that moment on is there already.", field="valid_from", code="price_exists")
        version = PriceVersion(new_id(), subject, known[0].per, price_micros, valid_from)
        row = {"id": version.id, "subject": subject, "per": version.per, "price_micros": price_micros, "valid_from": valid_from}
        connection.execute(t.price_versions.insert().values(**row))
        detail = {"price_micros": price_micros, "valid_from": valid_from.isoformat()}
        log_act(connection, at=now, actor=actor, act="price", subject=subject, reason=reason, detail=detail)
    return version


def price_history(storage: Storage) -> list[PriceHistory]:
    """All price versions by subject, newest first."""
    with storage.read() as connection:
        subjects = connection.execute(select(t.price_versions.c.subject).distinct().order_by(t.price_versions.c.subject)).scalars().all()
        known = prices(connection, subjects)
    return [PriceHistory(s, tuple(sorted(known[s], key=lambda v: v.valid_from, reverse=True))) for s in subjects]
