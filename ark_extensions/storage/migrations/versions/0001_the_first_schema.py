"""the first schema

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


#: the database itself refuses what would make the journal lie: changed or deleted rows, transactions that do not sum to
#: zero (entries go in first, their foreign key is deferred), entries added to a finished transaction, changed prices
APPEND_ONLY = ("transactions", "entries", "price_versions")

SQLITE_BALANCED = """
CREATE TRIGGER transactions_balanced BEFORE INSERT ON transactions
WHEN (SELECT coalesce(sum(amount_micros), 1) FROM entries WHERE transaction_id = NEW.id) <> 0
BEGIN SELECT RAISE(ABORT, 'a transaction''s entries sum to zero'); END
"""
SQLITE_FINISHED = """
CREATE TRIGGER entries_finished BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM transactions WHERE id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'the transaction is finished'); END
"""
POSTGRESQL = (
    """CREATE FUNCTION ark_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$""",
    """CREATE FUNCTION ark_balanced() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF (SELECT coalesce(sum(amount_micros), 1) FROM entries WHERE transaction_id = NEW.id) <> 0
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'a transaction''s entries sum to zero'; END IF; RETURN NEW; END $$""",
    """CREATE FUNCTION ark_finished() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF EXISTS (SELECT 1 FROM transactions WHERE id = NEW.transaction_id)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'the transaction is finished'; END IF; RETURN NEW; END $$""",
    "CREATE TRIGGER transactions_balanced BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION ark_balanced()",
    "CREATE TRIGGER entries_finished BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION ark_finished()",
    "CREATE SEQUENCE transactions_id_seq",
)


def _guard_the_journal() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        op.execute(SQLITE_BALANCED)
        op.execute(SQLITE_FINISHED)
        return
    for statement in POSTGRESQL:
        op.execute(statement)
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION ark_append_only()")


def upgrade() -> None:
    _create_tables()
    _guard_the_journal()


def _create_tables() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "catalog_items",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("license", sa.String(length=200), server_default="", nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('dataset', 'model')", name=op.f("ck_catalog_items_kind")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_catalog_items")),
    )
    op.create_table(
        "disks",
        sa.Column("size_gib", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("size_gib", name=op.f("pk_disks")),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("reference", sa.String(length=500), nullable=False),
        sa.Column("framework", sa.String(length=100), server_default="", nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
    )
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vcpu", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_nodes")),
    )
    op.create_table(
        "offers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("plan", sa.String(length=16), nullable=False),
        sa.Column("vcpu", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("system_disk_gib", sa.Integer(), nullable=False),
        sa.Column("gpu_model", sa.String(length=100), nullable=True),
        sa.Column("gpu_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("gpu_memory_gib", sa.Integer(), server_default="0", nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("plan IN ('payg', 'monthly')", name=op.f("ck_offers_plan")),
        sa.CheckConstraint("vcpu > 0 AND memory_mib > 0 AND gpu_count >= 0", name=op.f("ck_offers_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
    )
    op.create_table(
        "price_versions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("per", sa.String(length=8), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("per IN ('hour', 'day', 'month')", name=op.f("ck_price_versions_per")),
        sa.CheckConstraint("price_micros >= 0", name=op.f("ck_price_versions_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_versions")),
        sa.UniqueConstraint("subject", "valid_from", name=op.f("uq_price_versions_subject_valid_from")),
    )
    with op.batch_alter_table("price_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_price_versions_subject"), ["subject"], unique=False)

    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_transactions_idempotency_key")),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_table(
        "catalog_versions",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("file_count", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["kind", "name"], ["catalog_items.kind", "catalog_items.name"], name=op.f("fk_catalog_versions_kind_name")),
        sa.PrimaryKeyConstraint("kind", "name", "version", name=op.f("pk_catalog_versions")),
        sa.UniqueConstraint("kind", "name", "content_hash", name=op.f("uq_catalog_versions_kind_name_content_hash")),
    )
    op.create_table(
        "entries",
        sa.Column("account", sa.String(length=300), nullable=False),
        sa.Column("transaction_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_micros <> 0", name=op.f("ck_entries_not_zero")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_entries_transaction_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("account", "transaction_id", name=op.f("pk_entries")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("entries", schema=None) as batch_op:
        batch_op.create_index("ix_entries_transaction_id", ["transaction_id"], unique=False)

    op.create_table(
        "wallet_warnings",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("threshold_minutes", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_wallet_warnings_owner")),
        sa.PrimaryKeyConstraint("owner", "threshold_minutes", name=op.f("pk_wallet_warnings")),
    )
    _create_assets()
    op.create_table(
        "workspaces",
        "asset_terms",
        "assets",
        "notices",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=30), nullable=False),
        sa.Column("display_name", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", sa.BigInteger(), nullable=False),
        sa.Column("offer_id", sa.String(length=64), nullable=False),
        sa.Column("asset_id", sa.String(length=32), nullable=True),
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("data_disk_gib", sa.Integer(), nullable=False),
        sa.Column("disk_price_version_id", sa.String(length=32), nullable=True),
        sa.Column("disk_price_micros_per_day", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disk_charged_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disk_charged_before_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disk_since", sa.BigInteger(), nullable=False),
        sa.Column("auto_stop_after_minutes", sa.Integer(), nullable=True),
        sa.Column("auto_stop_at", sa.BigInteger(), nullable=True),
        sa.Column("idle_stop_minutes", sa.Integer(), nullable=True),
        sa.Column("idle_stop_at", sa.BigInteger(), nullable=True),
        sa.Column("warned", sa.Text(), nullable=False),
        sa.Column("launch_id", sa.String(length=32), nullable=True),
        sa.Column("stop_reason", sa.String(length=16), nullable=True),
        sa.Column("stop_actor", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.Column("restorable_until", sa.BigInteger(), nullable=True),
        sa.Column("disk_deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('creating','starting','running','stopping','stopped','failed','released')", name=op.f("ck_workspaces_state")
        ),
        sa.CheckConstraint(
            "data_disk_gib >= 0 AND disk_price_micros_per_day >= 0 AND disk_charged_micros >= 0", name=op.f("ck_workspaces_disk")
        ),
        sa.ForeignKeyConstraint(["disk_price_version_id"], ["price_versions.id"], name=op.f("fk_workspaces_disk_price_version_id")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_workspaces_asset_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_workspaces_image_id")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_workspaces_offer_id")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_workspaces_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    with op.batch_alter_table("workspaces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workspaces_asset_id"), ["asset_id"], unique=False)
        batch_op.create_index("ix_workspaces_state_auto_stop_at", ["state", "auto_stop_at"], unique=False)
        batch_op.create_index("ix_workspaces_state_idle_stop_at", ["state", "idle_stop_at"], unique=False)
        batch_op.create_index(
            "uq_workspaces_owner_name_live",
            ["owner", "name"],
            unique=True,
            sqlite_where=sa.text("disk_deleted_at IS NULL"),
            postgresql_where=sa.text("disk_deleted_at IS NULL"),
        )

    op.create_table(
        "claims",
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("vcpu", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_claims")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("severity", sa.String(length=8), nullable=False),
        sa.Column("msgid", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_events_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("ix_events_owner_id", ["owner", "id"], unique=False)
        batch_op.create_index("ix_events_workspace_id_id", ["workspace_id", "id"], unique=False)

    op.create_table(
        "orders",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("workspace_id", sa.String(length=32), nullable=False),
        sa.Column("price_version_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_orders_owner")),
        sa.ForeignKeyConstraint(["price_version_id"], ["price_versions.id"], name=op.f("fk_orders_price_version_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_orders_workspace_id")),
        sa.PrimaryKeyConstraint("owner", "request_id", name=op.f("pk_orders")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workspace_id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("launch_id", sa.String(length=32), nullable=False),
        sa.Column("offer_id", sa.String(length=64), nullable=False),
        sa.Column("price_version_id", sa.String(length=32), nullable=False),
        sa.Column("price_micros_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("close_reason", sa.String(length=16), nullable=True),
        sa.Column("charged_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("charged_micros >= 0", name=op.f("ck_runs_charged")),
        sa.CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name=op.f("ck_runs_ends_after_begin")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_runs_offer_id")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_runs_owner")),
        sa.ForeignKeyConstraint(["price_version_id"], ["price_versions.id"], name=op.f("fk_runs_price_version_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_runs_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_runs_open_owner",
            ["owner"],
            unique=False,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )
        batch_op.create_index("ix_runs_owner_opened_at", ["owner", "opened_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_workspace_id"), ["workspace_id"], unique=False)
        batch_op.create_index(
            "uq_runs_open",
            ["workspace_id"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )

    op.create_table(
        "workspace_mounts",
        sa.Column("workspace_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["kind", "name", "version"],
            ["catalog_versions.kind", "catalog_versions.name", "catalog_versions.version"],
            name=op.f("fk_workspace_mounts_kind_name_version"),
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_workspace_mounts_workspace_id")),
        sa.PrimaryKeyConstraint("workspace_id", "kind", "name", name=op.f("pk_workspace_mounts")),
    )
    op.create_table(
        "claimed_devices",
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("device", sa.String(length=100), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["holder"], ["claims.holder"], name=op.f("fk_claimed_devices_holder")),
        sa.PrimaryKeyConstraint("node", "device", name=op.f("pk_claimed_devices")),
    )
    with op.batch_alter_table("claimed_devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_claimed_devices_holder"), ["holder"], unique=False)


def _create_assets() -> None:
    op.create_table(
        "assets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("offer_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("auto_renew", sa.Boolean(), nullable=False),
        sa.Column("bought_at", sa.BigInteger(), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("reminded_days", sa.Integer(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("months > 0 AND expires_at > bought_at", name=op.f("ck_assets_term")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_assets_owner")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_assets_offer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("owner", "request_id", name=op.f("uq_assets_owner_request_id")),
    )
    op.create_index(op.f("ix_assets_owner"), "assets", ["owner"], unique=False)
    op.create_index(op.f("ix_assets_expires_at"), "assets", ["expires_at"], unique=False)
    op.create_table(
        "asset_terms",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("asset_id", sa.String(length=32), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("price_version_id", sa.String(length=32), nullable=False),
        sa.Column("charged_micros", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("paid_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("months > 0 AND charged_micros >= 0 AND ends_at > starts_at", name=op.f("ck_asset_terms_term")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_asset_terms_asset_id")),
        sa.ForeignKeyConstraint(["price_version_id"], ["price_versions.id"], name=op.f("fk_asset_terms_price_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_terms")),
        sa.UniqueConstraint("asset_id", "request_id", name=op.f("uq_asset_terms_asset_id_request_id")),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("severity", sa.String(length=8), nullable=False),
        sa.Column("msgid", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("dismissed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_notices_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_notices_owner"), "notices", ["owner"], unique=False)


def downgrade() -> None:
    for table in (
        "claimed_devices",
        "workspace_mounts",
        "runs",
        "orders",
        "events",
        "claims",
        "workspaces",
        "asset_terms",
        "assets",
        "notices",
        "wallet_warnings",
        "entries",
        "catalog_versions",
        "users",
        "transactions",
        "price_versions",
        "offers",
        "nodes",
        "images",
        "disks",
        "catalog_items",
        "accounts",
    ):
        op.drop_table(table)
