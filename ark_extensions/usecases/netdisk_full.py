"""A netdisk over its limit: a workspace writes past the service, so only the measure finds it out, and its owner must hear of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from ark_extensions.domain.files import Limits, Usage, is_over
from ark_extensions.storage import Storage
from ark_extensions.storage.tables import notices, workspaces
from ark_extensions.usecases.events import emit
from ark_extensions.usecases.notices import tell, withdraw_notices
from ark_extensions.usecases.views import Sentence

KIND = "netdisk_full"
#: with a workspace running, its events are where its user looks
RUNNING = ("starting", "running")
TOO_LARGE = Sentence(
    "Your netdisk takes {used_bytes} and {limit_bytes} is the most. "
    "Uploads are refused until it fits again; what a workspace writes is not stopped, and counts. Delete something, and empty the trash."
)
TOO_MANY = Sentence(
    "Your netdisk holds {files} files and folders, and {limit} is the most. "
    "Uploads are refused until it fits again; what a workspace writes is not stopped, and counts. Delete something, and empty the trash."
)
FITS_AGAIN = Sentence("Your netdisk is under its limit again: uploads are taken.")


def is_told_full(storage: Storage, *, owner: str) -> bool:
    """Whether the owner was told and nothing has changed since, as far as they let it stand."""
    n = notices.c
    with storage.read() as connection:
        told = select(n.id).where(n.owner == owner, n.kind == KIND, n.dismissed_at.is_(None)).limit(1)
        return connection.execute(told).first() is not None


def tell_full(storage: Storage, *, owner: str, usage: Usage, limits: Limits, told: bool, now: datetime) -> bool:
    """Say once that the netdisk is over its limit, and once that it fits again: a notice, and an event of each workspace that
    runs. ``told``: what the last call answered. → whether it is over."""
    over = is_over(usage, limits)
    if over == told:
        return over
    message = FITS_AGAIN
    if over and usage.bytes > limits.bytes:
        message = Sentence(TOO_LARGE.msgid, {"used_bytes": usage.bytes, "limit_bytes": limits.bytes})
    elif over:
        message = Sentence(TOO_MANY.msgid, {"files": usage.files, "limit": limits.files})
    severity = "warning" if over else "info"
    w = workspaces.c
    with storage.write() as connection:
        withdraw_notices(connection, owner=owner, kind=KIND, at=now)
        if over:
            tell(connection, owner=owner, at=now, kind=KIND, message=message, severity=severity)
        running = connection.execute(select(w.id).where(w.owner == owner, w.state.in_(RUNNING))).scalars().all()
        for id in running:
            emit(connection, workspace_id=id, owner=owner, at=now, kind=KIND, message=message, severity=severity)
    return over
