"""VS Code's server as a process of the workspace: started when first wanted, and started again when it has ended.

Not by jupyter-server-proxy, which asks ever more rarely whether a start is done (after 10, 20, 41 and 82 s, so that 11 s become
20 and 42 s become 82), holds the browser's request meanwhile, and never starts again what has ended with 0, as code-server does
when the kernel kills its larger half for memory.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from enum import StrEnum
from tempfile import mkdtemp
from typing import Any

#: how long a start may take: 3 s on a quiet machine, half a minute on a crowded one
GIVE_UP_SECONDS = 180.0
#: its two halves wait 10 s for each other and end when a crowded machine is slower: then it is tried again
ATTEMPTS = 5
LOOK_SECONDS = 0.1
ANSWER_SECONDS = 60.0
END_SECONDS = 3.0


class State(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class Editor:
    """One server on one unix socket. ``command`` makes its command line from the socket's path."""

    def __init__(
        self, command: Callable[[str], Sequence[str]], environment: dict[str, str], *, give_up_seconds: float = GIVE_UP_SECONDS
    ) -> None:
        self._command = command
        self._environment = environment
        self._give_up_seconds = give_up_seconds
        self._process: Process | None = None
        self._start: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._began = 0.0
        self.state = State.ABSENT
        self.socket = os.path.join(mkdtemp(prefix="vscode-"), "socket")  # in a directory that is ours alone
        self.log: Any = None
        atexit.register(self._signal, signal.SIGTERM)

    @property
    def seconds(self) -> int:
        """How long the present start has taken."""
        return int(time.monotonic() - self._began) if self.state is State.STARTING else 0

    def begin(self) -> None:
        """Start it unless it runs or starts already."""
        if self.state in (State.STARTING, State.READY):
            return
        self.state, self._began = State.STARTING, time.monotonic()
        self._start = asyncio.ensure_future(self._started())

    async def wait(self, seconds: float = GIVE_UP_SECONDS) -> bool:
        """Start it if need be; True as soon as it answers, False when it does not in time. Whoever waits may go: the start goes on."""
        self.begin()
        if self._start is not None and self.state is State.STARTING:
            await asyncio.wait({self._start}, timeout=seconds)
        return self.state is State.READY

    async def _started(self) -> None:
        deadline = time.monotonic() + self._give_up_seconds
        try:
            for _ in range(ATTEMPTS):
                if await self._attempt(deadline):
                    self.state = State.READY
                    self._say("VS Code answers after %.1f s", time.monotonic() - self._began)
                    return
                if time.monotonic() > deadline:
                    break
        except OSError as error:
            self._say("VS Code cannot be started: %s", error)
        finally:
            if self.state is not State.READY:
                self.state = State.FAILED
                await self._end()

    async def _attempt(self, deadline: float) -> bool:
        environment = {**os.environ, **self._environment}
        # a process group of its own: its halves end together
        process = await asyncio.create_subprocess_exec(*self._command(self.socket), env=environment, stdin=DEVNULL, process_group=0)
        self._process = process
        while process.returncode is None and time.monotonic() < deadline:
            if await self._answers():
                self._watch = asyncio.ensure_future(self._watched(process))
                return True
            await asyncio.sleep(LOOK_SECONDS)
        self._say("VS Code has not begun to answer (it ended with %s)", process.returncode)
        return False

    async def _answers(self) -> bool:
        """Its start page has been asked for, so all of it is loaded: what is opened next is there at once."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return (await reader.readline()).startswith(b"HTTP/")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _watched(self, process: Process) -> None:
        code = await process.wait()
        if self._process is process:
            self._signal(signal.SIGKILL)  # what is left of its group
            self.state, self._process = State.ABSENT, None
            self._say("VS Code has ended (%s): it is started again when it is opened", code)

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            pass
        self._signal(signal.SIGKILL)
        self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass

    def _say(self, text: str, *values: object) -> None:
        if self.log is not None:
            self.log.info("Ark: " + text, *values)
