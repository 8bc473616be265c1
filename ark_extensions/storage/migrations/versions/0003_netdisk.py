"""The netdisk: what each tree takes, uploads, trash, locks, properties

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("netdisk_usage", "netdisk_uploads", "netdisk_trash", "netdisk_locks", "netdisk_properties", "netdisks")


def upgrade() -> None:
    op.create_table(
        "netdisk_locks",
        sa.Column("token", sa.String(length=60), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("whole_tree", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisk_locks_owner")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_netdisk_locks")),
    )
    op.create_index(op.f("ix_netdisk_locks_owner"), "netdisk_locks", ["owner"], unique=False)
    op.create_table(
        "netdisk_properties",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisk_properties_owner")),
        sa.PrimaryKeyConstraint("owner", "path", "name", name=op.f("pk_netdisk_properties")),
    )
    op.create_table(
        "netdisk_trash",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("folder", sa.Boolean(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisk_trash_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_netdisk_trash")),
    )
    op.create_index(op.f("ix_netdisk_trash_expires_at"), "netdisk_trash", ["expires_at"], unique=False)
    op.create_index("ix_netdisk_trash_owner_deleted_at", "netdisk_trash", ["owner", "deleted_at"], unique=False)
    op.create_table(
        "netdisk_uploads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("durable_bytes", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.String(length=40), nullable=False),
        sa.Column("on_conflict", sa.String(length=16), nullable=False),
        sa.Column("mtime", sa.BigInteger(), nullable=True),
        sa.Column("checksum", sa.String(length=200), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_path", sa.Text(), nullable=True),
        sa.CheckConstraint("on_conflict IN ('refuse', 'replace', 'keep_both')", name=op.f("ck_netdisk_uploads_on_conflict")),
        sa.CheckConstraint("length >= 0 AND durable_bytes >= 0 AND durable_bytes <= length", name=op.f("ck_netdisk_uploads_bytes")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisk_uploads_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_netdisk_uploads")),
    )
    op.create_index(op.f("ix_netdisk_uploads_expires_at"), "netdisk_uploads", ["expires_at"], unique=False)
    op.create_index(op.f("ix_netdisk_uploads_owner"), "netdisk_uploads", ["owner"], unique=False)
    op.create_table(
        "netdisk_usage",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_files", sa.BigInteger(), nullable=False),
        sa.Column("billable_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisk_usage_owner")),
        sa.PrimaryKeyConstraint("owner", "hour", name=op.f("pk_netdisk_usage")),
    )
    op.create_table(
        "netdisks",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_files", sa.BigInteger(), nullable=False),
        sa.Column("scanned_at", sa.BigInteger(), nullable=True),
        sa.Column("scan_millis", sa.Integer(), server_default="0", nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("limit_files", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("used_bytes >= 0 AND used_files >= 0", name=op.f("ck_netdisks_used")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_netdisks_owner")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_netdisks")),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
