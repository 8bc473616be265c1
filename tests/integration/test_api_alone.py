"""The console by itself: before the Hub is there, when the database is gone, and at its end."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ark_extensions.storage import Storage, migrate
from tests.console_stage import Stage, _state, ask, until
from tests.ports import free_port


@pytest.fixture
def alone() -> Iterator[Stage]:
    """A console whose Hub does not exist."""
    with tempfile.TemporaryDirectory(prefix="ark-alone-") as name:
        directory = Path(name)
        ports = {"hub": free_port(), "console": free_port(), "proxy_api": free_port()}
        settings = _state(directory, ports, {"console_token": "console-" + "0" * 32, "cookie_secret": os.urandom(32).hex()})
        migrate(settings.resolved_database_url)
        stage = Stage(ports["hub"], ports["console"], directory, settings, Storage(settings.resolved_database_url), {})
        stage.start_console()
        try:
            until(stage.console_answers)
            yield stage
        finally:
            stage.processes["console"].kill()
            stage.processes["console"].wait(10)
            stage.storage.close()


def test_it_starts_without_a_hub_and_says_so(alone: Stage) -> None:
    page = ask(alone.console_port, "GET", "/services/console/marketplace")
    assert (page.status, page.headers["Location"].startswith("/hub/api/oauth2/authorize")) == (302, True)
    answer = alone.api("GET", "/me", token="a" * 32)
    assert (answer.status, answer.code) == (503, "hub_unreachable")
    assert answer.json["error"]["message"] == "The Hub does not answer now. Try again in a minute."
    assert alone.api("GET", "/me").status == 401


def test_health_is_the_databases(alone: Stage) -> None:
    assert ask(alone.console_port, "GET", "/services/console/health").json == {"status": "ok"}
    with sqlite3.connect(alone.settings.state_dir / "ark.sqlite") as connection:
        connection.execute("ALTER TABLE events RENAME TO events_hidden")
    connection.close()
    sick = ask(alone.console_port, "GET", "/services/console/health")
    assert sick.status == 503 and sick.json["error"]["code"] == "database"
    assert "events" not in sick.json["error"]["message"]


def test_a_callback_that_was_not_begun_here_begins_again(alone: Stage) -> None:
    answer = ask(alone.console_port, "GET", "/services/console/oauth_callback?code=x&state=y")
    assert (answer.status, answer.headers["Location"]) == (302, "/services/console/")
    assert ask(alone.console_port, "GET", "/services/console/oauth_callback").status == 400
    assert ask(alone.console_port, "GET", "/services/console/oauth_callback?error=access_denied").status == 403


def test_sigterm_ends_it_at_once(alone: Stage) -> None:
    process = alone.processes["console"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "Traceback" not in (alone.directory / "console.log").read_text()
