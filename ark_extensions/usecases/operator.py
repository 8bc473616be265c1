"""What an operator does with wallets: credit, refund, correct, freeze. New entries with a reason and an actor, never an edit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from ark_extensions.domain import ledger
from ark_extensions.domain.errors import Conflict, InvalidField, NotFound
from ark_extensions.domain.money import MAX_AMOUNT_MICROS
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.storage.tables_money import bill_lines, credit_lots
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.gifts import give
from ark_extensions.usecases.journal import balance_of, post
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.views import Sentence


def _reused() -> Conflict:
    return Conflict("This request was already used for another amount or reason. Reload the page and try again.", code="request_id_reused")


def _user(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(select(t.users).where(t.users.c.name == name)).first()
    if row is None:
        raise NotFound("There is no user {name}.", name=name[:60])
    return row


def _until(detail: dict[str, Any], expires_at: datetime | None) -> dict[str, Any]:
    return {**detail, "expires_at": expires_at.isoformat()} if expires_at else detail


def _check_amount(amount_micros: int) -> None:
    if not 0 < amount_micros <= MAX_AMOUNT_MICROS:
        raise InvalidField("An amount is above 0 and at most 100,000,000.", field="amount")


def _refuse_reuse(connection: Connection, key: str, amount_micros: int, memo: str) -> bool:
    """Whether this act was done before; raises Conflict when its request id was used for another amount or reason."""
    x, e = t.transactions, t.entries
    query = select(x.c.memo, func.max(func.abs(e.c.amount_micros)).label("amount")).join(e, e.c.transaction_id == x.c.id)
    known = connection.execute(query.where(x.c.idempotency_key == key).group_by(x.c.memo)).first()
    if known is not None and (known.amount, known.memo) != (abs(amount_micros), memo):
        raise _reused()
    return known is not None


def _refuse_other_end(connection: Connection, key: str, expires_at: datetime | None) -> None:
    lot = connection.execute(select(credit_lots.c.expires_at).where(credit_lots.c.id == key)).first()
    if lot is not None and lot.expires_at != expires_at:
        raise _reused()


def credit(
    storage: Storage,
    *,
    user: str,
    amount_micros: int,
    actor: str,
    reason: str,
    request_id: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> int:
    """Give credit, once per ``request_id``; what is left of it at ``expires_at`` goes back. Returns the balance in micros."""
    _check_amount(amount_micros)
    if expires_at is not None and expires_at <= now:
        raise InvalidField("The credit would be expired already. Choose a later date.", field="expires_at")
    reason = check_reason(reason)
    with storage.write() as connection:
        _user(connection, user)
        key = f"credit:{user}:{request_id}"
        if _refuse_reuse(connection, key, amount_micros, reason):
            _refuse_other_end(connection, key, expires_at)
        if give(connection, key=key, user=user, amount_micros=amount_micros, at=now, actor=actor, memo=reason, expires_at=expires_at):
            detail = _until({"amount_micros": amount_micros}, expires_at)
            log_act(connection, at=now, actor=actor, act="credit", subject=user, reason=reason, detail=detail)
        return balance_of(connection, user)


def refund(
    storage: Storage, *, user: str, amount_micros: int, subject: str, actor: str, reason: str, request_id: str, now: datetime
) -> int:
    """Give back something charged: at most what ``subject`` (``run:ID``, ``disk:ID``, ``term:ID``) was billed, less refunds before."""
    _check_amount(amount_micros)
    reason = check_reason(reason)
    with storage.write() as connection:
        _user(connection, user)
        b, x, e = bill_lines, t.transactions, t.entries
        billed = select(func.coalesce(func.sum(b.c.amount_micros), 0)).where(b.c.owner == user, b.c.subject == subject)
        back = select(func.coalesce(func.sum(e.c.amount_micros), 0)).join(x, x.c.id == e.c.transaction_id)
        back = back.where(x.c.kind.in_(["refund", "convert"]), x.c.subject == subject, e.c.account == ledger.wallet(user))
        left = connection.execute(billed).scalar_one() - connection.execute(back).scalar_one()
        posting = ledger.refund(
            key=f"refund:{user}:{request_id}", user=user, amount_micros=amount_micros, at=now, actor=actor, memo=reason, subject=subject
        )
        if not _refuse_reuse(connection, posting.key, amount_micros, reason):
            if amount_micros > left:
                raise InvalidField("At most {left_micros} of this can be refunded.", field="amount", left_micros=int(left))
            post(connection, [posting])
            detail = {"amount_micros": amount_micros, "subject": subject}
            log_act(connection, at=now, actor=actor, act="refund", subject=user, reason=reason, detail=detail)
        return balance_of(connection, user)


def correct(storage: Storage, *, user: str, amount_micros: int, actor: str, reason: str, request_id: str, now: datetime) -> int:
    """Mend a mistake by a new entry in either direction; a wallet is not corrected below zero. Returns the balance."""
    _check_amount(abs(amount_micros))
    reason = check_reason(reason)
    with storage.write() as connection:
        _user(connection, user)
        paid = select(t.accounts.c.balance_micros).where(t.accounts.c.name == ledger.wallet(user))
        if (connection.execute(paid).scalar() or 0) + amount_micros < 0:
            raise Conflict("The wallet does not hold that much.", code="insufficient_balance")
        key = f"correct:{user}:{request_id}"
        _refuse_reuse(connection, key, amount_micros, reason)
        if post(connection, [ledger.correct(key=key, user=user, amount_micros=amount_micros, at=now, actor=actor, memo=reason)]):
            detail = {"amount_micros": amount_micros}
            log_act(connection, at=now, actor=actor, act="correct", subject=user, reason=reason, detail=detail)
        return balance_of(connection, user)


def freeze_wallet(storage: Storage, *, user: str, frozen: bool, actor: str, reason: str, now: datetime) -> None:
    """A frozen wallet buys and starts nothing. What runs goes on until it is stopped."""
    reason = check_reason(reason)
    with storage.write() as connection:
        row = _user(connection, user)
        if (row.frozen_at is not None) == frozen:
            return
        values = {"frozen_at": now if frozen else None, "frozen_reason": reason if frozen else None}
        connection.execute(update(t.users).where(t.users.c.name == user).values(**values))
        act = "freeze" if frozen else "unfreeze"
        log_act(connection, at=now, actor=actor, act=act, subject=user, reason=reason)
        froze = Sentence("Your wallet was frozen by the operator: {reason}", {"reason": reason})
        message = froze if frozen else Sentence("Your wallet is no longer frozen.")
        tell(connection, owner=user, at=now, kind=act, message=message, severity="warning" if frozen else "info")
