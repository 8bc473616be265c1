"""Giving monthly compute up before its end: a part of what was paid for the rest goes back to the wallet, by a stated rule.

The rule (`converted_micros`) looks at each paid term by itself, at the price it was sold at. Only money comes back: what
was paid with credit is not, nor what was refunded before. The operator sets the percentage; 0: terms are not converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from ark_extensions.domain import ledger
from ark_extensions.domain.assets import converted_micros
from ark_extensions.domain.errors import Conflict, Forbidden, NotFound
from ark_extensions.domain.workspaces import ACTIVE
from ark_extensions.storage import Storage
from ark_extensions.storage import tables as t
from ark_extensions.usecases.audit import check_reason, log_act
from ark_extensions.usecases.compute import free_compute
from ark_extensions.usecases.halts import refuse_when_halted
from ark_extensions.usecases.journal import post
from ark_extensions.usecases.notices import tell
from ark_extensions.usecases.views import Sentence


@dataclass(frozen=True)
class Conversion:
    """``rest_micros``: what was paid for the ``days_left`` (money and credit); ``back_micros`` of it comes back."""

    asset_id: str
    offer_name: str
    days_left: int
    rest_micros: int
    back_micros: int

    @property
    def lost_micros(self) -> int:
        return self.rest_micros - self.back_micros


def quote_conversion(storage: Storage, *, owner: str, asset_id: str, percent: int, now: datetime) -> Conversion:
    """What giving this compute up now would bring and cost; raises as `convert_asset` does. Nothing is changed."""
    with storage.read() as connection:
        return _plan(connection, _convertible(connection, owner, asset_id, percent, now), percent, now)[0]


def convert_asset(
    storage: Storage, *, owner: str, asset_id: str, percent: int, actor: str, now: datetime, reason: str | None = None
) -> Conversion:
    """Give the compute up now: it goes back on sale, the money to the wallet. A second time changes nothing.

    ``reason``: an operator's, kept with the act. Raises Forbidden where terms are not converted, Conflict while a workspace
    runs on it or when its term is over.
    """
    with storage.write() as connection:
        done = _converted_before(connection, owner, asset_id)
        if done is not None:
            return done
        refuse_when_halted(connection)
        asset = _convertible(connection, owner, asset_id, percent, now)
        plan, postings = _plan(connection, asset, percent, now, actor)
        post(connection, postings, all_new=True)
        free_compute(connection, asset.id)
        connection.execute(update(t.assets).where(t.assets.c.id == asset.id).values(ended_at=now, auto_renew=False))
        said = Sentence("{offer} was given up; {back_micros} came back to your wallet.", _params(plan))
        tell(connection, owner=owner, at=now, kind="term_converted", message=said)
        if reason is not None:
            detail = {"asset": asset.id, "amount_micros": plan.back_micros, "percent": percent}
            log_act(connection, at=now, actor=actor, act="convert", subject=owner, reason=check_reason(reason), detail=detail)
        return plan


def _params(plan: Conversion) -> dict[str, Any]:
    return {"offer": plan.offer_name, "back_micros": plan.back_micros}


def _find(connection: Connection, owner: str, asset_id: str) -> Row[Any]:
    query = select(t.assets, t.offers.c.name.label("offer_name")).join(t.offers, t.offers.c.id == t.assets.c.offer_id)
    asset = connection.execute(query.where(t.assets.c.id == asset_id, t.assets.c.owner == owner)).first()
    if asset is None:
        raise NotFound("You have no such compute.")
    return asset


def _converted_before(connection: Connection, owner: str, asset_id: str) -> Conversion | None:
    asset = _find(connection, owner, asset_id)
    if asset.ended_at is None or asset.ended_at >= asset.expires_at:
        return None
    x, e, terms = t.transactions, t.entries, t.asset_terms
    back = select(func.coalesce(func.sum(e.c.amount_micros), 0)).join(x, x.c.id == e.c.transaction_id)
    back = back.join(terms, x.c.subject == "term:" + terms.c.id)
    mine = back.where(x.c.kind == "convert", e.c.account == ledger.wallet(owner), terms.c.asset_id == asset_id)
    micros = int(connection.execute(mine).scalar_one())
    return Conversion(asset_id, asset.offer_name, 0, micros, micros)


def _convertible(connection: Connection, owner: str, asset_id: str, percent: int, now: datetime) -> Row[Any]:
    asset = _find(connection, owner, asset_id)
    if percent <= 0:
        raise Forbidden("Monthly compute cannot be given up for money here; it is yours until it expires.", code="conversion_off")
    if asset.ended_at is not None or asset.expires_at <= now:
        raise Conflict("This term is over. Buy the compute again in the marketplace.", code="term_over")
    w = t.workspaces
    name = connection.execute(select(w.c.name).where(w.c.asset_id == asset_id, w.c.state.in_(ACTIVE))).scalar()
    if name is not None:
        raise Conflict("The workspace {name} uses this compute. Stop it first.", code="asset_in_use", name=name)
    return asset


def _plan(connection: Connection, asset: Row[Any], percent: int, now: datetime, actor: str = "") -> tuple[Conversion, list[ledger.Posting]]:
    """What comes back, and the postings that bring it: one for each paid term."""
    days_left, rest, postings = 0, 0, []
    money = _money_paid(connection, asset)
    for term in connection.execute(select(t.asset_terms).where(t.asset_terms.c.asset_id == asset.id).order_by(t.asset_terms.c.starts_at)):
        left, _, whole = converted_micros(term.charged_micros, term.starts_at, term.ends_at, now, 100)
        _, _, back = converted_micros(money.get(f"term:{term.id}", 0), term.starts_at, term.ends_at, now, percent)
        days_left, rest = days_left + left, rest + whole
        if back > 0:
            about = {"user": asset.owner, "subject": f"term:{term.id}", "memo": asset.offer_name, "actor": actor}
            postings.append(ledger.convert(key=f"convert:{term.id}", amount_micros=back, at=now, **about))
    brought = sum(amount for posting in postings for account, amount in posting.entries if amount > 0)
    return Conversion(asset.id, asset.offer_name, days_left, rest, brought), postings


def _money_paid(connection: Connection, asset: Row[Any]) -> dict[str, int]:
    """``term:ID`` → what was paid for it from money and not refunded, in micros."""
    x, e, terms = t.transactions, t.entries, t.asset_terms
    query = select(x.c.subject, (-func.sum(e.c.amount_micros)).label("paid")).join(e, e.c.transaction_id == x.c.id)
    query = query.join(terms, x.c.subject == "term:" + terms.c.id).where(terms.c.asset_id == asset.id)
    rows = connection.execute(query.where(e.c.account == ledger.wallet(asset.owner)).group_by(x.c.subject))
    return {row.subject: max(int(row.paid), 0) for row in rows}
