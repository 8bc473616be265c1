"""Workspaces: order, look, start, stop, change, release, restore; where to open them; their activity."""

from __future__ import annotations

from typing import Any

from ark_extensions.console import servers
from ark_extensions.console.api import answers as a
from ark_extensions.console.api import shapes
from ark_extensions.console.api.models import ChangeBody, CreateBody, ListQuery, ReleaseBody, StartBody
from ark_extensions.console.api.routes import Call, NoInput, Route
from ark_extensions.console.api.ssh import access_of
from ark_extensions.console.auth import PREFIX
from ark_extensions.domain.autostop import StopReason, resolve_auto_stop
from ark_extensions.domain.errors import InvalidField
from ark_extensions.domain.workspaces import State
from ark_extensions.usecases import launches, orders, workspaces


async def create(call: Call) -> a.Workspace:
    """The order is one transaction; the start at the Hub goes on after the answer."""
    body: CreateBody = call.body
    servers.require_rights(call.principal, "start")
    limit = call.ark.settings.max_workspaces_per_user
    view = await call.use(orders.place_order, user=call.user, order=body.order(), now=call.now, max_workspaces=limit)
    if view.state is State.CREATING:
        call.ark.in_background(servers.start(call.ark, call.principal, view))
    call.headers["Location"] = f"{PREFIX}api/v1/workspaces/{view.name}"
    return shapes.workspace(view, call)


async def all_mine(call: Call) -> a.Workspaces:
    views = await call.use(workspaces.list_workspaces, owner=call.user, now=call.now)
    page, following = shapes.cut(views, call.query.limit, call.query.cursor)
    return a.Workspaces(items=[shapes.workspace(view, call) for view in page], next=following)


async def one(call: Call) -> a.Workspace:
    view = await call.use(workspaces.get_workspace, owner=call.user, name=call.path["name"], now=call.now)
    return shapes.workspace(view, call)


async def start(call: Call) -> a.Workspace:
    body: StartBody = call.body
    name = call.path["name"]
    servers.require_rights(call.principal, "start", name)
    view = await call.use(
        launches.request_start, owner=call.user, name=name, offer=body.offer, asset=body.asset, actor=call.user, now=call.now
    )
    call.ark.in_background(servers.start(call.ark, call.principal, view))
    return shapes.workspace(view, call)


async def stop(call: Call) -> a.Workspace:
    """A workspace's own token may stop it too; the Hub is then asked with the console's rights, for this server only."""
    name = call.path["name"]
    if call.principal.account:
        servers.require_rights(call.principal, "delete", name)
    hub = call.ark.hub.acting_as(call.principal.token) if call.principal.may_act_on_servers("delete", name) else call.ark.hub
    view = await call.use(launches.request_stop, owner=call.user, name=name, actor=call.user, reason=StopReason.USER, now=call.now)
    call.ark.in_background(servers.stop(hub, view.owner, view.name))
    return shapes.workspace(view, call)


async def change(call: Call) -> a.Workspace:
    body: ChangeBody = call.body
    changes: dict[str, Any] = {}
    if "display_name" in body.model_fields_set:
        changes["display_name"] = body.display_name
    if "auto_stop" in body.model_fields_set:
        wanted = body.auto_stop
        changes["auto_stop_at"] = (
            None if wanted is None else resolve_auto_stop(after_minutes=wanted.after_minutes, at=wanted.at, now=call.now)
        )
    if "idle_stop_minutes" in body.model_fields_set:
        changes["idle_stop_minutes"] = body.idle_stop_minutes
    if "budget" in body.model_fields_set:
        changes["budget_run_micros"] = body.budget.micros(body.budget.run) if body.budget else None
        changes["budget_total_micros"] = body.budget.micros(body.budget.total) if body.budget else None
    if not changes:
        raise InvalidField("Say what to change: display_name, auto_stop, idle_stop_minutes or budget.", code="nothing_to_change")
    view = await call.use(workspaces.change_workspace, owner=call.user, name=call.path["name"], actor=call.user, now=call.now, **changes)
    return shapes.workspace(view, call)


async def release(call: Call) -> a.Workspace:
    body: ReleaseBody = call.body
    name = call.path["name"]
    servers.require_rights(call.principal, "delete", name)
    view = await call.use(
        workspaces.release_workspace,
        owner=call.user,
        name=name,
        confirm=body.confirm,
        actor=call.user,
        now=call.now,
        recycle_days=call.ark.settings.recycle_days,
    )
    call.ark.in_background(servers.remove(call.ark.hub.acting_as(call.principal.token), view.owner, view.name))
    return shapes.workspace(view, call)


async def restore(call: Call) -> a.Workspace:
    view = await call.use(workspaces.restore_workspace, owner=call.user, name=call.path["name"], actor=call.user, now=call.now)
    return shapes.workspace(view, call)


async def access(call: Call) -> a.Access:
    view = await call.use(workspaces.get_workspace, owner=call.user, name=call.path["name"], now=call.now)
    root = call.base_url + shapes.server_path(view.owner, view.name)
    ssh = await access_of(call, view.name)
    return a.Access(jupyter=f"{root}/lab", vscode=f"{root}/vscode/", ssh=a.Ssh(**ssh) if ssh else None)


async def activity(call: Call) -> None:
    """It worked just now: the idle deadline moves on."""
    await call.use(workspaces.record_activity, owner=call.user, name=call.path["name"], now=call.now)


ROUTES = (
    Route("POST", "/workspaces", "Order a workspace and start it", create, a.Workspace, body=CreateBody, status=201),
    Route("GET", "/workspaces", "All your workspaces, the newest first", all_mine, a.Workspaces, query=ListQuery),
    Route("GET", "/workspaces/{name}", "One workspace", one, a.Workspace, access="workspace"),
    Route(
        "PATCH",
        "/workspaces/{name}",
        "Rename, set or cancel the stops; also while it runs",
        change,
        a.Workspace,
        access="workspace",
        body=ChangeBody,
    ),
    Route("DELETE", "/workspaces/{name}", "Release: its data disk is deleted after some days", release, a.Workspace, body=ReleaseBody),
    Route("POST", "/workspaces/{name}/start", "Start, if you like on other compute", start, a.Workspace, body=StartBody, status=202),
    Route("POST", "/workspaces/{name}/stop", "Stop", stop, a.Workspace, access="workspace", body=NoInput, status=202),
    Route("POST", "/workspaces/{name}/restore", "Take back a release", restore, a.Workspace, body=NoInput),
    Route("GET", "/workspaces/{name}/access", "Where to open it", access, a.Access, access="workspace"),
    Route(
        "POST", "/workspaces/{name}/activity", "Report work, for idle stop", activity, None, access="workspace", body=NoInput, status=204
    ),
)
