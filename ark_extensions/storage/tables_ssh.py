"""The tables of SSH: public keys, workspaces' host keys, live sessions, what each user allows, and the audit log.

No private key of a person is ever in here. A workspace's host key is: the workspace's own user reads it anyway, and it
must outlive the run that first used it.
"""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text, text

from ark_extensions.storage.tables import Id, metadata
from ark_extensions.storage.types import Instant

ssh_keys = Table(
    "ssh_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("algorithm", String(64), nullable=False),
    #: ``algorithm base64``, without options and comment
    Column("public_key", Text, nullable=False),
    #: one key names one person: who holds it is signed in as its owner and nobody else
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),
)

#: what a user allows, and since when older connections are void
ssh_accounts = Table(
    "ssh_accounts",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("signed_off_at", Instant),
    Column("start_on_connect", Boolean, nullable=False, server_default=text("false")),
)

ssh_hosts = Table(
    "ssh_hosts",
    metadata,
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), primary_key=True),
    Column("private_key", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

#: one row a connection into a workspace; ``worked_at``: when it last moved more than keep-alives
ssh_sessions = Table(
    "ssh_sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("worked_at", Instant, nullable=False),
    Column("closed_at", Instant),
    CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="ends_after_begin"),
    Index("ix_ssh_sessions_open_workspace_id", "workspace_id", sqlite_where=text("closed_at IS NULL"),
          postgresql_where=text("closed_at IS NULL")),
    Index("ix_ssh_sessions_opened_at", "opened_at"),
)  # fmt: skip

#: who did or tried what; ``count``: how often within the minute that begins at ``at``
ssh_audit = Table(
    "ssh_audit",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("user", String(255), nullable=False),
    Column("address", String(64), nullable=False, server_default=""),
    Column("fingerprint", String(64), nullable=False, server_default=""),
    Column("workspace", String(64), nullable=False, server_default=""),
    Column("reason", String(64), nullable=False, server_default=""),
    Column("count", Integer, nullable=False, server_default="1"),
    Index("ix_ssh_audit_at", "at"),
    Index("ix_ssh_audit_user_id", "user", "id"),
    sqlite_autoincrement=True,
)
