"""SSH: keys, host keys, sessions, what users allow, audit log

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ssh_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("algorithm", sa.String(64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name="fk_ssh_keys_owner"),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_keys"),
        sa.UniqueConstraint("fingerprint", name="uq_ssh_keys_fingerprint"),
    )
    op.create_index("ix_ssh_keys_owner", "ssh_keys", ["owner"])
    op.create_table(
        "ssh_accounts",
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("signed_off_at", sa.BigInteger()),
        sa.Column("start_on_connect", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name="fk_ssh_accounts_owner"),
        sa.PrimaryKeyConstraint("owner", name="pk_ssh_accounts"),
    )
    op.create_table(
        "ssh_hosts",
        sa.Column("workspace_id", sa.String(32), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_ssh_hosts_workspace_id"),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_ssh_hosts"),
    )
    _sessions()
    _audit()


def _sessions() -> None:
    op.create_table(
        "ssh_sessions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("workspace_id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("worked_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger()),
        sa.CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="ck_ssh_sessions_ends_after_begin"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_ssh_sessions_workspace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_sessions"),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index("ix_ssh_sessions_open_workspace_id", "ssh_sessions", ["workspace_id"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("ix_ssh_sessions_opened_at", "ssh_sessions", ["opened_at"])


def _audit() -> None:
    op.create_table(
        "ssh_audit",
        sa.Column("id", Id, nullable=False, autoincrement=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("address", sa.String(64), nullable=False, server_default=""),
        sa.Column("fingerprint", sa.String(64), nullable=False, server_default=""),
        sa.Column("workspace", sa.String(64), nullable=False, server_default=""),
        sa.Column("reason", sa.String(64), nullable=False, server_default=""),
        sa.Column("count", sa.Integer(), nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ssh_audit_at", "ssh_audit", ["at"])
    op.create_index("ix_ssh_audit_user_id", "ssh_audit", ["user", "id"])


def downgrade() -> None:
    for table in ("ssh_audit", "ssh_sessions", "ssh_hosts", "ssh_accounts", "ssh_keys"):
        op.drop_table(table)
