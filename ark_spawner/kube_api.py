"""The few requests that a spawner makes to the Kubernetes API, on plain dictionaries.

Promises: every answer is one of three things, the object, a refusal (`ApiRefusal`, asking again is of no use) or "not
now" (`NotNow`: too busy, failed, too slow, unreachable), and `persist` asks again for as long as it may. A request whose
answer was lost may have been done: callers repeat only what can be repeated.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException

from ark_spawner.pod import Manifest

T = TypeVar("T")

#: kinds of objects, as they are called in addresses
POD, SECRET, CLAIM = "pods", "secrets", "persistentvolumeclaims"
#: answers that another try may change
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 3.0
LOG_BYTES = 16_000


class ApiRefusal(Exception):
    """The API server said no. ``reason`` is its word for it, ``message`` its text: for experts only."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotNow(Exception):
    """The API server is too busy, too slow or not there. ``wait_seconds``: what it asked for."""

    def __init__(self, text: str, *, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


class ClusterApi:
    """One namespace of one cluster."""

    def __init__(self, client: ApiClient, namespace: str, *, timeout_seconds: float) -> None:
        self._client = client
        self._namespace = namespace
        self._timeout_seconds = timeout_seconds

    async def create(self, kind: str, body: Manifest) -> Manifest:
        """The object as the cluster has it. Raises ApiRefusal(409) when there is one of that name."""
        return await self._ask("POST", kind, body=body)

    async def read(self, kind: str, name: str) -> Manifest | None:
        """The object as it is now (no cache in between); None when there is none."""
        try:
            return await self._ask("GET", f"{kind}/{name}")
        except ApiRefusal as refusal:
            if refusal.status == 404:
                return None
            raise

    async def delete(self, kind: str, name: str, *, grace_seconds: int | None = None, uid: str | None = None) -> bool:
        """Ask for its end; False when there is none, or not the one with that uid."""
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._ask("DELETE", f"{kind}/{name}", body=body)
        except ApiRefusal as refusal:
            if refusal.status in (404, 409):
                return False
            raise
        return True

    async def grow_claim(self, name: str, gib: int) -> Manifest:
        """Ask for a larger disk. Raises ApiRefusal where its storage class cannot grow."""
        change = {"spec": {"resources": {"requests": {"storage": f"{gib}Gi"}}}}
        return await self._ask("PATCH", f"{CLAIM}/{name}", body=change)

    async def log_tail(self, pod: str, container: str) -> str:
        """The end of what the container printed; empty when it cannot be had."""
        try:
            answer = await self._send("GET", f"{POD}/{pod}/log?container={container}&tailLines=100&limitBytes={LOG_BYTES}")
            return answer.decode(errors="replace")
        except (ApiRefusal, NotNow):
            return ""

    async def persist(self, call: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Ask until there is an answer other than "not now", for so long; then raises the last NotNow."""
        loop = asyncio.get_running_loop()
        deadline, wait = loop.time() + seconds, FIRST_WAIT_SECONDS
        while True:
            try:
                return await call()
            except NotNow as busy:
                pause = max(wait * random.uniform(0.5, 1.0), min(busy.wait_seconds, LONGEST_WAIT_SECONDS))
                if loop.time() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    async def _ask(self, verb: str, path: str, **more: Any) -> Manifest:
        answer: Manifest = json.loads(await self._send(verb, path, **more))
        return answer

    async def _send(self, verb: str, path: str, *, body: Manifest | None = None) -> bytes:
        """With the generated client's connections, proxies and token, but not through its methods: they walk through every
        value of a body and cost the event loop as much as the request itself."""
        client = self._client
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        headers = {**client.default_headers, "Accept": "application/json, */*", "Content-Type": kind}
        url = f"{client.configuration.host}/api/v1/namespaces/{self._namespace}/{path}"
        try:
            await client.update_params_for_auth(headers, [], ["BearerToken"])  # renewed where it runs out
            answer = await client.rest_client.request(
                verb, url, headers=headers, body=body, _preload_content=False, _request_timeout=self._timeout_seconds
            )
            data: bytes = await answer.read()
        except ApiException as error:
            raise NotNow(str(error)) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NotNow(f"{type(error).__name__}: {error}") from error
        if 200 <= answer.status <= 299:
            return data
        status = _status(data)
        reason, message = str(status.get("reason") or answer.reason), str(status.get("message") or data[:500].decode(errors="replace"))
        if answer.status in TEMPORARY:
            raise NotNow(f"{answer.status} {reason}: {message}", wait_seconds=_seconds(answer.headers.get("Retry-After")))
        raise ApiRefusal(answer.status, reason, message)


def _status(body: bytes) -> Manifest:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0
