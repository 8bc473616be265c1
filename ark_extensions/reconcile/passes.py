"""What the reconciler does in one pass: mend what is in doubt, empty the recycle bin, clear what crashes left behind."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Protocol

from ark_extensions.domain.workspaces import State
from ark_extensions.hub import HubState
from ark_extensions.loop import in_thread
from ark_extensions.storage import Storage
from ark_extensions.usecases.reconciliation import Suspect, active_ids, disk_deleted, expired_releases, knows_any, mend, suspects
from ark_extensions.usecases.workspaces import list_workspaces

log = logging.getLogger("ark")

#: questions on the way to the Hub at the same time
AT_ONCE = 20


class KnowsServers(Protocol):
    """The part of the Hub's client that the reconciler needs."""

    async def server_state(self, user: str, name: str) -> HubState: ...

    async def stop_server(self, user: str, name: str) -> None: ...

    async def remove_server(self, user: str, name: str) -> None: ...


class Disks(Protocol):
    """The part of the volumes adapter that the reconciler needs; deleting what is gone is no error."""

    def delete_data_disk(self, workspace_id: str) -> None: ...

    def run_dirs(self) -> list[str]: ...

    def remove_run_dir(self, workspace_id: str) -> None: ...


async def mend_suspects(storage: Storage, hub: KnowsServers, *, now: datetime) -> str | None:
    """Ask the Hub about each workspace in doubt, and put on record what is true, or have the Hub do what is on record.
    One that cannot be asked stays in doubt."""
    doubtful = await in_thread(suspects, storage, now=now)
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(suspect: Suspect) -> bool:
        async with turn:
            try:
                state = await hub.server_state(suspect.owner, suspect.name)
                if suspect.state is State.STOPPING and state == "ready":  # the order is on record, the Hub never took it
                    await hub.stop_server(suspect.owner, suspect.name)
                    return True
                sentence = await in_thread(mend, storage, suspect=suspect, hub_state=state, now=now)
            except Exception as error:
                who = (suspect.workspace_id, suspect.owner, suspect.name)
                log.warning("workspace=%s %s/%s stays in doubt (%s: %s).", *who, type(error).__name__, error)
                return False
        return sentence is not None

    mended = sum(await asyncio.gather(*map(one, doubtful)))
    return f"{mended} of {len(doubtful)} workspaces in doubt were mended." if mended else None


async def empty_recycle_bin(storage: Storage, hub: KnowsServers, disks: Disks, *, now: datetime) -> str | None:
    """Delete the data disks of workspaces released long enough ago. Disk, then server, then record: a crash in between
    repeats a deletion of nothing, and the name is free for a new workspace only when the old server is gone."""
    expired = await in_thread(expired_releases, storage, now=now)
    if not expired:
        return None
    known = {w.id: w for w in await in_thread(list_workspaces, storage, now=now)}
    deleted = 0
    for workspace_id in expired:
        try:
            await in_thread(disks.delete_data_disk, workspace_id)
            await in_thread(disks.remove_run_dir, workspace_id)
            if workspace_id in known:
                await hub.remove_server(known[workspace_id].owner, known[workspace_id].name)
            await in_thread(disk_deleted, storage, workspace_id=workspace_id, now=now)
            deleted += 1
        except Exception as error:
            log.warning("The data disk of %s could not be deleted now (%s: %s).", workspace_id, type(error).__name__, error)
    return f"{deleted} of {len(expired)} data disks in the recycle bin were deleted."


async def clear_leftovers(storage: Storage, disks: Disks) -> str | None:
    """Remove system disks (in a cluster: end pods) of workspaces that hold no compute: a crash between stop and clean-up leaves them.

    They are listed before the states are read: a launch is on record before its system disk is made. A database without any
    workspace is taken for the wrong one, and nothing is ended on its word.
    """
    found = await in_thread(disks.run_dirs)
    if not found:
        return None
    if not await in_thread(knows_any, storage):
        log.warning("There are %d system disks and the database knows no workspace: is it the right one? Nothing is done.", len(found))
        return None
    active = await in_thread(active_ids, storage)
    leftover = [workspace_id for workspace_id in found if workspace_id not in active]
    removed = 0
    for workspace_id in leftover:
        try:
            await in_thread(disks.remove_run_dir, workspace_id)
            removed += 1
        except Exception as error:
            log.warning("The system disk of %s could not be removed now (%s: %s).", workspace_id, type(error).__name__, error)
    return f"{removed} system disks left behind were removed." if removed else None
