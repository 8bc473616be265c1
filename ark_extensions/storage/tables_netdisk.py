"""Tables of the netdisk: what each tree takes, uploads under way, the trash, WebDAV locks and properties.

Paths are ASCII text (`domain.files.stored`): exact for any bytes a name may have, and a folder's path plus ``/`` is a
prefix of everything in it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text

from ark_extensions.storage.tables import metadata
from ark_extensions.storage.types import Instant

netdisks = Table(
    "netdisks",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("used_bytes", BigInteger, nullable=False),
    Column("used_files", BigInteger, nullable=False),
    #: the last exact scan, and what it took: how often the next ones come follows from it
    Column("scanned_at", Instant),
    Column("scan_millis", Integer, nullable=False, server_default="0"),
    #: the last change that the service itself made, or that somebody asked for
    Column("touched_at", Instant, nullable=False),
    #: NULL: the installation's setting
    Column("limit_bytes", BigInteger),
    Column("limit_files", BigInteger),
    CheckConstraint("used_bytes >= 0 AND used_files >= 0", name="used"),
)

#: one row an hour in which a netdisk was measured: what a charge for capacity is made from
netdisk_usage = Table(
    "netdisk_usage",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("hour", Instant, primary_key=True),
    Column("used_bytes", BigInteger, nullable=False),
    Column("used_files", BigInteger, nullable=False),
    Column("billable_bytes", BigInteger, nullable=False),
)

netdisk_uploads = Table(
    "netdisk_uploads",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("length", BigInteger, nullable=False),
    #: bytes that are on disk for certain; after a crash of the machine only these count
    Column("durable_bytes", BigInteger, nullable=False),
    Column("boot_id", String(40), nullable=False),
    #: refuse | replace | keep_both
    Column("on_conflict", String(16), nullable=False),
    Column("mtime", Instant),
    Column("checksum", String(200)),
    Column("metadata", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    #: set when the file is in its place: a repeated last request is answered, not refused
    Column("finished_path", Text),
    CheckConstraint("length >= 0 AND durable_bytes >= 0 AND durable_bytes <= length", name="bytes"),
    CheckConstraint("on_conflict IN ('refuse', 'replace', 'keep_both')", name="on_conflict"),
)

netdisk_trash = Table(
    "netdisk_trash",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("path", Text, nullable=False),
    Column("folder", Boolean, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("deleted_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Index("ix_netdisk_trash_owner_deleted_at", "owner", "deleted_at"),
)

netdisk_locks = Table(
    "netdisk_locks",
    metadata,
    Column("token", String(60), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("exclusive", Boolean, nullable=False),
    Column("whole_tree", Boolean, nullable=False),
    #: the client's own words about who holds it, as XML
    Column("note", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

netdisk_properties = Table(
    "netdisk_properties",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("name", String(500), primary_key=True),
    Column("value", Text, nullable=False),
)
