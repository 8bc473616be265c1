"""WebDAV, the methods that change files: PUT, MKCOL, DELETE, COPY, MOVE.

Promises: a file is its old self or its new self, never something between; what a COPY or MOVE replaces is there until the
moment in which the new one is; what is deleted goes to the trash.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ark_extensions.domain.errors import Forbidden, Malformed, NotFound
from ark_extensions.domain.files import Usage, is_inside, parse_checksum, parse_new_path
from ark_extensions.netdisk.conditions import etag_matches, parse_depth, parse_overwrite, path_of_url
from ark_extensions.netdisk.copying import Copy, weigh
from ark_extensions.netdisk.dav import DavReading, UnsupportedBody, refuse_root
from ark_extensions.netdisk.handlers import PreconditionFailed, one_header
from ark_extensions.netdisk.receiving import Arrival, Receiver
from ark_extensions.netdisk.removing import remove_in_background
from ark_extensions.netdisk.taking import TakesAFile
from ark_extensions.netdisk.trashing import throw_away
from ark_extensions.netdisk.tree import Entry
from ark_extensions.usecases import netdisk_dav


class DavHandler(TakesAFile, DavReading):
    # PUT

    async def begin_put(self) -> None:
        headers = self.request.headers
        if "Content-Range" in headers:
            raise Malformed("A part of a file cannot be put. Send it whole, or use tus.")
        refuse_root(self.path)
        await self.check_conditions()
        await self.may_write(self.path, membership=True)
        checksum = parse_checksum(headers.get("OC-Checksum", ""))
        arrival = Arrival(
            parse_new_path(self.path), self.content_length, "replace", checksum, parse_mtime(headers.get("X-OC-Mtime"))
        )  # fmt: skip
        if "If-Match" in headers or "If-None-Match" in headers:
            self._check_etag(await self.entry(self.path))
        self.receiver = Receiver(self.office, self.desk, arrival)
        await self.receiver.begin()

    async def take_put(self, chunk: bytes) -> None:
        assert self.receiver is not None
        await self.receiver.take(chunk)

    async def put(self) -> None:
        if not self.body_arrived():
            return
        assert self.receiver is not None
        _path, is_new, entry = await self.receiver.finish(self._check_etag)
        self.set_status(201 if is_new else 204)
        self.set_header("ETag", entry.etag)
        self.set_header("OC-ETag", entry.etag)
        if "X-OC-Mtime" in self.request.headers:
            self.set_header("X-OC-Mtime", "accepted")
        await self.receiver.release()

    def _check_etag(self, there: Entry | None) -> None:
        headers, etag = self.request.headers, there.etag if there else None
        if "If-Match" in headers and not etag_matches(headers["If-Match"], etag):
            raise PreconditionFailed("It was changed meanwhile.")
        if "If-None-Match" in headers and etag_matches(headers["If-None-Match"], etag):
            raise PreconditionFailed("It is there already.")

    # folders and deletion

    async def mkcol(self) -> None:
        if not self.body_arrived():
            return
        if self._body:
            raise UnsupportedBody("MKCOL takes no body here.")
        await self.check_conditions()
        await self.may_write(self.path, membership=True)
        with self.desk.admitted(Usage(0, 1)):
            await self.office.on_disk(self.desk.tree.make_folder, parse_new_path(self.path))
        self.desk.account(Usage(0, 1))
        self.set_status(201)

    async def delete(self) -> None:
        if not self.body_arrived():
            return
        refuse_root(self.path)
        parse_depth(one_header(self.request.headers, "Depth"), ("infinity", "0"), "infinity")
        await self.check_conditions()
        await self.may_write(self.path, below=True, membership=True)
        await throw_away(self.office, self.desk, self.path)
        await self._files_moved(self.path, None, keep=False)
        self.set_status(204)

    # COPY and MOVE

    async def copy(self) -> None:
        if not self.body_arrived():
            return
        target, overwrite = await self._target()
        whole = parse_depth(one_header(self.request.headers, "Depth"), ("0", "infinity"), "infinity") == "infinity"
        await self.may_write(target, below=True, membership=True)
        there = await self.name_taken(target)
        needed = await self.office.at_length(weigh, self.desk.tree, self.path)
        with self.desk.admitted(needed):
            copy = Copy(self.desk.tree)
            async with self.desk.alone(target):
                conflict = "replace" if overwrite else "refuse"
                _, doomed = await self.office.at_length(copy.run, self.path, target, on_conflict=conflict, whole=whole)
        self.desk.account(copy.done)
        if doomed is not None:
            remove_in_background(self.office, self.desk, doomed)
        await self._files_moved(self.path, target, keep=True)
        self.set_status(204 if there else 201)

    async def move(self) -> None:
        if not self.body_arrived():
            return
        target, overwrite = await self._target()
        parse_depth(one_header(self.request.headers, "Depth"), ("infinity",), "infinity")
        await self.may_write(self.path, below=True, membership=True)
        await self.may_write(target, below=True, membership=True)
        there = await self.name_taken(target)
        async with self.desk.alone(target):
            conflict = "replace" if overwrite else "refuse"
            _, doomed = await self.office.on_disk(self.desk.tree.move, self.path, target, on_conflict=conflict)
        if doomed is not None:
            remove_in_background(self.office, self.desk, doomed)
        await self._files_moved(self.path, target, keep=False)
        self.set_status(204 if there else 201)

    async def name_taken(self, path: str) -> bool:
        """Whether something is under this name; a link is something, wherever it leads."""
        try:
            await self.office.on_disk(self.desk.tree.look_at_name, path)
            return True
        except NotFound:
            return False

    async def _target(self) -> tuple[str, bool]:
        refuse_root(self.path)
        destination = one_header(self.request.headers, "Destination")
        if destination is None:
            raise Malformed("The Destination header is missing.")
        target = parse_new_path(path_of_url(destination, self.hosts))
        overwrite = parse_overwrite(one_header(self.request.headers, "Overwrite"))
        if target == self.path or is_inside(self.path, target):
            raise Forbidden("Source and destination are the same, or one lies in the other.", code="into_itself")
        await self.check_conditions()
        return target, overwrite

    async def _files_moved(self, source: str, target: str | None, *, keep: bool) -> None:
        """Properties go with the files; locks on what is gone end."""
        if not keep:
            for token in [t for t, lock in self.desk.locks.items() if is_inside(lock.path, source)]:
                del self.desk.locks[token]
                await self.office.use(netdisk_dav.release_lock, token=token, owner=self.caller.user)
        if self.desk.may_have_properties:
            await self.office.use(netdisk_dav.follow_files, owner=self.caller.user, source=source, target=target, keep=keep)


def parse_mtime(text: str | None) -> datetime | None:
    """Seconds since 1970, maybe with a fraction, of an X-OC-Mtime header."""
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,11}(\.\d{1,9})?", text.strip()):
        raise Malformed("The time in the request cannot be read.")
    return datetime.fromtimestamp(float(text), UTC)
