"""Kubernetes' API as far as the adapters need it: read lists, change and delete single objects, in plain synchronous calls.

Promises: every call ends within its time; what the server asks to be tried again (429, 5xx) or a broken connection is tried
again a few times, with pauses; a list is whole or refused, also when the server's cursor expires under it (410); a rotated
service-account token is read anew. Whatever fails is one exception with one sentence. Called in threads; one connection a call.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from ark_extensions.domain.errors import Unavailable
from ark_extensions.settings import Settings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 500
TRIES = 4
PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
MERGE = "application/merge-patch+json"
#: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9, "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18, "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40, "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip
QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")

Document = Mapping[str, Any]


class ClusterError(Unavailable):
    """The Kubernetes API did not do what was asked. ``status``: its HTTP status; 0: no answer."""

    code = "cluster_unavailable"

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__("The Kubernetes API refused {what} ({status}: {reason}).", what=what, status=status, reason=reason[:300])
        self.status = status


@dataclass(frozen=True)
class Access:
    """Where the API is, and how it knows us. ``token`` is asked for at each call."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]


def access_of(settings: Settings) -> Access:
    """By the setting ``kubernetes.kubeconfig``, else as the pod that this process runs in, else by ``KUBECONFIG``."""
    named = settings.kubernetes.kubeconfig
    if named is None and "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists():
        return in_cluster()
    file = named or Path(os.environ.get("KUBECONFIG") or "~/.kube/config")
    return from_kubeconfig(file.expanduser())


def in_cluster() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    tls = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", tls, lambda: (SERVICE_ACCOUNT / "token").read_text().strip())


def from_kubeconfig(file: Path) -> Access:
    """The file's current context: certificate authority, client certificate or token. Raises ClusterError for what cannot be used."""
    try:
        document = yaml.safe_load(file.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        if "exec" in user or "auth-provider" in user:
            raise ClusterError(f"the kubeconfig {file}", 0, "it runs a program to sign in; make one with a token or a certificate")
        return Access(cluster["server"].rstrip("/"), _tls(cluster, user, file.parent), _token(user, file.parent))
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration, ssl.SSLError) as error:
        raise ClusterError(f"the kubeconfig {file}", 0, f"{type(error).__name__}: {error}") from error


def _named(entries: Sequence[Document], name: str) -> Document:
    return next(entry for entry in entries if entry["name"] == name)


def _bytes(entry: Document, name: str, beside: Path) -> bytes | None:
    """An item that a kubeconfig has inline (``NAME-data``) or in a file."""
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return (beside / entry[name]).read_bytes() if name in entry else None


def _tls(cluster: Document, user: Document, beside: Path) -> ssl.SSLContext | None:
    if urlsplit(cluster["server"]).scheme == "http":
        return None
    authority = _bytes(cluster, "certificate-authority", beside)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    certificate, key = _bytes(user, "client-certificate", beside), _bytes(user, "client-key", beside)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as pair:  # OpenSSL reads files only; this one is ours alone, and gone at once
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)
    return tls


def _token(user: Document, beside: Path) -> Callable[[], str | None]:
    if "tokenFile" in user:
        return lambda: (beside / user["tokenFile"]).read_text().strip()
    return lambda: user.get("token")


def quantity(text: str | int) -> Decimal:
    """A Kubernetes quantity as a number: ``1500m`` is 1.5, ``2Gi`` is 2147483648. Raises ValueError."""
    found = QUANTITY.fullmatch(str(text))
    if found is None or found[2] not in SUFFIXES:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(found[1]) * SUFFIXES[found[2]]


def is_ready(machine: Document) -> bool:
    conditions = (machine.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


class ClusterApi:
    """``timeout_seconds`` is for one try of one call."""

    def __init__(self, access: Access, *, timeout_seconds: float = 10.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._access, self._timeout_seconds, self._sleep = access, timeout_seconds, sleep

    @classmethod
    def of(cls, settings: Settings) -> ClusterApi:
        return cls(access_of(settings), timeout_seconds=settings.kubernetes.request_timeout_seconds)

    def get(self, path: str, **query: str) -> Document | None:
        """One object, or None when there is none."""
        try:
            return self._call("GET", path, query)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a list, page by page; begun again when its cursor expires."""
        for _ in range(TRIES):
            found: list[dict[str, Any]] = []
            cursor = {"limit": str(PAGE)}
            try:
                while True:
                    page = self._call("GET", path, {**query, **cursor})
                    found += page.get("items") or []
                    following = (page.get("metadata") or {}).get("continue")
                    if not following:
                        return found
                    cursor["continue"] = following
            except ClusterError as error:
                if error.status != 410:
                    raise
        raise ClusterError(f"the list {path}", 410, "its cursor expired again and again")

    def patch(self, path: str, change: Mapping[str, Any]) -> Document:
        """Merge ``change`` into an object."""
        return self._call("PATCH", path, {}, change)

    def create(self, path: str, document: Mapping[str, Any]) -> Document:
        return self._call("POST", path, {}, document)

    def delete(self, path: str, *, uid: str | None = None, grace_seconds: int | None = None) -> bool:
        """Delete an object, with ``uid`` only that very one; False when it is not there any more."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._call("DELETE", path, {}, options)
        except ClusterError as error:
            if error.status == 404 or (error.status == 409 and uid is not None):  # another one of that name is not ours to delete
                return False
            raise
        return True

    def _call(self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Document:
        what = f"{method} {path}"
        for left in reversed(range(TRIES)):
            status, reason, pause = 0, "", 0.0
            try:
                status, document, after = self._once(method, path, query, body)
                if status < 300:
                    return document
                reason = str(document.get("message") or document.get("reason") or "")
                pause = after
            except (OSError, HTTPException, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            conflict = status == 409 and method != "PATCH"
            if not left or conflict or (status and status not in AGAIN):
                raise ClusterError(what, status, reason)
            self._sleep(min(max(pause, PAUSE_SECONDS * 2 ** (TRIES - 1 - left)), LONGEST_PAUSE_SECONDS))
        raise AssertionError

    def _once(self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None) -> tuple[int, Document, float]:
        place = urlsplit(self._access.server)
        connection = self._connection(place.hostname or "", place.port)
        headers = {"Accept": "application/json"}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = MERGE if method == "PATCH" else "application/json"
        address = f"{place.path}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            connection.request(method, address, json.dumps(body) if body is not None else None, headers)
            answer: HTTPResponse = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        after = answer.headers.get("Retry-After", "")
        return answer.status, _document(text, answer.status), float(after) if after.isdecimal() else 0.0

    def _connection(self, host: str, port: int | None) -> HTTPConnection:
        if self._access.tls is None:
            return HTTPConnection(host, port, timeout=self._timeout_seconds)
        return HTTPSConnection(host, port, timeout=self._timeout_seconds, context=self._access.tls)


def _document(text: bytes, status: int) -> Document:
    """A page of a proxy in between is no object: below 300 it is an error like a broken connection."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if status < 300:
        raise ValueError("the answer is no JSON object")
    return {"message": text[:200].decode("utf-8", "replace")}
