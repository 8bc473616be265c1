"""Monthly compute, recharges, vouchers, notices and the month's bill: what a user does with money."""

from __future__ import annotations

import asyncio

from ark_extensions.console.api import answers as a
from ark_extensions.console.api import purse_answers as p
from ark_extensions.console.api import purse_models as m
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import MonthQuery
from ark_extensions.console.api.routes import Call, NoInput, Route
from ark_extensions.console.auth import PREFIX
from ark_extensions.domain.errors import Forbidden, InvalidField, NotFound, Unavailable
from ark_extensions.domain.money import parse_amount
from ark_extensions.payments import Forged, NotAPayment, Provider, ProviderDown
from ark_extensions.usecases import assets, bills, conversions, notices, recharges, vouchers, workspaces

PROVIDER_SECONDS = 30.0


def _asset(view: assets.AssetView, currency: str) -> p.Asset:
    renewal = view.renewal_micros_per_month
    return p.Asset(
        id=view.id,
        offer=view.offer.id,
        offer_name=view.offer.name,
        bought_at=view.bought_at,
        expires_at=view.expires_at,
        ended_at=view.ended_at,
        auto_renew=view.auto_renew,
        used_by=view.used_by,
        paid=shapes.money(view.paid_micros, currency),
        renewal=None if renewal is None else shapes.price(renewal, "month", currency),
    )


async def buy(call: Call) -> p.Asset:
    body: m.BuyBody = call.body
    about = {"request_id": body.request_id, "offer": body.offer, "months": body.months, "auto_renew": body.auto_renew}
    return _asset(await call.use(assets.buy_asset, user=call.user, now=call.now, **about), call.currency)  # type: ignore[arg-type]


async def my_assets(call: Call) -> p.Assets:
    found = await call.use(assets.list_assets, user=call.user, now=call.now)
    return p.Assets(items=[_asset(view, call.currency) for view in found])


async def renew(call: Call) -> p.Asset:
    body: m.RenewBody = call.body
    about = {"asset_id": call.path["id"], "request_id": body.request_id, "months": body.months}
    return _asset(await call.use(assets.renew_asset, user=call.user, now=call.now, **about), call.currency)  # type: ignore[arg-type]


async def change_asset(call: Call) -> p.Asset:
    body: m.AssetBody = call.body
    view = await call.use(assets.change_asset, user=call.user, asset_id=call.path["id"], auto_renew=body.auto_renew, now=call.now)
    return _asset(view, call.currency)


async def conversion(call: Call) -> p.Conversion:
    about = {"owner": call.user, "asset_id": call.path["id"], "percent": call.ark.settings.term_conversion_percent}
    return _conversion(await call.use(conversions.quote_conversion, **about, now=call.now), call.currency)  # type: ignore[arg-type]


async def convert(call: Call) -> p.Conversion:
    about = {"owner": call.user, "asset_id": call.path["id"], "percent": call.ark.settings.term_conversion_percent}
    return _conversion(await call.use(conversions.convert_asset, **about, actor=call.user, now=call.now), call.currency)  # type: ignore[arg-type]


def _conversion(plan: conversions.Conversion, currency: str) -> p.Conversion:
    back, lost = shapes.money(plan.back_micros, currency), shapes.money(plan.lost_micros, currency)
    return p.Conversion(asset=plan.asset_id, days_left=plan.days_left, back=back, lost=lost)


async def grow(call: Call) -> a.Workspace:
    body: m.GrowBody = call.body
    about = {"owner": call.user, "name": call.path["name"], "actor": call.user}
    view = await call.use(workspaces.grow_disk, **about, size_gib=body.data_disk_gib, now=call.now)
    return shapes.workspace(view, call)


async def providers(call: Call) -> p.Providers:
    return p.Providers(items=[p.Provider(name=name) for name in call.ark.providers])


def recharge_shape(view: recharges.RechargeView, currency: str, instructions: str | None = None) -> p.Recharge:
    return p.Recharge.model_validate(
        {
            "id": view.id,
            "user": view.owner,
            "provider": view.provider,
            "amount": shapes.money(view.amount_micros, currency),
            "status": view.status,
            "pay_url": view.pay_url,
            "instructions": instructions,
            "created_at": view.created_at,
            "settled_at": view.settled_at,
        }
    )


def _provider(call: Call, name: str) -> Provider:
    found = call.ark.providers.get(name)
    if found is None:
        raise InvalidField("This way to pay is not offered here. Choose one from the list.", field="provider")
    return found


async def _begin_at(call: Call, view: recharges.RechargeView) -> p.Recharge:
    """Ask the provider for the page to pay on; when it does not answer, the recharge stays pending and can be tried again."""
    back = f"{call.base_url}{PREFIX}wallet"
    notify = f"{call.base_url}{PREFIX}api/v1/payments/{view.provider}/callback"
    begin = _provider(call, view.provider).begin
    about = {"recharge_id": view.id, "amount_micros": view.amount_micros, "currency": call.currency}
    try:
        asking = asyncio.to_thread(begin, **about, return_url=back, notify_url=notify)  # type: ignore[arg-type]
        begun = await asyncio.wait_for(asking, PROVIDER_SECONDS)
    except (ProviderDown, TimeoutError) as down:
        raise Unavailable("The payment service does not answer now. Nothing was charged; try again in a minute.") from down
    await call.use(recharges.provider_began, recharge_id=view.id, reference=begun.reference, pay_url=begun.pay_url)
    view = await call.use(recharges.get_recharge, user=call.user, recharge_id=view.id)
    return recharge_shape(view, call.currency, begun.instructions)


async def recharge(call: Call) -> p.Recharge:
    body: m.RechargeBody = call.body
    _provider(call, body.provider)
    about = {"user": call.user, "request_id": body.request_id, "provider": body.provider}
    view = await call.use(recharges.begin_recharge, **about, amount_micros=parse_amount(body.amount), now=call.now)
    if view.status != "pending" or view.pay_url is not None:
        return recharge_shape(view, call.currency)
    return await _begin_at(call, view)


async def one_recharge(call: Call) -> p.Recharge:
    view = await call.use(recharges.get_recharge, user=call.user, recharge_id=call.path["id"])
    return recharge_shape(view, call.currency)


async def my_recharges(call: Call) -> p.Recharges:
    query: m.RechargesQuery = call.query
    page = await call.use(recharges.list_recharges, user=call.user, status=query.status, limit=query.limit)
    return p.Recharges(items=[recharge_shape(view, call.currency) for view in page.items])


async def cancel(call: Call) -> p.Recharge:
    view = await call.use(recharges.cancel_recharge, user=call.user, recharge_id=call.path["id"], now=call.now)
    return recharge_shape(view, call.currency)


async def callback(call: Call) -> str:
    """A provider's server tells of a payment. Only what its own library verified counts; what is not for us is acknowledged."""
    provider = call.ark.providers.get(call.path["provider"])
    if provider is None:
        raise NotFound("There is nothing at this address.")
    request = call.handler.request
    try:
        paid = await asyncio.to_thread(provider.read_callback, headers=request.headers, body=request.body, now=call.now)
    except NotAPayment:
        return provider.acknowledgement.decode()
    except Forged as forged:
        raise Forbidden("The signature of this notice does not verify.", code="forged") from forged
    about = {"recharge_id": paid.recharge_id, "provider": provider.name, "reference": paid.reference, "currency": paid.currency}
    await call.use(recharges.recharge_paid, **about, amount_micros=paid.amount_micros, own_currency=call.currency, now=call.now)
    return provider.acknowledgement.decode()


async def redeem(call: Call) -> p.Redeemed:
    body: m.VoucherBody = call.body
    given, balance = await call.use(vouchers.redeem_voucher, user=call.user, code=body.code, now=call.now)
    return p.Redeemed(credit=shapes.money(given, call.currency), balance=shapes.money(balance, call.currency))


async def my_notices(call: Call) -> p.Notices:
    found = await call.use(notices.list_notices, owner=call.user)
    shown = [{"id": n.id, "at": n.at, "kind": n.kind, "severity": n.severity, "message": call.say(n.message)} for n in found]
    return p.Notices.model_validate({"items": shown})


async def dismiss(call: Call) -> None:
    number = call.path["id"]
    if not (number.isdecimal() and len(number) < 16):
        raise NotFound("There is no such notice.")
    await call.use(notices.dismiss_notice, owner=call.user, id=int(number), now=call.now)


def amounts(pairs: tuple[tuple[object, int], ...], currency: str) -> list[p.Amounts]:
    return [p.Amounts(name=str(name), amount=shapes.money(micros, currency)) for name, micros in pairs]


async def month_bill(call: Call) -> p.MonthBill:
    query: MonthQuery = call.query
    month = query.first_day() or call.now.date()
    found = await call.use(bills.bill, user=call.user, month=month)
    currency = call.currency
    return p.MonthBill(
        month=f"{found.month:%Y-%m}",
        total=shapes.money(found.total_micros, currency),
        by_day=[p.Day(day=day, kinds=amounts(kinds, currency)) for day, kinds in found.by_day],
        by_workspace=amounts(found.by_workspace, currency),
        by_kind=amounts(found.by_kind, currency),
        lines=[_line(line, currency) for line in found.lines],
    )


def _line(line: bills.BillLine, currency: str) -> p.Line:
    price = shapes.price(line.unit_micros, line.per, currency) if line.unit_micros is not None and line.per else None
    return p.Line(
        at=line.at,
        kind=line.kind,
        subject=line.subject,
        workspace=line.workspace,
        offer=line.offer,
        from_at=line.from_at,
        until_at=line.until_at,
        quantity=line.quantity,
        price=price,
        price_version=line.price_version_id,
        amount=shapes.money(line.amount_micros, currency),
        closed_because=line.closed_because,
    )


ROUTES = (
    Route("POST", "/assets", "Buy monthly compute", buy, p.Asset, body=m.BuyBody, status=201),
    Route("GET", "/assets", "Your monthly compute", my_assets, p.Assets),
    Route("POST", "/assets/{id}/renew", "Add months to a term", renew, p.Asset, body=m.RenewBody),
    Route("PATCH", "/assets/{id}", "Renew by itself or not", change_asset, p.Asset, body=m.AssetBody),
    Route("GET", "/assets/{id}/conversion", "What giving a term up would bring and cost", conversion, p.Conversion),
    Route("POST", "/assets/{id}/conversion", "Give a term up for a part of its money", convert, p.Conversion, body=NoInput),
    Route("POST", "/workspaces/{name}/disk", "A bigger data disk", grow, a.Workspace, body=m.GrowBody),
    Route("GET", "/wallet/providers", "Ways to pay in", providers, p.Providers),
    Route("POST", "/wallet/recharges", "Pay in", recharge, p.Recharge, body=m.RechargeBody, status=201),
    Route("GET", "/wallet/recharges", "Your recharges, the newest first", my_recharges, p.Recharges, query=m.RechargesQuery),
    Route("GET", "/wallet/recharges/{id}", "One recharge", one_recharge, p.Recharge),
    Route("DELETE", "/wallet/recharges/{id}", "Give a pending recharge up", cancel, p.Recharge, body=NoInput),
    Route("POST", "/wallet/vouchers", "Redeem a voucher", redeem, p.Redeemed, body=m.VoucherBody),
    Route("POST", "/payments/{provider}/callback", "For payment services only", callback, None, access="open", media="text/plain"),
    Route("GET", "/notices", "What you should know", my_notices, p.Notices),
    Route("DELETE", "/notices/{id}", "Dismiss a notice", dismiss, None, body=NoInput, status=204),
    Route("GET", "/bills/month", "Everything charged in a month, line by line and summed", month_bill, p.MonthBill, query=MonthQuery),
)
