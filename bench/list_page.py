"""The list of workspaces with 200 rows: server time of the page, and how many queries it makes whatever their number.

The real console answers over HTTP on the loopback; only the Hub is a stand-in that knows one token. Server time is from the
request's arrival to the answer's end, in the server.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import RequestHandler

from ark_extensions.console.app import make_app
from ark_extensions.console.pages.workspaces import ROWS_A_PART
from ark_extensions.hub import Hub, TokenOwner
from ark_extensions.settings import Settings
from ark_extensions.storage import Storage
from bench.measure import Row, no_more_than
from bench.population import NOON, Crowd, fresh_storage, populate

#: what is asked for → (address, rows that its answer holds when there are 200)
PAGES = {
    "page, its first part": ("workspaces", ROWS_A_PART),
    "page, a search over all": ("workspaces?q=ws-19", 11),
    "API, all": ("api/v1/workspaces?limit=200", 200),
}
ROUNDS = 40
SCOPES = frozenset({"custom:ark:account", "access:services!service=console"})


class OneToken(Hub):
    """A Hub at which the token `bench` belongs to the crowd's only user."""

    async def user_of_token(self, token: str) -> TokenOwner | None:
        return TokenOwner("user00000", "user", False, SCOPES) if token == "bench" else None


def settings_in(directory: Path) -> Settings:
    secrets = directory / "secrets"
    secrets.mkdir()
    for name in ("cookie_secret", "console_token"):
        (secrets / name).write_text(os.urandom(32).hex())
    return Settings(state_dir=directory)


def count_queries(storage: Storage) -> Callable[[], int]:
    """Answers how many statements ran since it was last asked."""
    seen = [0]

    def one(*_: Any) -> None:
        seen[0] += 1

    for engine in storage.engines:
        event.listen(engine, "before_cursor_execute", one)

    def since() -> int:
        number, seen[0] = seen[0], 0
        return number

    return since


async def measure(path: str, rows: int, shown: int) -> tuple[float, int]:
    """(median server time in ms, queries of one answer), where there are ``rows`` workspaces and the answer holds ``shown``."""
    times: list[float] = []
    with fresh_storage() as storage, tempfile.TemporaryDirectory(prefix="ark-bench-") as directory:
        populate(storage, Crowd(owners=1, each=rows), now=NOON)
        app = make_app(settings_in(Path(directory)), storage, OneToken("http://127.0.0.1:1/hub/api"))
        app.settings["ark"].clock = lambda: NOON

        def note(handler: RequestHandler) -> None:
            times.append(1000 * handler.request.request_time())

        app.settings["log_function"] = note
        sockets = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(app)
        server.add_sockets(sockets)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/services/console/{path}"
        client = AsyncHTTPClient(force_instance=True)
        queries = count_queries(storage)
        try:
            for number in range(ROUNDS + 5):
                answer = await client.fetch(url, headers={"Authorization": "token bench"}, request_timeout=30)
                held = max(answer.body.count(b'<tbody class="ws '), answer.body.count(b'"display_name"'))
                assert held == shown, (held, answer.body[:500])
                if number < 5:  # sign-in, templates, statements: once a process
                    times.clear()
                    queries()
            return statistics.median(times), queries() // ROUNDS
        finally:
            server.stop()
            await app.settings["ark"].close()


def run() -> list[Row]:
    found = []
    for kind, (path, shown) in PAGES.items():
        few = asyncio.run(measure(path, 20, 1 if "q=" in path else 20))
        many = asyncio.run(measure(path, 200, shown))
        found.append(no_more_than(f"list of 200 workspaces ({kind}): p50", many[0], "ms", limit=30.0))
        found.append(
            Row(
                f"queries of the list at 200, against 20 ({kind})",
                many[1],
                "queries",
                few[1],
                many[1] / few[1],
                "= baseline",
                many[1] == few[1],
            )
        )
    return found
