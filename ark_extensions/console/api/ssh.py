"""SSH keys, what `ssh` needs to know of each workspace, and the end of connections; for operators the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr

from ark_extensions.console.api.answers import Output
from ark_extensions.console.api.models import Input
from ark_extensions.console.api.routes import Call, NoInput, Route
from ark_extensions.console.ssh_gateway import gateway
from ark_extensions.domain.errors import NotFound
from ark_extensions.domain.ssh_access import access, config_block, known_hosts
from ark_extensions.domain.ssh_keys import TEXT_MAX
from ark_extensions.usecases import ssh_keys, ssh_sessions, workspaces
from ark_extensions.usecases.ssh_keys import KeyView

NO_GATEWAY = "This installation has no SSH gateway."


class KeyBody(Input):
    """A public key as its file has it; without a name it is called by its comment."""

    public_key: Annotated[StrictStr, Field(max_length=2 * TEXT_MAX, examples=["ssh-ed25519 AAAAC3Nz… alice@laptop"])]
    name: Annotated[StrictStr, Field(max_length=TEXT_MAX)] | None = None


class AuditQuery(Input):
    days: Annotated[int, Field(ge=1, le=90)] = 7
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class SettingsBody(Input):
    start_on_connect: StrictBool


class SshSettings(Output):
    """``start_on_connect``: a connection to a stopped workspace starts it, which costs money as any start does."""

    start_on_connect: bool


class Key(Output):
    id: str
    name: str
    algorithm: str
    fingerprint: str
    public_key: str
    created_at: datetime
    last_used_at: datetime | None


class Keys(Output):
    items: list[Key]
    next: None = None


class AuditLine(Output):
    """``count``: how often within the minute that begins at ``at``."""

    at: datetime
    kind: Literal["key_added", "key_deleted", "signed_off", "refused"]
    user: str
    address: str
    fingerprint: str
    workspace: str
    reason: str
    count: int


class Audit(Output):
    items: list[AuditLine]
    next: None = None


def _shape(view: KeyView) -> Key:
    return Key(
        id=view.id,
        name=view.name,
        algorithm=view.algorithm,
        fingerprint=view.fingerprint,
        public_key=view.public_key,
        created_at=view.created_at,
        last_used_at=view.last_used_at,
    )


async def keys(call: Call) -> Keys:
    return Keys(items=[_shape(view) for view in await call.use(ssh_keys.list_keys, user=call.user)])


async def add(call: Call) -> Key:
    body: KeyBody = call.body
    return _shape(await call.use(ssh_keys.add_key, user=call.user, public_key=body.public_key, name=body.name, now=call.now))


async def delete(call: Call) -> None:
    """What the key had opened ends within seconds."""
    await call.use(ssh_keys.delete_key, user=call.user, key_id=call.path["id"], now=call.now)


async def read_settings(call: Call) -> SshSettings:
    found = await call.use(ssh_keys.account, user=call.user)
    return SshSettings(start_on_connect=found.start_on_connect)


async def change_settings(call: Call) -> SshSettings:
    body: SettingsBody = call.body
    await call.use(ssh_keys.set_start_on_connect, user=call.user, allowed=body.start_on_connect)
    return SshSettings(start_on_connect=body.start_on_connect)


async def sign_off(call: Call) -> None:
    await call.use(ssh_keys.sign_off, user=call.user, actor=call.user, now=call.now)


async def sign_somebody_off(call: Call) -> None:
    await call.use(ssh_keys.sign_off, user=call.path["user"], actor=call.user, now=call.now)


async def config_file(call: Call) -> str:
    """Lines for ``~/.ssh/config`` by which `ssh ws1`, `scp` and editors find every workspace."""
    found = gateway(call.ark.settings, call.base_url)
    if found is None:
        raise NotFound(NO_GATEWAY)
    mine = await call.use(workspaces.list_workspaces, owner=call.user, now=call.now, include_released=False)
    call.headers["Content-Disposition"] = 'attachment; filename="ark-ssh-config"'
    return config_block(call.user, sorted(view.name for view in mine), found)


async def known_hosts_file(call: Call) -> str:
    found = gateway(call.ark.settings, call.base_url)
    if found is None:
        raise NotFound(NO_GATEWAY)
    public = await call.use(ssh_sessions.host_public_keys, owner=call.user)
    call.headers["Content-Disposition"] = 'attachment; filename="ark-known-hosts"'
    return known_hosts(found, dict(public))


async def audit(call: Call) -> Audit:
    query: AuditQuery = call.query
    rows = await call.use(ssh_sessions.audit_log, since=call.now - timedelta(days=query.days), limit=query.limit)
    return Audit(items=[AuditLine.model_validate({name: row[name] for name in AuditLine.model_fields}) for row in rows])


async def access_of(call: Call, name: str) -> dict[str, str] | None:
    """The SSH part of a workspace's access: command, config, known_hosts."""
    found = gateway(call.ark.settings, call.base_url)
    if found is None:
        return None
    public = await call.use(ssh_sessions.host_public_keys, owner=call.user)
    return vars(access(call.user, name, found, public.get(name)))


ROUTES = (
    Route("GET", "/ssh-keys", "Your SSH keys, the newest first", keys, Keys),
    Route("POST", "/ssh-keys", "Add a public key", add, Key, body=KeyBody, status=201),
    Route("DELETE", "/ssh-keys/{id}", "Delete a key; connections it opened end", delete, None, body=NoInput, status=204),
    Route("GET", "/ssh-settings", "What your SSH connections may do", read_settings, SshSettings),
    Route("PATCH", "/ssh-settings", "Choose what your SSH connections may do", change_settings, SshSettings, body=SettingsBody),
    Route("DELETE", "/ssh-sessions", "End all your SSH connections", sign_off, None, body=NoInput, status=204),
    Route("GET", "/ssh-config", "Lines for ~/.ssh/config", config_file, None, media="text/plain"),
    Route("GET", "/ssh-known-hosts", "Lines for ~/.ssh/known_hosts", known_hosts_file, None, media="text/plain"),
    Route(
        "DELETE",
        "/admin/users/{user}/ssh-sessions",
        "End all SSH connections of a user",
        sign_somebody_off,
        None,
        access="admin",
        body=NoInput,
        status=204,
    ),
    Route("GET", "/admin/ssh-audit", "Who did or tried what over SSH", audit, Audit, access="admin", query=AuditQuery),
)
