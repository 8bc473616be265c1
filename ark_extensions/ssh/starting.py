"""A stopped workspace started by a connection, where its owner allowed that: asked for, waited for, and then dialled."""

from __future__ import annotations

import asyncio
import time

from ark_extensions.domain.errors import ArkError, Conflict
from ark_extensions.hub import Hub, Unanswered
from ark_extensions.loop import in_thread, utc_now
from ark_extensions.storage import Storage
from ark_extensions.usecases.launches import request_start, start_failed
from ark_extensions.usecases.ssh_keys import account
from ark_extensions.usecases.ssh_sessions import Target, find_target
from ark_extensions.usecases.views import Sentence

STARTABLE = frozenset({"workspace_stopped", "workspace_failed"})
COMING = frozenset({"workspace_starting", "workspace_creating"})
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.5


class Starter:
    """``hub`` None: connections start nothing here."""

    def __init__(self, storage: Storage, hub: Hub | None, console_url: str) -> None:
        self._storage, self._hub, self._console_url = storage, hub, console_url

    async def running(self, owner: str, workspace: str) -> Target:
        """The workspace when it runs, started if that is allowed; raises what `find_target`, the gate or the Hub refuse."""
        asked, deadline = False, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await in_thread(find_target, self._storage, owner=owner, workspace=workspace, console_url=self._console_url)
            except Conflict as refusal:
                waits = refusal.code in COMING or (refusal.code in STARTABLE and not asked)
                if self._hub is None or not waits or time.monotonic() > deadline or not await self._allowed(owner):
                    raise
                if refusal.code in STARTABLE:
                    asked = True
                    await self._start(self._hub, owner, workspace)
            await asyncio.sleep(LOOK_SECONDS)

    async def _allowed(self, owner: str) -> bool:
        return (await in_thread(account, self._storage, user=owner)).start_on_connect

    async def _start(self, hub: Hub, owner: str, workspace: str) -> None:
        try:
            view = await in_thread(request_start, self._storage, owner=owner, name=workspace, actor=owner, now=utc_now())
        except Conflict as refusal:
            if refusal.code in COMING or refusal.code == "workspace_running":
                return  # another connection was quicker
            raise
        try:
            await hub.start_server(view.owner, view.name, view.id)
        except Unanswered:
            return  # the reconciler finds out
        except ArkError as refusal:
            message = Sentence(refusal.msgid, refusal.params)
            await in_thread(start_failed, self._storage, owner=owner, name=workspace, message=message, now=utc_now())
            raise
