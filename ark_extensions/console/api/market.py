"""What is on sale, and what a choice would cost."""

from __future__ import annotations

from ark_extensions.console.api import answers as a
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import ListQuery, OffersQuery, QuoteBody
from ark_extensions.console.api.routes import Call, Route
from ark_extensions.domain.catalog import DATASET, MODEL
from ark_extensions.domain.money import parse_amount
from ark_extensions.usecases import market, orders


async def offers(call: Call) -> a.Offers:
    wanted: OffersQuery = call.query
    found = await call.use(
        market.list_offers,
        now=call.now,
        plan=wanted.plan,
        gpu_model=wanted.gpu_model,
        min_gpu_count=wanted.min_gpu_count,
        min_memory_gib=wanted.min_memory_gib,
        max_price_micros=None if wanted.max_price is None else parse_amount(wanted.max_price),
        only_available=bool(wanted.available),
    )
    page, following = shapes.cut(found, wanted.limit, wanted.cursor)
    return a.Offers(items=[shapes.offer(view, call.currency) for view in page], next=following)


async def images(call: Call) -> a.Images:
    page, following = shapes.cut(await call.use(market.list_images), call.query.limit, call.query.cursor)
    return a.Images(items=[shapes.image(found) for found in page], next=following)


async def disks(call: Call) -> a.Disks:
    page, following = shapes.cut(await call.use(market.list_disks, now=call.now), call.query.limit, call.query.cursor)
    items = [a.Disk(size_gib=d.size_gib, price=shapes.price(d.price_micros_per_day, "day", call.currency)) for d in page]
    return a.Disks(items=items, next=following)


async def _items(call: Call, kind: str) -> a.Items:
    page, following = shapes.cut(await call.use(market.list_items, kind=kind), call.query.limit, call.query.cursor)
    return a.Items(items=[shapes.item(view) for view in page], next=following)


async def datasets(call: Call) -> a.Items:
    return await _items(call, DATASET)


async def models(call: Call) -> a.Items:
    return await _items(call, MODEL)


async def quote(call: Call) -> a.Quote:
    body: QuoteBody = call.body
    return shapes.quoted(await call.use(orders.quote, user=call.user, order=body.order(), now=call.now), call.currency)


ROUTES = (
    Route("GET", "/offers", "Compute on sale, with price and stock", offers, a.Offers, query=OffersQuery),
    Route("GET", "/images", "Images of workspaces", images, a.Images, query=ListQuery),
    Route("GET", "/datasets", "The platform's datasets", datasets, a.Items, query=ListQuery),
    Route("GET", "/models", "The platform's models", models, a.Items, query=ListQuery),
    Route("GET", "/data-disks", "Sizes of data disks, with price", disks, a.Disks, query=ListQuery),
    Route("POST", "/quotes", "What a workspace will cost, before buying", quote, a.Quote, body=QuoteBody),
)
