"""What administrators do: users and their wallets, everybody's workspaces, taking things off sale."""

from __future__ import annotations

from ark_extensions.console import servers
from ark_extensions.console.api import answers as a
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import CreditBody, ListQuery, WithdrawBody
from ark_extensions.console.api.routes import Call, NoInput, Route
from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.money import parse_amount
from ark_extensions.usecases import launches, market, operator, users, wallet, workspaces


async def people(call: Call) -> a.People:
    page, following = shapes.cut(await call.use(users.list_users), call.query.limit, call.query.cursor)
    return a.People(items=[shapes.person(view) for view in page], next=following)


async def _known(call: Call) -> str:
    name = call.path["user"]
    if len(name) > 255 or await call.use(users.get_user, name=name) is None:
        raise NotFound("There is no user {name}. They appear here after their first sign-in.", name=name[:60])
    return name


async def wallet_of(call: Call) -> a.Wallet:
    return shapes.wallet(await call.use(wallet.wallet, user=await _known(call), now=call.now), call.currency)


async def credit(call: Call) -> a.Balance:
    body: CreditBody = call.body
    name = await _known(call)
    balance = await call.use(
        operator.credit,
        user=name,
        amount_micros=parse_amount(body.amount),
        actor=call.user,
        reason=body.reason,
        request_id=body.request_id,
        now=call.now,
        expires_at=body.expires_at,
    )
    return a.Balance(user=name, balance=shapes.money(balance, call.currency))


async def all_workspaces(call: Call) -> a.Workspaces:
    views = await call.use(workspaces.list_workspaces, owner=None, now=call.now)
    page, following = shapes.cut(views, call.query.limit, call.query.cursor)
    return a.Workspaces(items=[shapes.workspace(view, call) for view in page], next=following)


async def stop(call: Call) -> a.Workspace:
    """With the administrator's own rights where their token has them, else with the console's."""
    owner, name = call.path["owner"], call.path["name"]
    view = await call.use(launches.request_stop, owner=owner, name=name, actor=call.user, reason=StopReason.OPERATOR, now=call.now)
    hub = call.ark.hub.acting_as(call.principal.token) if "delete:servers" in call.principal.scopes else call.ark.hub
    call.ark.in_background(servers.stop(hub, view.owner, view.name))
    return shapes.workspace(view, call)


async def withdraw(call: Call) -> None:
    body: WithdrawBody = call.body
    await call.use(market.withdraw, what=body.what, id=body.id, now=call.now)


ROUTES = (
    Route("GET", "/admin/users", "All users", people, a.People, access="admin", query=ListQuery),
    Route("GET", "/admin/users/{user}/wallet", "A user's wallet", wallet_of, a.Wallet, access="admin"),
    Route(
        "POST",
        "/admin/users/{user}/credit",
        "Give money to a user's wallet, with a reason",
        credit,
        a.Balance,
        access="admin",
        body=CreditBody,
    ),
    Route("GET", "/admin/workspaces", "Everybody's workspaces", all_workspaces, a.Workspaces, access="admin", query=ListQuery),
    Route(
        "POST",
        "/admin/workspaces/{owner}/{name}/stop",
        "Stop anybody's workspace",
        stop,
        a.Workspace,
        access="admin",
        body=NoInput,
        status=202,
    ),
    Route(
        "POST",
        "/admin/withdrawals",
        "Take an offer, image, dataset or model off sale",
        withdraw,
        None,
        access="admin",
        body=WithdrawBody,
        status=204,
    ),
)
