"""Carrying an accepted start, stop or release to the Hub, after the caller has their answer.

Promises: the caller's own token is used, and its rights are checked before anything is recorded; a start that the Hub or
the spawner's gate refuses is put on record with its sentence; what is not known (no answer, a crash in between) is left
to the reconciler, which finds out.
"""

from __future__ import annotations

import asyncio
import logging

from ark_extensions.console.auth import Principal
from ark_extensions.console.context import Console
from ark_extensions.domain.errors import ArkError, Forbidden
from ark_extensions.hub import Hub, Unanswered
from ark_extensions.usecases.launches import start_failed
from ark_extensions.usecases.views import Sentence, WorkspaceView

log = logging.getLogger("ark.console")

#: the Hub takes this long to be done with the step before (a stop that just ended)
BUSY_TRIES = 40
BUSY_PAUSE_SECONDS = 0.5


def require_rights(principal: Principal, act: str, name: str | None = None) -> None:
    """Raises Forbidden when the caller's token could not ``start`` or ``delete`` this server at the Hub."""
    if not principal.may_act_on_servers(act, name):
        raise Forbidden(
            "This token may look, but not start, stop or release workspaces. Use a token that has the right to.",
            code="token_without_servers",
        )


async def start(ark: Console, principal: Principal, view: WorkspaceView) -> None:
    """Start at the Hub; a refusal is recorded as the reason why the workspace did not start."""
    hub = ark.hub.acting_as(principal.token)
    for attempt in range(1, BUSY_TRIES + 1):
        try:
            await hub.start_server(view.owner, view.name, view.id)
            return
        except Unanswered as error:
            log.warning("workspace=%s start of %s/%s: %s", view.id, view.owner, view.name, error)
            return
        except ArkError as error:
            if error.code == "hub_pending" and attempt < BUSY_TRIES:
                await asyncio.sleep(BUSY_PAUSE_SECONDS)
                continue
            log.info("workspace=%s start of %s/%s refused: %s", view.id, view.owner, view.name, error)
            message = Sentence(error.msgid, error.params)
            await ark.use(start_failed, owner=view.owner, name=view.name, message=message, now=ark.clock())
            return


async def stop(hub: Hub, owner: str, name: str) -> None:
    """Stop at the Hub. A failure is only logged: the order is on record, and the reconciler comes back to it."""
    try:
        await hub.stop_server(owner, name)
    except ArkError as error:
        log.warning("stop of %s/%s: %s", owner, name, error)


async def remove(hub: Hub, owner: str, name: str) -> None:
    """Let the Hub forget a released server; a restored workspace makes it anew."""
    try:
        await hub.remove_server(owner, name)
    except ArkError as error:
        log.warning("removal of %s/%s: %s", owner, name, error)
