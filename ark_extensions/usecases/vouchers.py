"""Vouchers: made in batches by an operator, redeemed once by a user, kept only as hashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from ark_extensions.domain.errors import Conflict, InvalidField
from ark_extensions.domain.money import MAX_AMOUNT_MICROS
from ark_extensions.domain.vouchers import MAX_BATCH, derive, hash_code, write_code
from ark_extensions.storage import Storage
from ark_extensions.storage.tables_money import voucher_batches, vouchers
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.gifts import give
from ark_extensions.usecases.identifiers import new_id
from ark_extensions.usecases.journal import balance_of


@dataclass(frozen=True)
class BatchView:
    id: str
    amount_micros: int
    count: int
    redeemed: int
    reason: str
    actor: str
    created_at: datetime
    expires_at: datetime


def make_vouchers(
    storage: Storage,
    *,
    amount_micros: int,
    count: int,
    expires_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
    request_id: str,
    key: bytes,
    credit_days: int | None = None,
) -> tuple[str, list[str]]:
    """(batch id, codes). Only the codes' hashes are kept.

    The codes follow from ``key`` (a secret of the installation), actor and ``request_id``: who asks again because the answer
    was lost gets the same batch, and who reads the database gets none. Raises Conflict when the request was for another batch.
    """
    if not 0 < amount_micros <= MAX_AMOUNT_MICROS:
        raise InvalidField("An amount is above 0 and at most 100,000,000.", field="amount")
    if not 1 <= count <= MAX_BATCH:
        raise InvalidField("A batch has 1 to {max} vouchers.", field="count", max=MAX_BATCH)
    if expires_at <= now:
        raise InvalidField("The vouchers would be expired already. Choose a later date.", field="expires_at")
    reason = check_reason(reason)
    batch_id, codes = new_id(), [write_code(derive(key, actor, request_id, number)) for number in range(count)]
    batch = {"amount_micros": amount_micros, "count": count, "reason": reason, "expires_at": expires_at, "credit_days": credit_days}
    b = voucher_batches.c
    with storage.write() as connection:
        known = connection.execute(select(voucher_batches).where(b.actor == actor, b.request_id == request_id)).first()
        if known is not None:
            if any(known._mapping[name] != value for name, value in batch.items()):
                raise Conflict("This request was already used for another batch. Reload the page and try again.", code="request_id_reused")
            return known.id, codes
        about = {"id": batch_id, "actor": actor, "request_id": request_id, "created_at": now}
        connection.execute(voucher_batches.insert().values(**batch, **about))
        connection.execute(vouchers.insert(), [{"code_hash": hash_code(code), "batch_id": batch_id} for code in codes])
        detail = {"count": count, "amount_micros": amount_micros}
        log_act(connection, at=now, actor=actor, act="vouchers", subject=batch_id, reason=reason, detail=detail)
    return batch_id, codes


def redeem_voucher(storage: Storage, *, user: str, code: str, now: datetime) -> tuple[int, int]:
    """(credit given, balance after), in micros. Raises InvalidField for a code that is unknown, used or expired."""
    code_hash = hash_code(code)
    with storage.write() as connection:
        query = select(vouchers, voucher_batches).join(voucher_batches, voucher_batches.c.id == vouchers.c.batch_id)
        row = connection.execute(query.where(vouchers.c.code_hash == code_hash)).first()
        if row is None:
            raise InvalidField("This voucher code is not known. Check it for a slip and try again.", field="code")
        if row.redeemed_at is not None:
            raise InvalidField("This voucher was used already.", field="code", code="voucher_used")
        if row.expires_at <= now:
            raise InvalidField("This voucher has expired. Ask who gave it to you for another.", field="code", code="voucher_expired")
        free = update(vouchers).where(vouchers.c.code_hash == code_hash, vouchers.c.redeemed_at.is_(None))
        if connection.execute(free.values(redeemed_by=user, redeemed_at=now)).rowcount != 1:
            raise InvalidField("This voucher was used already.", field="code", code="voucher_used")
        expires_at = now + timedelta(days=row.credit_days) if row.credit_days else None
        about = {"key": f"voucher:{code_hash}", "user": user, "actor": user, "memo": row.reason}
        give(connection, amount_micros=row.amount_micros, at=now, expires_at=expires_at, **about)
        return row.amount_micros, balance_of(connection, user)


def list_batches(storage: Storage) -> list[BatchView]:
    """Newest first, with how many were redeemed."""
    b = voucher_batches
    used = func.count(vouchers.c.redeemed_at).label("redeemed")
    query = select(b, used).join(vouchers, vouchers.c.batch_id == b.c.id).group_by(*b.c).order_by(b.c.created_at.desc())
    with storage.read() as connection:
        rows = connection.execute(query).all()
    return [BatchView(r.id, r.amount_micros, r._mapping["count"], r.redeemed, r.reason, r.actor, r.created_at, r.expires_at) for r in rows]
