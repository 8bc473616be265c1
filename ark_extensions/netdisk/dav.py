"""WebDAV, class 1 and 2: reading, properties and locks. What changes files is in ``dav_writes``.

Promises: every header is read strictly (`conditions`); a lock is respected by every method that writes; a PROPFIND of any
folder goes out in pieces, in bounded memory.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from tornado.web import stream_request_body

from ark_extensions.domain.errors import ArkError, Conflict, Forbidden, Malformed, NotFound
from ark_extensions.domain.files import ChecksumMismatch, Usage, is_inside, join, split
from ark_extensions.netdisk import dav_xml
from ark_extensions.netdisk.conditions import (
    ConditionList,
    ElsewhereError,
    parse_depth,
    parse_if,
    parse_timeout,
    path_of,
    submitted_tokens,
)  # fmt: skip
from ark_extensions.netdisk.handlers import SMALL_BODY_MAX, FileHandler, PreconditionFailed, TooLarge, one_header, status_of
from ark_extensions.netdisk.listing import entries_of, resolve_links
from ark_extensions.netdisk.refusals import Exists
from ark_extensions.netdisk.sending import send_file
from ark_extensions.netdisk.tree import Entry, Tree
from ark_extensions.usecases import netdisk_dav
from ark_extensions.usecases.netdisk_dav import Lock, Locked

METHODS = ("OPTIONS", "GET", "HEAD", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK")


class UnsupportedBody(ArkError):
    """A body where none is understood (HTTP 415)."""

    code = "unsupported_body"


def dav_status(error: ArkError, method: str, status: int | None = None) -> tuple[int, dict[str, str]]:
    """(status, headers) of a refusal, as WebDAV has them."""
    status = status or status_of(error)
    if isinstance(error, UnsupportedBody):
        return 415, {}
    if isinstance(error, ElsewhereError):
        return 502, {}
    if isinstance(error, ChecksumMismatch) or status == 422:
        return 400, {}
    if isinstance(error, Exists) and method in ("COPY", "MOVE"):
        return 412, {}
    if isinstance(error, Exists) and (method == "MKCOL" or (error.code == "is_folder" and method in ("PUT", "GET", "HEAD"))):
        return 405, {"Allow": ", ".join(METHODS)}
    return status, {}


@stream_request_body
class DavReading(FileHandler):
    SUPPORTED_METHODS = METHODS  # type: ignore[assignment]
    body_max = None
    path = ""
    conditions: tuple[ConditionList, ...] = ()

    # coming in

    async def begin(self) -> None:
        self._body = bytearray()
        self.path = self._path_of_request()
        if self.request.method not in METHODS:
            return
        if self.request.method != "PUT" and (self.content_length or 0) > SMALL_BODY_MAX:
            raise TooLarge("The request is longer than any request of its kind needs to be.")
        self.conditions = parse_if(one_header(self.request.headers, "If"), self.hosts)
        if self.request.method == "PUT":
            await self.begin_put()

    async def begin_put(self) -> None:
        raise NotImplementedError

    async def take_put(self, chunk: bytes) -> None:
        raise NotImplementedError

    async def take(self, chunk: bytes) -> None:
        if self.request.method == "PUT":
            await self.take_put(chunk)
            return
        self._body += chunk
        if len(self._body) > SMALL_BODY_MAX:
            raise TooLarge("The request is longer than any request of its kind needs to be.")

    def _path_of_request(self) -> str:
        if "#" in (self.request.uri or "") or self.request.query:
            raise Malformed("The address in the request cannot be read.")
        return path_of(self.request.path)

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which this server may be addressed in a Destination."""
        names = {self.request.host.lower(), self.office.settings.base_url.partition("://")[2].lower()}
        forwarded = self.request.headers.get("X-Forwarded-Host", "")
        return frozenset(names | {forwarded.split(",")[0].strip().lower()} - {""})

    def answer_problem(self, error: ArkError, status: int | None = None) -> None:
        status, headers = dav_status(error, self.request.method or "", status)
        for name, value in headers.items():
            self.set_header(name, value)
        super().answer_problem(error, status)

    # locks and conditions

    def locks_over(self, path: str, *, below: bool = False) -> list[Lock]:
        now = self.office.clock()
        for token in [t for t, lock in self.desk.locks.items() if lock.expires_at <= now]:
            del self.desk.locks[token]
        return [lock for lock in self.desk.locks.values() if lock.covers(path) or (below and is_inside(lock.path, path))]

    async def may_write(self, path: str, *, below: bool = False, membership: bool = False) -> None:
        """Raises Locked unless the client has shown a token for every lock in the way; ``membership``: something comes
        into or goes from the folder above."""
        shown = submitted_tokens(self.conditions)
        in_the_way = self.locks_over(path, below=below)
        if membership and path:
            in_the_way += self.locks_over(split(path)[0])
        for place in {lock.path for lock in in_the_way}:
            if not any(lock.token in shown for lock in in_the_way if lock.path == place):
                raise Locked("Another program is working on this and has locked it.")

    async def check_conditions(self) -> None:
        """Raises PreconditionFailed when no list of the If header holds."""
        if not self.conditions:
            return
        for one in self.conditions:
            place = self.path if one.resource is None else one.resource
            tokens = {lock.token for lock in self.locks_over(place)}
            etag = None
            if any(c.kind == "etag" for c in one.conditions):
                entry = await self.entry(place)
                etag = entry.etag if entry else None
            if all((c.value in tokens if c.kind == "token" else c.value == etag) != c.negated for c in one.conditions):
                return
        raise PreconditionFailed("It is not as the request says it should be.")

    async def entry(self, path: str) -> Entry | None:
        try:
            return await self.office.on_disk(self.desk.tree.look, path)
        except NotFound:
            return None

    # methods

    async def options(self) -> None:
        if not self.body_arrived():
            return
        self.set_header("Allow", ", ".join(METHODS))
        self.set_header("DAV", "1, 2")
        self.set_header("MS-Author-Via", "DAV")
        self.set_status(204)

    async def get(self) -> None:
        if not self.body_arrived():
            return
        fd, entry = await self.office.on_disk(self.desk.tree.open_file, self.path)
        await send_file(self, fd, entry)

    head = get

    async def propfind(self) -> None:
        if not self.body_arrived():
            return
        depth = parse_depth(one_header(self.request.headers, "Depth"), ("0", "1", "infinity"), "infinity")
        asked = dav_xml.parse_propfind(bytes(self._body))
        top = await self.office.on_disk(self.desk.tree.look, self.path)
        if depth == "infinity" and top.is_folder:
            self.set_status(403)
            self._xml('<D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>')
            return
        dead = await self._dead_properties(depth == "1")
        self._quota = self.desk.quota
        self.set_status(207)
        self.set_header("Content-Type", "application/xml; charset=utf-8")
        self.write(dav_xml.HEAD + '<D:multistatus xmlns:D="DAV:">\n' + self._response(asked, self.path, top, dead))
        if depth == "1" and top.is_folder:
            batches = await self.office.on_disk(iter, entries_of(self.desk.tree, self.path))
            while (part := await self.office.on_disk(self._next_batch, batches, asked, dead)) is not None:
                self.write(part)
                await self.flush()
        self.finish("</D:multistatus>\n")

    def _next_batch(self, batches: Iterator[list[Entry]], asked: tuple[str, list[str]], dead: dict[str, dict[str, str]]) -> str | None:
        entries = next(batches, None)
        if entries is None:
            return None
        shown = [e for e in resolve_links(self.desk.tree, self.path, entries) if e.kind in ("file", "folder")]
        return "".join(self._response(asked, join(self.path, e.name), e, dead) for e in shown)

    def _response(self, asked: tuple[str, list[str]], path: str, entry: Entry, dead: dict[str, dict[str, str]]) -> str:
        now = self.office.clock()
        held = [lock for lock in list(self.desk.locks.values()) if lock.covers(path) and lock.expires_at > now]
        locks = "".join(dav_xml.active_lock(lock, max(1, int((lock.expires_at - now).total_seconds()))) for lock in held)
        return dav_xml.found(asked, path, entry, dead.get(path, {}), locks, self._quota)

    async def _dead_properties(self, with_children: bool) -> dict[str, dict[str, str]]:
        if not self.desk.may_have_properties:
            return {}
        return await self.office.use(netdisk_dav.properties_of, owner=self.caller.user, folder=self.path, with_children=with_children)

    async def proppatch(self) -> None:
        if not self.body_arrived():
            return
        await self.check_conditions()
        await self.may_write(self.path)
        changes = dav_xml.parse_proppatch(bytes(self._body))
        entry = await self.office.on_disk(self.desk.tree.look, self.path)
        protected = [name for name in changes if name in dav_xml.LIVE or name in dav_xml.QUOTA]
        if protected:
            rest = "".join(dav_xml.empty(name) for name in changes if name not in protected)
            body = dav_xml.propstat("".join(map(dav_xml.empty, protected)), "403 Forbidden")
            body += dav_xml.propstat(rest, "424 Failed Dependency") if rest else ""
        else:
            self.desk.may_have_properties = True
            await self.office.use(netdisk_dav.change_properties, owner=self.caller.user, path=self.path, changes=changes)
            body = dav_xml.propstat("".join(map(dav_xml.empty, changes)), "200 OK")
        address = dav_xml.href(self.path, folder=entry.is_folder)
        self.set_status(207)
        self._xml(f'<D:multistatus xmlns:D="DAV:"><D:response><D:href>{address}</D:href>{body}</D:response></D:multistatus>')

    async def lock(self) -> None:
        if not self.body_arrived():
            return
        seconds = parse_timeout(one_header(self.request.headers, "Timeout"))
        wanted = dav_xml.parse_lockinfo(bytes(self._body))
        now = self.office.clock()
        if wanted is None:
            await self._refresh(now + timedelta(seconds=seconds), seconds)
            return
        depth = parse_depth(one_header(self.request.headers, "Depth"), ("0", "infinity"), "infinity")
        await self.check_conditions()
        created = await self._make_if_missing()
        lock = Lock(
            f"urn:uuid:{uuid.uuid4()}",
            self.caller.user,
            self.path,
            wanted[0],
            depth == "infinity",
            wanted[1],
            now + timedelta(seconds=seconds),
        )
        await self.office.use(netdisk_dav.take_lock, lock=lock, now=now)
        self.desk.locks[lock.token] = lock
        self.set_status(201 if created else 200)
        self.set_header("Lock-Token", f"<{lock.token}>")
        self._locked(lock, seconds)

    async def _make_if_missing(self) -> bool:
        """A lock on a name that is free makes an empty file there."""
        if await self.entry(self.path) is not None:
            return False
        await self.may_write(self.path, membership=True)
        with self.desk.admitted(Usage(0, 1)):
            await self.office.on_disk(_make_empty, self.desk.tree, self.path)
        self.desk.account(Usage(0, 1))
        return True

    async def _refresh(self, until: datetime, seconds: int) -> None:
        shown = submitted_tokens(self.conditions)
        held = [lock for lock in self.locks_over(self.path) if lock.token in shown]
        if not held:
            raise PreconditionFailed("This lock is not held any more.")
        lock = replace(held[0], expires_at=until)
        self.desk.locks[lock.token] = lock
        await self.office.use(netdisk_dav.refresh_lock, token=lock.token, owner=lock.owner, expires_at=lock.expires_at)
        self._locked(lock, seconds)

    def _locked(self, lock: Lock, seconds: int) -> None:
        active = dav_xml.active_lock(lock, seconds)
        self._xml(f'<D:prop xmlns:D="DAV:"><D:lockdiscovery>{active}</D:lockdiscovery></D:prop>')

    async def unlock(self) -> None:
        if not self.body_arrived():
            return
        token = (one_header(self.request.headers, "Lock-Token") or "").strip()
        if not (token.startswith("<") and token.endswith(">")):
            raise Malformed("The Lock-Token header is missing.")
        if all(lock.token != token[1:-1] for lock in self.locks_over(self.path)):
            raise Conflict("This lock is not held here.", code="no_lock")
        del self.desk.locks[token[1:-1]]
        await self.office.use(netdisk_dav.release_lock, token=token[1:-1], owner=self.caller.user)
        self.set_status(204)

    def _xml(self, body: str) -> None:
        self.set_header("Content-Type", "application/xml; charset=utf-8")
        self.finish(dav_xml.HEAD + body)


def _make_empty(tree: Tree, path: str) -> None:
    name, fd = tree.stage()
    try:
        tree.publish(name, fd, path, on_conflict="refuse")
    except BaseException:
        tree.discard(name)
        raise
    finally:
        os.close(fd)


def refuse_root(path: str) -> None:
    if not path:
        raise Forbidden("The netdisk itself cannot be changed like this.", code="root")
