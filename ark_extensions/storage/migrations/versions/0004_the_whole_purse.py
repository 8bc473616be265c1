"""The whole purse: recharges, vouchers, expiring credit, bill lines, arrears, budgets and the operator's acts.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("act", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index("ix_audit_log_subject", ["subject"], unique=False)

    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "voucher_batches",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("credit_days", sa.Integer(), nullable=True),
        sa.CheckConstraint("amount_micros > 0 AND count > 0", name=op.f("ck_voucher_batches_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_batches")),
    )
    op.create_table(
        "arrears",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reminded_days", sa.Integer(), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_arrears_owner")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_arrears")),
    )
    op.create_table(
        "credit_lots",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("remaining_micros", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "amount_micros > 0 AND remaining_micros >= 0 AND remaining_micros <= amount_micros", name=op.f("ck_credit_lots_remaining")
        ),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_credit_lots_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_lots")),
    )
    with op.batch_alter_table("credit_lots", schema=None) as batch_op:
        batch_op.create_index("ix_credit_lots_owner_expires_at", ["owner", "expires_at"], unique=False)

    op.create_table(
        "recharges",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("pay_url", sa.Text(), nullable=True),
        sa.Column("provider_reference", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'paid', 'cancelled')", name=op.f("ck_recharges_status")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_recharges_positive")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_recharges_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recharges")),
        sa.UniqueConstraint("owner", "request_id", name=op.f("uq_recharges_owner_request_id")),
        sa.UniqueConstraint("provider", "provider_reference", name=op.f("uq_recharges_provider_provider_reference")),
    )
    with op.batch_alter_table("recharges", schema=None) as batch_op:
        batch_op.create_index("ix_recharges_status_created_at", ["status", "created_at"], unique=False)

    op.create_table(
        "vouchers",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("redeemed_by", sa.String(length=255), nullable=True),
        sa.Column("redeemed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["voucher_batches.id"], name=op.f("fk_vouchers_batch_id")),
        sa.ForeignKeyConstraint(["redeemed_by"], ["users.name"], name=op.f("fk_vouchers_redeemed_by")),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_vouchers")),
    )
    with op.batch_alter_table("vouchers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vouchers_batch_id"), ["batch_id"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_deliveries_notice_id")),
        sa.PrimaryKeyConstraint("notice_id", "channel", name=op.f("pk_deliveries")),
    )
    op.create_table(
        "bill_lines",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("workspace_id", sa.String(length=32), nullable=True),
        sa.Column("price_version_id", sa.String(length=32), nullable=True),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_bill_lines_owner")),
        sa.ForeignKeyConstraint(["price_version_id"], ["price_versions.id"], name=op.f("fk_bill_lines_price_version_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_bill_lines_workspace_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_bill_lines")),
    )
    with op.batch_alter_table("bill_lines", schema=None) as batch_op:
        batch_op.create_index("ix_bill_lines_owner_at", ["owner", "at"], unique=False)
        batch_op.create_index("ix_bill_lines_subject", ["subject"], unique=False)

    op.add_column("users", sa.Column("email", sa.String(length=320), nullable=True))
    op.add_column("users", sa.Column("frozen_at", sa.BigInteger(), nullable=True))
    op.add_column("users", sa.Column("frozen_reason", sa.Text(), nullable=True))

    op.add_column("runs", sa.Column("charged_until", sa.BigInteger(), nullable=True))
    op.add_column("workspaces", sa.Column("disk_charged_until", sa.BigInteger(), nullable=True))
    op.add_column("workspaces", sa.Column("budget_run_micros", sa.BigInteger(), nullable=True))
    op.add_column("workspaces", sa.Column("budget_total_micros", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_column("charged_until")
    with op.batch_alter_table("workspaces", schema=None) as batch_op:
        batch_op.drop_column("disk_charged_until")
        batch_op.drop_column("budget_total_micros")
        batch_op.drop_column("budget_run_micros")

    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_column("frozen_reason")
        batch_op.drop_column("frozen_at")
        batch_op.drop_column("email")

    with op.batch_alter_table("bill_lines", schema=None) as batch_op:
        batch_op.drop_index("ix_bill_lines_subject")
        batch_op.drop_index("ix_bill_lines_owner_at")

    op.drop_table("bill_lines")
    op.drop_table("deliveries")
    with op.batch_alter_table("vouchers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vouchers_batch_id"))

    op.drop_table("vouchers")
    with op.batch_alter_table("recharges", schema=None) as batch_op:
        batch_op.drop_index("ix_recharges_status_created_at")

    op.drop_table("recharges")
    with op.batch_alter_table("credit_lots", schema=None) as batch_op:
        batch_op.drop_index("ix_credit_lots_owner_expires_at")

    op.drop_table("credit_lots")
    op.drop_table("arrears")
    op.drop_table("voucher_batches")
    op.drop_table("leases")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_log_subject")

    op.drop_table("audit_log")
