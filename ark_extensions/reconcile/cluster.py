"""What the reconciler does where workspaces are pods: stock that follows the nodes, lost machines, and disks without a workspace.

Promises: a pass that cannot ask the cluster changes nothing and comes again; a database that knows no workspace at all is
taken for the wrong one, and nothing is ended or deleted on its word.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from ark_extensions.loop import Job, in_thread, utc_now
from ark_extensions.nodes import Machines
from ark_extensions.storage import Storage
from ark_extensions.usecases.reconciliation import known_disks, knows_any, machine_lost, missing_disks
from ark_extensions.usecases.stock import refresh_stock
from ark_extensions.volumes.kubernetes import ClusterDisks, DataDisk, LostPod

log = logging.getLogger("ark")


STOCK_SECONDS = 5.0
LOST_SECONDS = 10.0
DISKS_SECONDS = 30.0


class Pods(Protocol):
    """The part of the volumes adapter that knows of lost machines."""

    def lost_pods(self) -> Sequence[LostPod]: ...

    def remove_lost(self, workspace_id: str) -> None: ...


class Claims(Protocol):
    """The part of the volumes adapter that knows data disks as claims."""

    def data_disks(self) -> Sequence[DataDisk]: ...

    def delete_data_disk(self, workspace_id: str) -> None: ...

    def grow_data_disk(self, workspace_id: str, size_gib: int) -> bool: ...

    def mark_orphan(self, workspace_id: str, since: datetime | None) -> None: ...


def cluster_jobs(storage: Storage, machines: Machines, disks: ClusterDisks, *, recycle: timedelta) -> list[Job]:
    """What the reconciler does beside its other jobs."""

    async def stock() -> str | None:
        return await follow_stock(storage, machines)

    async def lost() -> str | None:
        return await give_up_lost(storage, disks, now=utc_now())

    async def data_disks() -> str | None:
        return await tend_disks(storage, disks, recycle=recycle, now=utc_now())

    return [Job("stock", STOCK_SECONDS, stock), Job("lost machines", LOST_SECONDS, lost), Job("data disks", DISKS_SECONDS, data_disks)]


async def follow_stock(storage: Storage, machines: Machines) -> str | None:
    """What is on sale is what the machines have left now."""
    nodes = await in_thread(machines.read)
    if await in_thread(refresh_stock, storage, nodes=nodes):
        gpus = sum(len(node.gpus) for node in nodes)
        return f"The stock has changed: {len(nodes)} machines with {gpus} GPUs are for sale."
    return None


async def give_up_lost(storage: Storage, pods: Pods, *, now: datetime) -> str | None:
    """A machine that does not answer: its workspaces are told so, and their pods are given up, so that they can start elsewhere."""
    lost = await in_thread(pods.lost_pods)
    given_up = 0
    for pod in lost:
        try:
            await in_thread(machine_lost, storage, workspace_id=pod.workspace_id, node=pod.node, now=now)
            await in_thread(pods.remove_lost, pod.workspace_id)
            given_up += 1
        except Exception as error:
            log.warning("The pod of %s on %s could not be given up now (%s: %s).", pod.workspace_id, pod.node, type(error).__name__, error)
    return f"{given_up} of {len(lost)} workspaces on lost machines were given up." if lost else None


async def tend_disks(storage: Storage, claims: Claims, *, recycle: timedelta, now: datetime) -> str | None:
    """Grow what was bought bigger; mark disks whose workspace nobody knows, and delete them when they were marked for ``recycle``;
    tell those whose disk is gone."""
    # the disks first: a workspace is on record before its disk is made
    disks = await in_thread(claims.data_disks)
    known = await in_thread(known_disks, storage)
    if disks and not await in_thread(knows_any, storage):
        log.warning("The cluster has %d data disks and the database knows no workspace: is it the right one? Nothing is done.", len(disks))
        return None
    done: dict[str, int] = {}
    for disk in disks:
        try:
            act = await _tend(disk, known.get(disk.workspace_id), claims, recycle, now)
        except Exception as error:
            log.warning("The data disk of %s could not be tended now (%s: %s).", disk.workspace_id, type(error).__name__, error)
            continue
        if act:
            done[act] = done.get(act, 0) + 1
    missing = await in_thread(missing_disks, storage, present={disk.workspace_id for disk in disks}, now=now)
    if missing:
        done["missing"] = len(missing)
    return "Data disks: " + ", ".join(f"{count} {act}" for act, count in sorted(done.items())) + "." if done else None


async def _tend(disk: DataDisk, bought_gib: int | None, claims: Claims, recycle: timedelta, now: datetime) -> str | None:
    if bought_gib is None:
        if disk.orphan_since is None:
            await in_thread(claims.mark_orphan, disk.workspace_id, now)
            return "without a workspace were marked"
        if disk.orphan_since + recycle <= now:
            await in_thread(claims.delete_data_disk, disk.workspace_id)
            return "without a workspace were deleted"
        return None
    if disk.orphan_since is not None:
        await in_thread(claims.mark_orphan, disk.workspace_id, None)
    if bought_gib > disk.size_gib and await in_thread(claims.grow_data_disk, disk.workspace_id, bought_gib):
        return "grow"
    return None
