"""What all handlers of one console process share: settings, the database, the Hub, who was seen, and work in the background.

Promises: a use case runs in a thread, one hop; a user has an account (and the opening credit) before the first use case
runs for them; what was begun in the background is awaited for a moment at the end of the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from ark_extensions.console.auth import SERVICE, Principal
from ark_extensions.console.sse import Feed
from ark_extensions.hub import Hub
from ark_extensions.loop import utc_now
from ark_extensions.payments.configured import configured
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from ark_extensions.usecases.users import ensure_user
from ark_extensions.web.hub_client import HubOAuth
from ark_extensions.web.oauth import service_oauth
from ark_extensions.web.tokens import TokenLookup

log = logging.getLogger("ark.console")

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
PEOPLE_MAX = 50_000
#: after so long a user is looked up again: the language may have been chosen elsewhere
GREET_SECONDS = 600.0


@dataclass
class Console:
    """One of these a process; handlers find it in the application's settings under ``ark``."""

    settings: Settings
    storage: Storage
    hub: Hub
    tokens: TokenLookup
    oauth: HubOAuth
    clock: Callable[[], datetime] = utc_now
    languages: dict[str, str | None] = field(default_factory=dict)
    _seen: dict[tuple[str, bool], float] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="usecase")
        self.feed = Feed(self.use)
        self.providers = configured(self.settings)

    @classmethod
    def of(cls, settings: Settings, storage: Storage, hub: Hub) -> Console:
        return cls(settings, storage, hub, TokenLookup(hub), service_oauth(settings, SERVICE))

    async def use(self, verb: Callable[Concatenate[Storage, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a use case in a thread: one hop, one transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(verb, self.storage, *args, **kwargs))

    async def greet(self, principal: Principal) -> None:
        """Give a user who comes for the first time an account; later calls cost nothing."""
        key = (principal.user, principal.admin)
        if not principal.account or time.monotonic() < self._seen.get(key, 0.0):
            return
        user = await self.use(
            ensure_user,
            name=principal.user,
            admin=principal.admin,
            opening_credit_micros=self.settings.opening_credit_micros,
            now=self.clock(),
        )
        if len(self._seen) >= PEOPLE_MAX:
            self._seen.clear()
            self.languages.clear()
        self._seen[key] = time.monotonic() + GREET_SECONDS
        self.languages[principal.user] = user.language

    def in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Carry on after the answer has gone out; a failure is logged, never lost in silence."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work in the background ended badly", exc_info=task.exception())

    async def close(self, *, grace_seconds: float = 5.0) -> None:
        """End streams, wait for work under way, release threads and connections."""
        await self.feed.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_seconds)
        for task in set(self._tasks):
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
