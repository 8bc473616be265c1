"""What both spawners share: a start is authorized, told, and reported; a stop is reported; errors are plain words.

Promises: nothing runs that `authorize_launch` did not allow on this very start; billing begins when the Hub itself calls
the server ready; a refused start of a server that is no workspace leaves no row in the Hub; no use case ever runs on the
event loop. A runtime implements `launch`, `poll_process`, `end_process` and `clean_up`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, NoReturn, TypeVar

from jupyterhub.spawner import Spawner, SpawnException
from jupyterhub.utils import url_escape_path, url_path_join
from tornado.web import HTTPError
from traitlets import Callable as CallableTrait

from ark_extensions.domain.autostop import StopReason
from ark_extensions.domain.errors import ArkError, Forbidden, NotFound
from ark_extensions.domain.workspaces import LaunchSpec
from ark_extensions.usecases import launches
from ark_extensions.usecases.views import Sentence
from ark_spawner.beats import Beats
from ark_spawner.failures import StartFailure, as_start_failure, status_of
from ark_spawner.options import workspace_id as workspace_id_of

T = TypeVar("T")

#: a use case and the event loop take turns this often (Python's own is 5 ms): each of its 20 statements waits for a turn, while
#: it holds the database
SWITCH_SECONDS = 0.0005
#: how long a state that the Hub's database does not have yet waits for others
SAVE_SECONDS = 1.0

ENDED = Sentence("The workspace's server ended by itself (exit code {exit_code}). Start it again; files in /home/user are kept.")
UNRESPONSIVE = Sentence("The workspace's server did not answer any more, so the platform ended it. Start it again.")


def now() -> datetime:
    return datetime.now(UTC)


class WorkspaceLifecycle(Spawner):  # type: ignore[misc]  # jupyterhub has no types
    """Mixed in before a spawner class."""

    open_storage = CallableTrait(help="Called without arguments; returns the installation's Storage").tag(config=True)

    #: use cases, one after the other: the database lets one of them write at a time, and those that wait for it sleep. Apart
    #: from them what takes seconds: a hundred stops at once must not hold up the books
    _threads: ClassVar[ThreadPoolExecutor] = ThreadPoolExecutor(1, "ark-use-case", partial(sys.setswitchinterval, SWITCH_SECONDS))
    _workers: ClassVar[ThreadPoolExecutor] = ThreadPoolExecutor(max_workers=64, thread_name_prefix="ark-work")
    _beats: ClassVar[Beats] = Beats()
    _saving: ClassVar[asyncio.TimerHandle | None] = None
    _unsaved: ClassVar[list[WorkspaceLifecycle]] = []

    #: what its events say when a start begins
    starting: ClassVar[Sentence] = launches.STARTING

    _workspace_id: str | None = None
    _launch_id: str | None = None
    _was_ready = False
    _ended: tuple[int | None, Sentence | None] | None = None
    #: it is known not to have run any more by then
    _not_after: datetime | None = None
    _reason: StopReason | None = None
    _failure: StartFailure | None = None
    _authorizing: asyncio.Future[LaunchSpec] | None = None
    _watching: asyncio.Task[None] | None = None

    # what a runtime implements

    async def launch(self, spec: LaunchSpec) -> str:
        """Start the workspace and return its URL once it answers; raises StartFailure, at once when its process dies."""
        raise NotImplementedError

    async def poll_process(self) -> int | None:
        """None while it runs or is being launched, else its exit code (0: not known)."""
        raise NotImplementedError

    async def end_process(self) -> None:
        """End it within 10 seconds, everything it started included."""
        raise NotImplementedError

    async def clean_up(self) -> dict[str, Any]:
        """After every end, also of a failed start: end what is left and remove the system disk. Returns detail for the
        stop's event; ``cause`` in it, if any, is the Sentence that says why it ended."""
        raise NotImplementedError

    # the Hub's side

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._steps: list[dict[str, Any]] = []
        self._stepped = asyncio.Event()
        super().__init__(*args, **kwargs)

    async def start(self) -> str:
        self._begin()
        try:
            spec = await self._authorize()
        except ArkError as refusal:
            await self._refused(refusal)
        try:
            url = await self.launch(spec)
        except Exception as error:
            failure = self._failure = as_start_failure(error)
            if failure is not error:
                self.log.exception("Start of %s failed", self._log_name)
            raise SpawnException(str(failure), reason=failure.code, status_code=503) from None
        self._watching = asyncio.get_running_loop().create_task(self._watch_ready(self._spawn_future))
        return url

    async def stop(self, now: bool = False) -> None:
        self._note_why_it_stops()
        await self.end_process()

    async def poll(self) -> int | None:
        status = await self.poll_process()
        if status is None:
            if self._check_pending and self._watching is None:  # a restarted Hub looks at it: tell as soon as it is ready
                self._watching = asyncio.get_running_loop().create_task(self._watch_ready(None))
            await self._alive()
        elif self._ended is None and self._launch_id is not None:
            self._ended = (status, Sentence(ENDED.msgid, {"exit_code": status}))
        return status

    async def run_post_stop_hook(self) -> None:
        """The last word of every stop: clean up, then tell the platform."""
        if self._authorizing is not None:  # a start interrupted while it was being authorized: learn its launch id
            await asyncio.wait([self._authorizing])
        try:
            detail = await self.clean_up()
        except Exception:
            self.log.exception("Cleaning up after %s failed", self._log_name)
            detail = {}
        await self._record_stop(detail)
        self._revoke_tokens()

    async def rename(self, old_name: str, new_name: str) -> NoReturn:
        raise HTTPError(403, "A workspace keeps its name. Change its display name in the console.")

    def delete_forever(self) -> None:
        """Nothing: the data disk belongs to the platform, which deletes it after the recycle period."""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        shown = 0
        while True:
            while shown < len(self._steps):
                yield self._steps[shown]
                shown += 1
            self._stepped.clear()
            await self._stepped.wait()

    # state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        launch_id, workspace = state.get("launch_id"), state.get("workspace_id")
        self._launch_id = launch_id if isinstance(launch_id, str) else None
        self._workspace_id = workspace if isinstance(workspace, str) else None
        self._was_ready = state.get("ready") is True

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self._launch_id is not None:
            state |= {"launch_id": self._launch_id, "workspace_id": self._workspace_id, "ready": self._was_ready}
        return state

    def clear_state(self) -> None:
        super().clear_state()
        self._workspace_id = self._launch_id = None
        self._was_ready = False

    # steps of a start

    def step(self, progress: int, message: str, **more: Any) -> None:
        """One line of the Hub's progress stream."""
        self._steps.append({"progress": progress, "message": message, **more})
        self._stepped.set()

    def _begin(self) -> None:
        self._steps.clear()
        self._ended = self._not_after = self._reason = self._failure = self._authorizing = None
        self._was_ready = False

    async def _authorize(self) -> LaunchSpec:
        self.step(5, "Checking the order, the wallet and the stock")
        self._workspace_id = workspace_id_of(self.user_options)
        if not self.name:
            raise Forbidden("Workspaces have names: create one in the console's marketplace.", code="default_server")
        asked: dict[str, Any] = {"owner": self.user.name, "server_name": self.name, "workspace_id": self._workspace_id}
        call = partial(launches.authorize_launch, **asked, now=now(), said=self.starting)
        self._authorizing = asyncio.ensure_future(self.use_case(call))
        self._authorizing.add_done_callback(self._authorized)
        return await asyncio.shield(self._authorizing)

    def _authorized(self, done: asyncio.Future[LaunchSpec]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._launch_id = done.result().launch_id

    async def _refused(self, refusal: ArkError) -> NoReturn:
        """Say why, free what a request may have reserved, and leave no trace of what is no workspace."""
        known = True
        try:
            message = Sentence(refusal.msgid, refusal.params)
            await self.use_case(partial(launches.start_failed, owner=self.user.name, name=self.name, message=message, now=now()))
        except NotFound:
            known = False
        except Exception:
            self.log.exception("A refused start of %s could not be recorded", self._log_name)
        if not known and self.name:
            self._after_spawn(self._remove_row)
        self._workspace_id = None
        self.orm_spawner.user_options = {}  # what was refused must not wait there for the next start
        raise SpawnException(str(refusal), reason=refusal.code, status_code=status_of(refusal)) from None

    def _after_spawn(self, act: Callable[[], None]) -> None:
        """Do it when the Hub has put this spawn behind it, and before it answers the request."""
        if self._spawn_future is not None:
            self._spawn_future.add_done_callback(lambda _: act())
        else:
            asyncio.get_running_loop().call_later(0.5, act)

    def _remove_row(self) -> None:
        user, row = self.user, self.orm_spawner
        try:
            if user.orm_spawners.get(self.name) is row and row.server is None:
                user.spawners.pop(self.name, None)
                user.db.delete(row)
                user.db.commit()
        except Exception:
            user.db.rollback()
            self.log.exception("The row of the refused server %s could not be removed", self._log_name)

    # reports

    async def use_case(self, call: Callable[..., T]) -> T:
        """Run a use case in a thread, with the storage as its first argument."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(self.open_storage()))

    async def note(self, kind: str, severity: str, message: Sentence, detail: dict[str, Any] | None = None) -> None:
        """Tell the workspace's user something; a failure to tell is logged, and never stops a start."""
        if self._workspace_id is None:
            return
        call = partial(
            launches.record_note, workspace_id=self._workspace_id, kind=kind, severity=severity, message=message, now=now(), detail=detail
        )
        try:
            await self.use_case(call)
        except Exception:
            self.log.exception("An event of %s could not be recorded", self._log_name)

    async def _watch_ready(self, spawning: asyncio.Future[Any] | None) -> None:
        launch_id = self._launch_id
        if spawning is not None:
            await asyncio.wait([spawning])
        while launch_id == self._launch_id and self.pending in ("spawn", "check"):
            await asyncio.sleep(0.05)
        if launch_id == self._launch_id and self.ready:
            await self._alive()

    async def _alive(self) -> None:
        """A sign of life of a server that the Hub calls ready; the first one opens the run."""
        if not self.ready or self._launch_id is None or self._workspace_id is None:
            return
        workspace_id, launch_id = self._workspace_id, self._launch_id
        if not self._was_ready:
            self._was_ready = True
            try:
                await self.use_case(partial(launches.record_ready, workspace_id=workspace_id, launch_id=launch_id, now=now()))
            except Exception:
                self._was_ready = False  # the next poll tells it again
                self.log.exception("Readiness of %s could not be recorded", self._log_name)
                return
            if self._launch_id == launch_id and self.ready:
                self._save_soon()
        self._beats.seen(workspace_id, launch_id, now(), self._tell_alive)

    def _save_soon(self) -> None:
        """Its state goes to the Hub's database with that of others, in one commit: each costs the event loop milliseconds. A
        Hub that dies before tells of readiness once more, which changes nothing. Nothing is changed before the commit: the Hub
        rolls back what it finds changed when a request comes."""
        self._unsaved.append(self)
        loop, waiting = asyncio.get_running_loop(), WorkspaceLifecycle._saving
        if waiting is None or waiting.when() < loop.time():  # one whose time has passed is of a loop that has ended
            WorkspaceLifecycle._saving = loop.call_later(SAVE_SECONDS, self._save)

    def _save(self) -> None:
        waiting, WorkspaceLifecycle._unsaved, WorkspaceLifecycle._saving = self._unsaved, [], None
        try:
            for spawner in waiting:
                if spawner.user.db is self.user.db and spawner._was_ready and spawner.ready:
                    spawner.orm_spawner.state = spawner.get_state()
            self.user.db.commit()
        except Exception:
            self.user.db.rollback()
            self.log.exception("States of servers could not be saved")

    async def _tell_alive(self, alive: Mapping[str, str], since: datetime) -> None:
        try:
            await self.use_case(partial(launches.record_alive, alive=alive, now=since))
        except Exception:
            self.log.exception("%d signs of life could not be recorded", len(alive))

    def _note_why_it_stops(self) -> None:
        """A stop that came through the Hub and not through the console has to name its cause too."""
        if not self._was_ready:
            return
        # the Hub's shutdown is the one caller that makes `User.stop` a task of its own
        task = asyncio.current_task()
        if task is not None and getattr(task.get_coro(), "__qualname__", "") == "User.stop":
            self._reason = StopReason.SHUTDOWN
        elif getattr(self, "_stop_future", None) is not None:
            self._reason = StopReason.HUB
        else:
            self._ended = (None, UNRESPONSIVE)

    async def _record_stop(self, detail: dict[str, Any]) -> None:
        if self._launch_id is None or self._workspace_id is None:
            return
        self._beats.forget(self._workspace_id)
        exit_code, cause = self._ended or (None, None)
        cause = detail.pop("cause", None) or cause
        if self._failure is not None:
            exit_code, cause, detail = None, self._failure.sentence, {**detail, **self._failure.detail, "code": self._failure.code}
        call = partial(
            launches.record_stop,
            workspace_id=self._workspace_id,
            launch_id=self._launch_id,
            now=now(),
            exit_code=exit_code,
            was_ready=self._was_ready,
            reason=self._reason,
            cause=cause,
            detail=detail,
            not_after=self._not_after,
        )
        try:
            await self.use_case(call)
        except Exception:  # the reconciler finds it
            self.log.exception("The stop of %s could not be recorded", self._log_name)

    def _revoke_tokens(self) -> None:
        """The Hub forgets a server's token over its own restart: end every token made for this server."""
        note = f"Server at {url_path_join(self.user.base_url, url_escape_path(self.name), '/')}"
        db = self.user.db
        for token in list(self.user.orm_user.api_tokens):
            if token.note == note:
                db.delete(token)
        db.commit()
