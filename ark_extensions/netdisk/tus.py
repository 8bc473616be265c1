"""tus 1.0: uploads of any size that go on after a closed tab, a lost network, a killed client or a killed service.

Extensions: creation, creation-with-upload, termination, checksum, expiration. Promises: the state is in the database, the bytes
in a staged file no workspace sees; what was acknowledged is there after a crash of the service, and after one of the machine
(then from the last synced byte); the file appears under its name whole, when it is on disk; a repeated last request is
answered like the first. A client that comes back while its old connection hangs takes over.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tornado.web import stream_request_body

from ark_extensions.domain.errors import ArkError, Conflict, InvalidField, Malformed
from ark_extensions.domain.files import (
    Checksum,
    ChecksumMismatch,
    Usage,
    encode_url_path,
    parse_base64_checksum,
    parse_checksum,
    parse_new_path,
)
from ark_extensions.netdisk.auth import PREFIX
from ark_extensions.netdisk.handlers import one_header
from ark_extensions.netdisk.housekeeping import drop_upload
from ark_extensions.netdisk.refusals import refusing
from ark_extensions.netdisk.session import SessionHandler
from ark_extensions.netdisk.sink import Sink
from ark_extensions.netdisk.tus_files import (
    bytes_there,
    check_place,
    checksum_of,
    digest_of,
    is_staged,
    make_staged,
    modified_of,
    open_at_end,
    parse_metadata,
    place,
)  # fmt: skip
from ark_extensions.usecases import netdisk
from ark_extensions.usecases.netdisk import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
ALGORITHMS = "sha1,sha256,sha512,md5"
LENGTH_MAX = 1 << 50
#: a power cut costs at most so many bytes of an upload
DURABLE_EVERY = 256 * 1024 * 1024
TAKE_OVER_SECONDS = 5.0
FINISHED_KEPT = timedelta(hours=1)
CONFLICTS = ("refuse", "replace", "keep_both")


class Offset(Conflict):
    """The client is at another byte than the service (HTTP 409)."""

    code = "offset"


class Busy(ArkError):
    """Another request writes this upload (HTTP 423)."""

    code = "busy"


class TusHandler(SessionHandler):
    """What both addresses share: the protocol's headers."""

    body_max = None

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Tus-Resumable", VERSION)

    async def begin(self) -> None:
        self.request.method = self.effective_method
        if self.effective_method != "OPTIONS" and self.request.headers.get("Tus-Resumable") != VERSION:
            self.set_header("Tus-Version", VERSION)
            raise ArkError("This service speaks tus {version}.", code="tus_version", version=VERSION)

    @property
    def effective_method(self) -> str:
        """Some clients cannot send PATCH or DELETE."""
        wanted = self.request.headers.get("X-HTTP-Method-Override", "").upper()
        return wanted if self.request.method == "POST" and wanted in ("PATCH", "DELETE") else self.request.method or ""

    async def options(self, *args: str) -> None:
        self.set_header("Tus-Version", VERSION)
        self.set_header("Tus-Extension", EXTENSIONS)
        self.set_header("Tus-Max-Size", str(LENGTH_MAX))
        self.set_header("Tus-Checksum-Algorithm", ALGORITHMS)
        self.set_status(204)

    def answer_problem(self, error: ArkError, status: int | None = None) -> None:
        if isinstance(error, ChecksumMismatch):
            status = 460
            self.set_status(460, "Checksum Mismatch")
        elif error.code == "tus_version":
            status = 412
        elif isinstance(error, Busy):
            status = 423
        elif error.code == "no_upload":
            status = 404
        elif isinstance(error, InvalidField):
            status = 400
        if status == 460:
            self._reason = "Checksum Mismatch"
        super().answer_problem(error, status)

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        super().set_status(status_code, "Checksum Mismatch" if status_code == 460 else reason)

    def expires(self, at: datetime) -> None:
        self.set_header("Upload-Expires", format_datetime(at.astimezone(UTC), usegmt=True))


class Writing:
    """One request that writes an upload; ``interrupt`` cuts its connection."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.interrupt = interrupt
        self.ended = asyncio.Event()


@stream_request_body
class UploadHandler(TusHandler):
    """``/tus/<id>``: HEAD, PATCH, DELETE. Creation with a body uses its `conclude` too."""

    SUPPORTED_METHODS = ("OPTIONS", "HEAD", "PATCH", "DELETE", "POST")
    upload: Upload | None = None
    _fd = -1
    _sink: Sink | None = None
    _writing: Writing | None = None
    _checksum: Checksum | None = None
    _durable = _began = 0
    _in_place = False

    async def begin(self) -> None:
        await super().begin()
        if self.request.method in ("HEAD", "PATCH", "DELETE"):
            self.upload = await self.office.use(netdisk.get_upload, owner=self.caller.user, id=self.path_args[0])
        if self.request.method == "PATCH":
            if self.request.headers.get("Content-Type") != "application/offset+octet-stream":
                raise ArkError("The part of an upload has the type application/offset+octet-stream.", code="unsupported_body")
            await self.begin_writing(one_header(self.request.headers, "Upload-Offset"))

    async def begin_writing(self, offset: str | None) -> None:
        """Take the upload over and open its file at the client's offset."""
        assert self.upload is not None
        upload = self.upload
        if not re.fullmatch(r"\d{1,16}", offset or ""):
            raise Malformed("The Upload-Offset header is missing.")
        checksum = one_header(self.request.headers, "Upload-Checksum")
        self._checksum = parse_base64_checksum(checksum) if checksum else None
        if upload.finished_path is not None:
            if int(offset or "0") != upload.length:
                raise Offset("The upload is finished.")
            return
        await self._take_over(upload.id)
        self._fd, at = await self.office.on_disk(open_at_end, self.desk.tree, upload, self.office.boot_id)
        if at != int(offset or "0"):
            raise Offset("The upload is at another byte. Ask where, and go on from there.")
        length = self.content_length
        if length is not None and at + length > upload.length:
            raise Malformed("This is more than the upload's length.")
        self._durable = self._began = at
        algorithm = self._checksum.algorithm if self._checksum else None
        self._sink = Sink(self._fd, self.office.on_disk, path=upload.path, offset=at, algorithm=algorithm)

    async def _take_over(self, id: str) -> None:
        other: Writing | None = self.desk.writers.get(id)
        if other is not None:
            other.interrupt()
            try:
                await asyncio.wait_for(other.ended.wait(), TAKE_OVER_SECONDS)
            except TimeoutError:
                raise Busy("Another connection still writes this upload. Try again in a moment.") from None
            if id in self.desk.writers:
                raise Busy("Another connection writes this upload.")
        self._writing = self.desk.writers[id] = Writing(self.request.connection.stream.close)  # type: ignore[union-attr]

    async def take(self, chunk: bytes) -> None:
        if self._sink is None or self.upload is None or self._writing is None:
            if chunk:
                raise Offset("The upload is finished.")
            return
        if self._sink.received + len(chunk) > self.upload.length:
            raise Malformed("This is more than the upload's length.")
        await self._sink.feed(chunk)
        self.desk.promised[self.upload.id] = self.upload.length - self._sink.received
        if self._checksum is None and self._sink.received - self._durable >= DURABLE_EVERY:
            await self._sink.end()
            await self._make_durable()

    async def _make_durable(self) -> None:
        assert self._sink is not None and self.upload is not None
        with refusing(self.upload.path):
            await self.office.on_disk(os.fdatasync, self._fd)
        self._durable = self._sink.written
        await self.office.use(
            netdisk.record_upload, id=self.upload.id, durable_bytes=self._durable, boot_id=self.office.boot_id, expires_at=self._until()
        )  # fmt: skip

    def _until(self) -> datetime:
        return self.office.clock() + timedelta(days=self.office.settings.netdisk_upload_days)

    async def patch(self, id: str) -> None:
        if not self.body_arrived():
            return
        await self.conclude()
        self.set_status(204)

    async def post(self, id: str) -> None:
        raise Malformed("The request cannot be read. Check its address and form.")

    async def conclude(self) -> None:
        """The body is here: verify, sync, and when it was the last part, put the file in its place."""
        assert self.upload is not None
        if self._sink is None:
            self.set_header("Upload-Offset", str(self.upload.length))
            self._placed(self.upload.finished_path or self.upload.path)
            return
        await self._sink.end()
        if self._checksum is not None and self._sink.digest() != self._checksum.digest:
            await self.office.on_disk(os.ftruncate, self._fd, self._began)
            self._sink.written = self._began
            raise ChecksumMismatch("What arrived is not what was sent: the checksum differs. Send this part again.")
        await self._make_durable()
        if self._sink.written == self.upload.length:
            await self._finish()
        else:
            self.expires(self._until())
        self.set_header("Upload-Offset", str(self._sink.written))
        await self.release()

    async def _finish(self) -> None:
        assert self.upload is not None
        upload = self.upload
        wanted = parse_checksum(upload.checksum) if upload.checksum else None
        if wanted is not None and await self.office.at_length(digest_of, self._fd, wanted.algorithm) != wanted.digest:
            await drop_upload(self.office, self.desk, upload.id)
            raise ChecksumMismatch("What arrived is not what was sent: the checksum differs. Upload it again.")
        async with self.desk.alone(upload.path):
            path, change = await self.office.on_disk(place, self.desk.tree, upload, self._fd)
        self.desk.promised.pop(upload.id, None)
        self.desk.account(change)
        self._in_place = True
        await self.office.use(netdisk.finish_upload, id=upload.id, path=path, expires_at=self.office.clock() + FINISHED_KEPT)
        self._placed(path)

    async def _finish_interrupted(self) -> None:
        """All bytes are here, and the request that brought the last ones did not live to put the file in its place."""
        assert self.upload is not None
        if await self.office.on_disk(is_staged, self.desk.tree, self.upload.id):
            await self._take_over(self.upload.id)
            self._fd, _ = await self.office.on_disk(open_at_end, self.desk.tree, self.upload, self.office.boot_id)
            await self._finish()
            await self.release()
            return
        self.desk.promised.pop(self.upload.id, None)
        until = self.office.clock() + FINISHED_KEPT
        await self.office.use(netdisk.finish_upload, id=self.upload.id, path=self.upload.path, expires_at=until)

    def _placed(self, path: str) -> None:
        self.set_header("Ark-Path", encode_url_path(path))

    async def head(self, id: str) -> None:
        assert self.upload is not None
        upload = self.upload
        if upload.finished_path is not None:
            at = upload.length
            self._placed(upload.finished_path)
        else:
            at = await self.office.on_disk(bytes_there, self.desk.tree, upload, self.office.boot_id)
            if at == upload.length and upload.id not in self.desk.writers:
                await self._finish_interrupted()
        self.set_header("Upload-Offset", str(at))
        self.set_header("Upload-Length", str(upload.length))
        if upload.metadata:
            self.set_header("Upload-Metadata", json.loads(upload.metadata))
        self.expires(upload.expires_at)

    async def delete(self, id: str) -> None:
        assert self.upload is not None
        if self.upload.finished_path is None:
            await self._take_over(self.upload.id)
            await drop_upload(self.office, self.desk, self.upload.id)
        self.set_status(204)

    @property
    def holds(self) -> bool:
        return self._fd >= 0 or self._writing is not None

    async def release(self) -> None:
        fd, self._fd = self._fd, -1
        if self._sink is not None and fd >= 0:
            await self._sink.abandon()
            assert self.upload is not None
            self.desk.account(Usage(self._sink.written - self._began, 0))
            if not self._in_place and self.upload.id in self.desk.promised:
                self.desk.promised[self.upload.id] = self.upload.length - self._sink.written
        if fd >= 0:
            await self.office.on_disk(os.close, fd)
        writing, self._writing = self._writing, None
        if writing is not None and self.upload is not None:
            if self.desk.writers.get(self.upload.id) is writing:
                del self.desk.writers[self.upload.id]
            writing.ended.set()


@stream_request_body
class CreationHandler(UploadHandler):
    """``POST /tus/``: begin an upload, maybe with its first bytes."""

    SUPPORTED_METHODS = ("OPTIONS", "POST")

    async def begin(self) -> None:
        await TusHandler.begin(self)
        if self.request.method == "POST":
            await self._create()

    async def _create(self) -> None:
        length = one_header(self.request.headers, "Upload-Length")
        if not re.fullmatch(r"\d{1,15}", length or "") or int(length or "0") > LENGTH_MAX:
            raise Malformed("The Upload-Length header is missing, or is not a length.")
        header = one_header(self.request.headers, "Upload-Metadata") or ""
        said = parse_metadata(header)
        path = parse_new_path(said.get("path") or said.get("filename") or said.get("name") or "")
        on_conflict = said.get("on_conflict", "refuse")
        if on_conflict not in CONFLICTS:
            raise InvalidField("Choose refuse, replace or keep_both.", field="on_conflict")
        await self.office.on_disk(check_place, self.desk.tree, path, on_conflict)
        self.desk.check(Usage(int(length or "0"), 1))
        now = self.office.clock()
        self.upload = Upload(
            id=secrets.token_hex(16), owner=self.caller.user, path=path, length=int(length or "0"), durable_bytes=0,
            boot_id=self.office.boot_id, on_conflict=on_conflict, mtime=modified_of(said), checksum=checksum_of(said),
            metadata=json.dumps(header), created_at=now, expires_at=self._until(), finished_path=None,
        )  # fmt: skip
        self.desk.promised[self.upload.id] = self.upload.length
        try:
            await self.office.use(netdisk.begin_upload, upload=self.upload)
            await self.office.on_disk(make_staged, self.desk.tree, self.upload.id)
        except BaseException:
            self.desk.promised.pop(self.upload.id, None)
            raise
        self.desk.account(Usage(0, 1))
        if self._has_body or self.upload.length == 0:
            await self.begin_writing("0")

    async def post(self, id: str = "") -> None:
        if not self.body_arrived():
            return
        assert self.upload is not None
        self.set_status(201)
        self.set_header("Location", f"{PREFIX}/tus/{self.upload.id}")
        self.expires(self.upload.expires_at)
        if self._sink is not None:
            await self.conclude()
