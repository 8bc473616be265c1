"""What an operator does with money: refund, correct, freeze, vouchers, prices, transfers; revenue, debts, acts and the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ark_extensions.console.api import answers as a
from ark_extensions.console.api import purse_answers as p
from ark_extensions.console.api import purse_models as m
from ark_extensions.console.api import shapes
from ark_extensions.console.api.purse import amounts, recharge_shape
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.money import parse_amount
from ark_extensions.domain.offers import PriceVersion
from ark_extensions.usecases import audit, bills, books, halts, operator, price_changes, recharges, vouchers
from ark_extensions.usecases.figures import figures


async def refund(call: Call) -> a.Balance:
    body: m.RefundBody = call.body
    about = {"user": call.path["user"], "actor": call.user, "reason": body.reason, "request_id": body.request_id, "subject": body.subject}
    balance = await call.use(operator.refund, **about, amount_micros=parse_amount(body.amount), now=call.now)
    return a.Balance(user=call.path["user"], balance=shapes.money(balance, call.currency))


async def correct(call: Call) -> a.Balance:
    body: m.CorrectBody = call.body
    about = {"user": call.path["user"], "actor": call.user, "reason": body.reason, "request_id": body.request_id}
    balance = await call.use(operator.correct, **about, amount_micros=parse_amount(body.amount), now=call.now)
    return a.Balance(user=call.path["user"], balance=shapes.money(balance, call.currency))


async def freeze(call: Call) -> None:
    body: m.FreezeBody = call.body
    await call.use(operator.freeze_wallet, user=call.path["user"], frozen=body.frozen, actor=call.user, reason=body.reason, now=call.now)


async def all_recharges(call: Call) -> p.Recharges:
    query: m.RechargesQuery = call.query
    page = await call.use(recharges.list_recharges, status=query.status, limit=query.limit)
    return p.Recharges(items=[recharge_shape(view, call.currency) for view in page.items])


async def confirm(call: Call) -> p.Recharge:
    body: m.ReasonBody = call.body
    about = {"recharge_id": call.path["id"], "actor": call.user, "reason": body.reason}
    return recharge_shape(await call.use(recharges.confirm_transfer, **about, now=call.now), call.currency)


async def make_vouchers(call: Call) -> p.NewBatch:
    body: m.VouchersBody = call.body
    batch_id, codes = await call.use(
        vouchers.make_vouchers,
        amount_micros=parse_amount(body.amount),
        count=body.count,
        expires_at=body.expires_at,
        reason=body.reason,
        actor=call.user,
        now=call.now,
        credit_days=body.credit_days,
        request_id=body.request_id,
        key=call.ark.settings.secret("voucher_key").encode(),
    )
    return p.NewBatch(id=batch_id, codes=codes)


async def batches(call: Call) -> p.Batches:
    found = await call.use(vouchers.list_batches)
    return p.Batches(items=[p.Batch(**{**vars(b), "amount": shapes.money(b.amount_micros, call.currency)}) for b in found])


def _price(version: PriceVersion, currency: str) -> p.PriceVersion:
    price = shapes.price(version.price_micros, version.per, currency)
    return p.PriceVersion(id=version.id, subject=version.subject, price=price, valid_from=version.valid_from)


async def prices(call: Call) -> p.Prices:
    found = await call.use(price_changes.price_history)
    return p.Prices(items=[_price(version, call.currency) for history in found for version in history.versions])


async def set_price(call: Call) -> p.PriceVersion:
    body: m.PriceBody = call.body
    try:
        micros = parse_amount(body.price)
    except ValueError as wrong:
        raise InvalidField("An amount is a plain decimal number such as “20.00”, with at most six decimals.", field="price") from wrong
    about = {"subject": body.subject, "actor": call.user, "reason": body.reason, "now": call.now}
    valid_from = body.valid_from or call.now
    return _price(await call.use(price_changes.schedule_price, **about, price_micros=micros, valid_from=valid_from), call.currency)  # type: ignore[arg-type]


async def revenue(call: Call) -> p.Revenue:
    query: m.SpanQuery = call.query
    found = await call.use(bills.takings, since=call.now - timedelta(days=query.days), until=call.now)
    owed = await call.use(bills.receivables)
    return p.Revenue(
        total=shapes.money(found.total_micros, call.currency),
        by_day=amounts(found.by_day, call.currency),
        by_offer=amounts(found.by_offer, call.currency),
        owed=amounts(owed.items, call.currency),
    )


async def acts(call: Call) -> p.Acts:
    query: m.ActsQuery = call.query
    wanted = {"actor": query.actor, "act": query.act, "subject": query.subject}
    page = await call.use(audit.list_acts, **wanted, before=shapes.read_cursor(query.cursor), limit=query.limit)
    return p.Acts(items=[p.Act(**{**vars(act), "detail": dict(act.detail)}) for act in page.items], next=shapes.write_cursor(page.next))


async def check_books(call: Call) -> p.Differences:
    found = await call.use(books.check_books)
    return differences(call, found, await call.use(halts.posting_halt))


def differences(call: Call, found: Sequence[books.Difference], halt: halts.Halt | None) -> p.Differences:
    items = [p.Difference(kind=d.kind, message=call.say(d.said), rows=list(d.rows)) for d in found]
    halted = None if halt is None else p.Halt(at=halt.at, found=[call.say(said) for said in halt.found], waiting=halt.waiting)
    return p.Differences(items=items, halted=halted)


async def resume(call: Call) -> p.Differences:
    body: m.ReasonBody = call.body
    accepted, _ = await call.use(books.resume_posting, actor=call.user, reason=body.reason, now=call.now)
    return differences(call, accepted, await call.use(halts.posting_halt))


async def metrics(call: Call) -> str:
    """In the text format of Prometheus; money in micro-units of the currency."""
    found = await call.use(figures)
    registry = CollectorRegistry()

    def gauge(name: str, what: str, value: float) -> None:
        Gauge(f"ark_{name}", what, registry=registry).set(value)

    states = Gauge("ark_workspaces", "Workspaces by state", ["state"], registry=registry)
    for state, count in found.workspaces:
        states.labels(state).set(count)
    gauge("open_runs", "Runs that are being charged", found.open_runs)
    gauge("burn_micros_per_hour", "What all open runs cost an hour", found.burn_micros_per_hour)
    gauge("gpus", "GPUs of all nodes", found.gpus_total)
    gauge("gpus_claimed", "GPUs held by workspaces and monthly compute", found.gpus_claimed)
    gauge("users", "Users", found.users)
    gauge("owed_micros", "What wallets below zero owe", found.owed_micros)
    gauge("posting_halted", "1 while the audit has halted all posting", found.posting_halted)
    gauge("book_differences", "Differences that the books show: 0 is the only right answer", found.book_differences)
    return generate_latest(registry).decode()


ROUTES = (
    Route("GET", "/admin/metrics", "Figures for Prometheus", metrics, None, access="admin", media="text/plain"),
    Route("POST", "/admin/users/{user}/refund", "Give back something billed", refund, a.Balance, access="admin", body=m.RefundBody),
    Route("POST", "/admin/users/{user}/correct", "Mend a mistake by a new entry", correct, a.Balance, access="admin", body=m.CorrectBody),
    Route("POST", "/admin/users/{user}/freeze", "Freeze or free a wallet", freeze, None, access="admin", body=m.FreezeBody, status=204),
    Route("GET", "/admin/recharges", "Everybody's recharges", all_recharges, p.Recharges, access="admin", query=m.RechargesQuery),
    Route("POST", "/admin/recharges/{id}/confirm", "A transfer arrived", confirm, p.Recharge, access="admin", body=m.ReasonBody),
    Route("POST", "/admin/vouchers", "Make vouchers", make_vouchers, p.NewBatch, access="admin", body=m.VouchersBody, status=201),
    Route("GET", "/admin/vouchers", "Batches of vouchers", batches, p.Batches, access="admin"),
    Route("GET", "/admin/prices", "All price versions", prices, p.Prices, access="admin"),
    Route("POST", "/admin/prices", "A price from a moment on", set_price, p.PriceVersion, access="admin", body=m.PriceBody, status=201),
    Route("GET", "/admin/revenue", "Revenue by day and offer, and what is owed", revenue, p.Revenue, access="admin", query=m.SpanQuery),
    Route("GET", "/admin/acts", "The operators' acts, the newest first", acts, p.Acts, access="admin", query=m.ActsQuery),
    Route("GET", "/admin/books", "Whether the books add up", check_books, p.Differences, access="admin"),
    Route("POST", "/admin/books/resume", "Let posting go on after a halt", resume, p.Differences, access="admin", body=m.ReasonBody),
)
