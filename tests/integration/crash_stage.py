"""What the crash tests stand on: a workspace on a real platform, and the questions that must have the same answers after a kill."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ark_extensions.storage import Storage
from ark_extensions.usecases.books import check_books
from ark_extensions.usecases.views import RunView
from ark_extensions.usecases.wallet import list_runs
from ark_spawner.processes import descendants, read_mark
from tests.platform import Platform, wait_until

#: a platform that charges often, so that a kill has something to interrupt
BUSY_SETTINGS = {"settle_interval_seconds": 1, "opening_credit": "1000.00"}
#: the promise, held against what the platform has recorded: states are true this soon after a crash
TRUE_WITHIN = timedelta(seconds=30)
#: how long a test waits before it calls something broken, on a machine that is busy with other tests
PATIENCE = 120.0


@dataclass(frozen=True)
class Someone:
    """A user of their own, and the workspaces they have on this platform."""

    platform: Platform
    name: str

    @classmethod
    def on(cls, platform: Platform) -> Someone:
        name = f"u{uuid.uuid4().hex[:8]}"
        platform.add_user(name)
        return cls(platform, name)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.platform.api(method, path, body, user=self.name)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.text[:500]}"
        return answer.json

    def order(self, name: str = "crash", **extra: Any) -> None:
        offers = self.api("GET", "/offers?available=true&plan=payg")["items"]
        offer = min(offers, key=lambda o: (o["vcpu"], o["memory_gib"]))
        self.api(
            "POST", "/workspaces", {"request_id": uuid.uuid4().hex, "name": name, "offer": offer["id"], "image": "python-cpu", **extra}
        )

    def state(self, name: str = "crash") -> str:
        return str(self.api("GET", f"/workspaces/{name}")["state"])

    def wait_for(self, *states: str, name: str = "crash", seconds: float = PATIENCE) -> str:
        def there() -> str | None:
            try:
                state = self.state(name)
            except (OSError, AssertionError):  # the console may be the one that was killed
                return None
            return state if state in states else None

        return wait_until(
            there, seconds=seconds, message=f"{name} was not {' or '.join(states)} within {seconds} s\n{self.platform.logs()}"
        )

    def running(self, name: str = "crash", **extra: Any) -> str:
        """Order a workspace and wait until its JupyterLab answers; returns what identifies this very server."""
        self.order(name, **extra)
        self.wait_for("running", name=name)
        return wait_until(lambda: self.jupyter(name), seconds=PATIENCE)

    def happened(self, kind: str, name: str = "crash") -> list[datetime]:
        """When events of a kind happened to a workspace, the newest first."""
        return [datetime.fromisoformat(e["at"]) for e in self.api("GET", f"/workspaces/{name}/events")["items"] if e["kind"] == kind]

    def jupyter(self, name: str = "crash") -> str | None:
        """The moment at which the workspace's own Jupyter server began: the same moment is the same process. None: no answer."""
        try:
            answer = self.platform.request("GET", f"/user/{self.name}/{name}/api/status", user=self.name, seconds=5)
        except OSError:
            return None
        return str(answer.json["started"]) if answer.status == 200 and answer.json else None

    def processes(self, name: str = "crash") -> list[int]:
        """The sandbox of a workspace and all in it, as the machine sees them."""
        run_dir = self.platform.state_dir / "runs" / self.api("GET", f"/workspaces/{name}")["id"]
        mark = read_mark(run_dir / "process")
        assert mark is not None, f"nothing in {run_dir} says which process it is"
        return [mark.pid, *descendants(mark.pid)]

    def runs(self) -> list[RunView]:
        storage = Storage(f"sqlite:///{self.platform.state_dir / 'ark.sqlite'}")
        try:
            return list_runs(storage, user=self.name, month=None, now=datetime.now(UTC))
        finally:
            storage.close()


def books_are_right(platform: Platform) -> None:
    storage = Storage(f"sqlite:///{platform.state_dir / 'ark.sqlite'}")
    try:
        assert check_books(storage) == []
    finally:
        storage.close()


def back(platform: Platform, name: str, killed: int) -> datetime:
    """Wait until the supervisor has put another process in the place of the killed one, and people are answered; when that was."""

    def replaced() -> bool:
        processes = platform.status()["processes"]
        return processes.get(name, killed) != killed and platform.answers()

    wait_until(replaced, seconds=PATIENCE, every=0.3, message=f"{name} was not started again\n{platform.logs()}")
    return datetime.now(UTC)
