"""Work that outlives a request: copies, with progress and a way to stop them. In memory: a copy that is cut off by a
restart has left nothing, and is asked for again."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ark_extensions.domain.errors import ArkError, Conflict, NotFound
from ark_extensions.domain.files import Usage
from ark_extensions.netdisk.copying import Copy, Stopped, weigh
from ark_extensions.netdisk.desk import Desk, Office
from ark_extensions.netdisk.exchange import copy_source
from ark_extensions.netdisk.handlers import problem_of
from ark_extensions.netdisk.removing import remove_in_background
from ark_extensions.netdisk.walking import measure

log = logging.getLogger("ark.netdisk")
RUNNING_MAX = 4
KEPT_MAX = 50


@dataclass
class Job:
    """``state``: running, done, failed or stopped."""

    id: str
    pairs: list[tuple[str, str]]
    on_conflict: str
    begun_at: datetime
    state: str = "running"
    total: Usage = Usage(0, 0)
    finished: Usage = Usage(0, 0)
    copy: Copy | None = None
    error: ArkError | None = None
    stop_asked: bool = False
    #: opens what is copied when it is no path of the tree (a catalogue item); the descriptor is closed here
    source: Callable[[], int] | None = None
    results: list[str] = field(default_factory=list)

    @property
    def done(self) -> Usage:
        return self.finished + (self.copy.done if self.copy else Usage(0, 0))


class Jobs:
    """All copies of one process."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._of: dict[str, OrderedDict[str, Job]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def of(self, user: str) -> list[Job]:
        return list(reversed(self._of.get(user, OrderedDict()).values()))

    def get(self, user: str, id: str) -> Job:
        job = self._of.get(user, OrderedDict()).get(id)
        if job is None:
            raise NotFound("This copy is not known any more.")
        return job

    def stop(self, user: str, id: str) -> Job:
        job = self.get(user, id)
        job.stop_asked = True
        return job

    def begin(self, desk: Desk, pairs: list[tuple[str, str]], *, on_conflict: str, source: Callable[[], int] | None = None) -> Job:
        mine = self._of.setdefault(desk.owner, OrderedDict())
        if sum(job.state == "running" for job in mine.values()) >= RUNNING_MAX:
            raise Conflict("Some copies are still running. Wait for one of them, or stop it.", code="too_many")
        while len(mine) >= KEPT_MAX:
            del mine[next(id for id, job in mine.items() if job.state != "running")]
        job = mine[secrets.token_hex(8)] = Job("", pairs, on_conflict, self._office.clock(), source=source)
        job.id = next(reversed(mine))
        task = asyncio.ensure_future(self._run(desk, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _run(self, desk: Desk, job: Job) -> None:
        try:
            for source, _ in job.pairs:
                if job.source is not None:
                    job.total += await self._office.at_length(weigh_source, job.source)
                else:
                    job.total += await self._office.at_length(weigh, desk.tree, source)
            with desk.admitted(job.total):
                for source, target in job.pairs:
                    await self._copy(desk, job, source, target)
            job.state = "done"
        except Stopped:
            job.state = "stopped"
        except ArkError as error:
            job.state, job.error = "failed", error
        except Exception:
            log.exception("a copy of %s ended badly", desk.owner)
            job.state, job.error = "failed", problem_of(500)

    async def _copy(self, desk: Desk, job: Job, source: str, target: str) -> None:
        copy = job.copy = Copy(desk.tree, stop=lambda: job.stop_asked)
        if job.source is not None:
            path, doomed = await self._office.at_length(copy_source, copy, job.source, target, job.on_conflict)
        else:
            path, doomed = await self._office.at_length(copy.run, source, target, on_conflict=job.on_conflict)
        desk.account(copy.done)
        if doomed is not None:
            remove_in_background(self._office, desk, doomed)
        job.results.append(path)
        job.finished, job.copy = job.finished + copy.done, None


def weigh_source(opens: Callable[[], int]) -> Usage:
    fd = opens()
    try:
        return measure(fd) + Usage(0, 1)
    finally:
        os.close(fd)
