"""What every looping service shares: do a thing every N seconds until SIGTERM, and never die of one bad pass.

Promises: passes of one job never overlap; a failed pass is logged as one line (the trace goes to debug) and tried
again after a growing pause; a pass that ends well touches ``<state_dir>/runtime/<service>.beat``, so that `ark doctor`
can tell a service that hangs from one that lives. Nothing here decides anything: a job calls a use case in a thread and acts.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

log = logging.getLogger("ark")

P = ParamSpec("P")
T = TypeVar("T")

FORMAT = "%(asctime)s %(levelname)s %(message)s"
TIMES = "%Y-%m-%dT%H:%M:%S%z"
#: a job that keeps failing is tried at least this often
LONGEST_PAUSE_SECONDS = 60.0
#: a pass that is under way at SIGTERM may take this long to end
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Job:
    """``act`` answers a sentence for the log, or None when there was nothing to do."""

    name: str
    every_seconds: float
    act: Callable[[], Awaitable[str | None]]


def utc_now() -> datetime:
    return datetime.now(UTC)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a use case off the event loop: one hop, one transaction."""
    return await asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **kwargs))


def pause_after(every_seconds: float, failures: int) -> float:
    """Seconds to wait before the next pass: the job's own rhythm; after failures 2, 4, 8 … seconds, at most a minute."""
    return every_seconds if failures == 0 else min(2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)


async def repeat(job: Job, *, pause: Callable[[float], Awaitable[bool]], beat: Callable[[], None] = lambda: None) -> None:
    """Pass after pass until ``pause(seconds)`` answers True (time to end)."""
    failures = 0
    while True:
        try:
            sentence = await job.act()
            if sentence:
                log.info("%s: %s", job.name, sentence)
            if failures:
                log.info("%s: works again.", job.name)
            failures = 0
            beat()
        except Exception as error:
            failures += 1
            wait = pause_after(job.every_seconds, failures)
            log.warning("%s: this pass failed (%s: %s). Next try in %.0f s.", job.name, type(error).__name__, error, wait)
            log.debug("%s: the failed pass", job.name, exc_info=True)
        if await pause(pause_after(job.every_seconds, failures)):
            return


def beat_file(state_dir: Path, service: str) -> Path:
    """The file whose modification time is the end of the service's last good pass."""
    return state_dir / "runtime" / f"{service}.beat"


async def run_until_sigterm(service: str, jobs: Sequence[Job], *, state_dir: Path) -> None:
    """Run the jobs side by side; SIGTERM or SIGINT ends them after the pass that is under way."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    path = beat_file(state_dir, service)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def pause(seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), seconds)
        return ending.is_set()

    log.info("%s runs.", service)
    tasks = [asyncio.create_task(repeat(job, pause=pause, beat=path.touch), name=job.name) for job in jobs]
    await ending.wait()
    _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    for task in late:
        task.cancel()
    log.info("%s ends.", service)


def log_to_stderr() -> None:
    """One line an event; the supervisor writes stderr to ``logs/<service>.log``."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, datefmt=TIMES)


def log_beside() -> None:
    """The same lines of our own code in a process whose logging is another's: the Hub's. Once, however often it is asked for."""
    if log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT, TIMES))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
