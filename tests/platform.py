"""A real platform in a directory of its own: what integration, browser and bench runs talk to.

Promises: free ports, nothing shared with another installation but the built environments, and nothing left when it is
closed: neither processes nor files (its logs go to ``test-results/`` when a test has failed).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ark_extensions.environments import PROJECT
from ark_extensions.supervisor import lock
from tests.ports import free_port

T = TypeVar("T")
API = "/services/console/api/v1"
START_SECONDS = 150.0
STOP_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. ``json`` is None where the body is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Platform:
    """One installation. ``settings``: what its ark.yaml says (JSON is YAML)."""

    def __init__(self, state_dir: Path | None = None, *, settings: Mapping[str, Any] | None = None) -> None:
        self.state_dir = state_dir or Path(tempfile.mkdtemp(prefix="ark-test-"))
        self.port = free_port()
        self.ssh_port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._tokens: dict[str, str] = {}
        self.state_dir.mkdir(parents=True, exist_ok=True)
        if settings:
            (self.state_dir / "ark.yaml").write_text(json.dumps(dict(settings)))

    @property
    def admin_password(self) -> str:
        return (self.state_dir / "secrets/admin_password").read_text().strip()

    def start(self) -> str:
        """Start in the background and return what it said; raises with its logs if it does not answer."""
        said = self.ark("up", "--background", "--port", str(self.port), seconds=START_SECONDS, check=False)
        if said.returncode != 0:
            raise AssertionError(f"the platform did not start:\n{said.stdout}\n{said.stderr}\n{self.logs()}")
        return said.stdout

    def stop(self) -> None:
        self.ark("down", seconds=STOP_SECONDS)

    def restart(self) -> str:
        self.stop()
        return self.start()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Signal one process of the platform (``supervisor``, ``hub``, ``proxy``, ``console``, …); its former id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def pid(self, name: str) -> int:
        facts = self.status()
        return int(facts["pid"] if name == "supervisor" else facts["processes"][name])

    def status(self) -> dict[str, Any]:
        """What the supervisor has noted of itself: pid, address, ready, processes; ``running`` False when there is none."""
        pid = lock.holder(self.state_dir)
        return {"processes": {}, **(lock.noted(self.state_dir) if pid else {}), "running": pid is not None, "pid": pid}

    def ark(self, *arguments: str, seconds: float = 60.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `ark` command on this installation."""
        command = [sys.executable, "-m", "ark_extensions.cli", *arguments]
        done = subprocess.run(
            command,
            env=self.environment(),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"ark {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARK_", "JUPYTER", "LC_", "LANG"))}
        cache = {name: os.environ[name] for name in ("ARK_CACHE", "ARK_CACHE_DIR") if name in os.environ}
        return {**kept, **cache, "LANG": "C.UTF-8", "ARK_SSH_PORT": str(self.ssh_port), **self._place()}

    def _place(self) -> dict[str, str]:
        return {"ARK_STATE_DIR": str(self.state_dir), "PYTHONPATH": str(PROJECT)}

    def add_user(self, name: str, *, admin: bool = False) -> str:
        """A new user; returns the password."""
        return self.ark("user", "add", name, *(["--admin"] if admin else [])).stdout.strip()

    def token(self, user: str = "admin", expires: str = "2h") -> str:
        """An API token of a user; the same one again for the same user."""
        if user not in self._tokens:
            self._tokens[user] = self.ark("token", user, "--expires", expires).stdout.strip()
        return self._tokens[user]

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        user: str | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Answer:
        """One request; ``body`` is sent as JSON; ``user`` signs it with that user's token. Redirects are not followed."""
        token = token or (self.token(user) if user else None)
        sent = {"Accept": "application/json", **({"Authorization": f"token {token}"} if token else {}), **(headers or {})}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body=data, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, *, user: str = "admin", seconds: float = 30.0) -> Answer:
        """A request to the REST API, as a user."""
        return self.request(method, API + path, body, user=user, seconds=seconds)

    def make_room(self) -> None:
        """Stop what others left running on a shared platform: the machine's compute is sold once."""
        busy = ("creating", "starting", "running", "stopping")
        for found in self.api("GET", "/admin/workspaces").json["items"]:
            if found["state"] in ("starting", "running"):
                self.api("POST", f"/admin/workspaces/{found['owner']}/{found['name']}/stop", {})
        wait_until(lambda: all(w["state"] not in busy for w in self.api("GET", "/admin/workspaces").json["items"]), seconds=120)

    def answers(self) -> bool:
        try:
            return all(self.request("GET", path, seconds=2).status == 200 for path in ("/hub/health", "/services/console/health"))
        except (OSError, http.client.HTTPException):
            return False

    def logs(self, *, lines: int = 40) -> str:
        parts = []
        for log in sorted((self.state_dir / "logs").glob("*.log")):
            end = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
            parts.append(f"--- {log.name}\n{end}")
        return "\n".join(parts)

    def processes(self) -> list[int]:
        """Every process that belongs to this installation, workspaces included."""
        mark = f"ARK_STATE_DIR={self.state_dir}".encode()
        path = str(self.state_dir).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                ours = mark in (entry / "environ").read_bytes().split(b"\0") or path in (entry / "cmdline").read_bytes()
                alive = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            except OSError:
                continue
            if ours and alive:
                found.append(int(entry.name))
        return found

    def close(self, *, keep_logs: bool = False) -> None:
        """Stop it, whatever state it is in, and remove its directory."""
        try:
            self.ark("down", seconds=STOP_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            pass
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if keep_logs and (self.state_dir / "logs").is_dir():
            kept = PROJECT / "test-results" / "logs" / self.state_dir.name
            shutil.copytree(self.state_dir / "logs", kept, dirs_exist_ok=True)
        make_removable(self.state_dir)
        shutil.rmtree(self.state_dir, ignore_errors=True)


def make_removable(directory: Path) -> None:
    """Catalogue versions are read-only: give back the right to remove them."""
    for folder, _, _ in os.walk(directory):
        try:
            os.chmod(folder, 0o700)
        except OSError:
            continue


def wait_until(what: Callable[[], T | None], *, seconds: float = 60.0, every: float = 0.1, message: str = "") -> T:
    """Poll until ``what`` answers something true, and return that; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(message or f"it did not happen within {seconds} s")
        time.sleep(every)
