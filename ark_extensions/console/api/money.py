"""The wallet, its movements, and the bills."""

from __future__ import annotations

import csv
import io

from ark_extensions.console.api import answers as a
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import BillsQuery, MonthQuery, PageQuery
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.usecases import wallet as usecases


async def wallet(call: Call) -> a.Wallet:
    return shapes.wallet(await call.use(usecases.wallet, user=call.user, now=call.now), call.currency)


async def transactions(call: Call) -> a.Transactions:
    wanted: PageQuery = call.query
    page = await call.use(usecases.list_transactions, user=call.user, before=shapes.read_cursor(wanted.cursor), limit=wanted.limit)
    return a.Transactions(items=[shapes.transaction(view, call.currency) for view in page.items], next=shapes.write_cursor(page.next))


async def bills(call: Call) -> a.Bills:
    wanted: BillsQuery = call.query
    runs = await call.use(usecases.list_runs, user=call.user, month=wanted.first_day(), now=call.now)
    page, following = shapes.cut(runs, wanted.limit, wanted.cursor)
    total = shapes.money(sum(view.cost_micros for view in runs), call.currency)
    return a.Bills(items=[shapes.bill_line(view, call.currency) for view in page], next=following, total=total)


async def bills_file(call: Call) -> str:
    """One line a run: exact amounts, UTC times. Every text in it is of the platform's own making."""
    wanted: MonthQuery = call.query
    runs = await call.use(usecases.list_runs, user=call.user, month=wanted.first_day(), now=call.now)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ("run", "workspace", "offer", "from", "to", "seconds", "price_per_hour", "price_version", "cost", "currency", "ended_by")
    )
    for view in runs:
        line = shapes.bill_line(view, call.currency)
        ended = line.ended_at.isoformat() if line.ended_at else ""
        prices = (line.price_per_hour.amount, line.price_version, line.cost.amount, line.cost.currency)
        writer.writerow(
            (line.run, line.workspace, line.offer, line.started_at.isoformat(), ended, line.seconds, *prices, line.close_reason or "")
        )
    call.headers["Content-Disposition"] = f'attachment; filename="ark-{wanted.month or "all"}.csv"'
    return out.getvalue()


ROUTES = (
    Route("GET", "/wallet", "Balance, what burns, and how long it lasts", wallet, a.Wallet),
    Route("GET", "/wallet/transactions", "Every movement of the wallet, the newest first", transactions, a.Transactions, query=PageQuery),
    Route("GET", "/bills", "The runs of a month, each with its price and cost", bills, a.Bills, query=BillsQuery),
    Route("GET", "/bills.csv", "The runs of a month as a table", bills_file, None, query=MonthQuery, media="text/csv"),
)
