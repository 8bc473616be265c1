"""Every table of the platform's database, with the constraints that refuse what must not be.

The journal (``transactions``, ``entries``) is append-only: triggers of the first migration refuse updates, deletes and
transactions whose entries do not sum to zero. ``accounts.balance_micros`` is a projection of the entries.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from ark_extensions.storage.types import Instant, Json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
#: SQLite gives autoincrementing ids to INTEGER only
Id = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("admin", Boolean, nullable=False),
    Column("language", String(8)),
    Column("password_hash", Text),
    Column("email", String(320)),
    #: which notices are mailed: all, warnings, none
    Column("mailed", String(8), nullable=False, server_default="all"),
    #: a frozen wallet buys and starts nothing; what runs is stopped by whoever froze it
    Column("frozen_at", Instant),
    Column("frozen_reason", Text),
    #: since when the Hub owes this user the end of every session in a browser
    Column("sign_out_due", Instant),
    Column("created_at", Instant, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("plan", String(16), nullable=False),
    Column("vcpu", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("system_disk_gib", Integer, nullable=False),
    Column("gpu_model", String(100)),
    Column("gpu_count", Integer, nullable=False, server_default="0"),
    Column("gpu_memory_gib", Integer, nullable=False, server_default="0"),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("withdrawn_at", Instant),
    CheckConstraint("vcpu > 0 AND memory_mib > 0 AND gpu_count >= 0", name="positive"),
    CheckConstraint("plan IN ('payg', 'monthly')", name="plan"),
)

price_versions = Table(
    "price_versions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("subject", String(80), nullable=False, index=True),
    Column("per", String(8), nullable=False),
    Column("price_micros", BigInteger, nullable=False),
    Column("valid_from", Instant, nullable=False),
    UniqueConstraint("subject", "valid_from"),
    CheckConstraint("price_micros >= 0", name="not_negative"),
    CheckConstraint("per IN ('hour', 'day', 'month')", name="per"),
)

images = Table(
    "images",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("reference", String(500), nullable=False),
    Column("framework", String(100), nullable=False, server_default=""),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("position", Integer, nullable=False, server_default="0"),
    Column("withdrawn_at", Instant),
)

disks = Table(
    "disks",
    metadata,
    Column("size_gib", Integer, primary_key=True, autoincrement=False),
    Column("withdrawn_at", Instant),
)

catalog_items = Table(
    "catalog_items",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("title", String(200), nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("license", String(200), nullable=False, server_default=""),
    Column("withdrawn_at", Instant),
    CheckConstraint("kind IN ('dataset', 'model')", name="kind"),
)

catalog_versions = Table(
    "catalog_versions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content_hash", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("file_count", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    ForeignKeyConstraint(["kind", "name"], ["catalog_items.kind", "catalog_items.name"]),
    UniqueConstraint("kind", "name", "content_hash"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("vcpu", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("gpus", Json, nullable=False),
)

#: monthly compute: what a user owns until it expires
assets = Table(
    "assets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, index=True),
    Column("offer_id", String(64), ForeignKey("offers.id"), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("auto_renew", Boolean, nullable=False),
    Column("bought_at", Instant, nullable=False),
    Column("months", Integer, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("reminded_days", Integer),
    Column("ended_at", Instant),
    UniqueConstraint("owner", "request_id"),
    CheckConstraint("months > 0 AND expires_at > bought_at", name="term"),
)

#: each payment for a term: the purchase and every renewal, at the price of its moment
asset_terms = Table(
    "asset_terms",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("asset_id", String(32), ForeignKey("assets.id"), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("months", Integer, nullable=False),
    Column("price_version_id", String(32), ForeignKey("price_versions.id"), nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("paid_at", Instant, nullable=False),
    UniqueConstraint("asset_id", "request_id"),
    CheckConstraint("months > 0 AND charged_micros >= 0 AND ends_at > starts_at", name="term"),
)

#: what a user must know that is about no workspace: shown under the top bar until it is dismissed or over
notices = Table(
    "notices",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("msgid", Text, nullable=False),
    Column("params", Json, nullable=False),
    Column("dismissed_at", Instant),
    sqlite_autoincrement=True,
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("name", String(30), nullable=False),
    Column("display_name", String(60), nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_since", Instant, nullable=False),
    Column("offer_id", String(64), ForeignKey("offers.id"), nullable=False),
    #: the monthly compute it runs on; None: pay-as-you-go
    Column("asset_id", String(32), ForeignKey("assets.id"), index=True),
    Column("image_id", String(64), ForeignKey("images.id"), nullable=False),
    Column("data_disk_gib", Integer, nullable=False),
    Column("disk_price_version_id", String(32), ForeignKey("price_versions.id")),
    Column("disk_price_micros_per_day", BigInteger, nullable=False, server_default="0"),
    #: what was ever charged for the disk, and how much of it before ``disk_since`` (a restored disk counts from anew)
    Column("disk_charged_micros", BigInteger, nullable=False, server_default="0"),
    Column("disk_charged_before_micros", BigInteger, nullable=False, server_default="0"),
    Column("disk_since", Instant, nullable=False),
    Column("disk_charged_until", Instant),
    Column("auto_stop_after_minutes", Integer),
    Column("auto_stop_at", Instant),
    Column("idle_stop_minutes", Integer),
    #: it stops when its run (or its life) has cost that much
    Column("budget_run_micros", BigInteger),
    Column("budget_total_micros", BigInteger),
    Column("idle_stop_at", Instant),
    Column("warned", Json, nullable=False),
    Column("launch_id", String(32)),
    Column("stop_reason", String(16)),
    Column("stop_actor", String(255)),
    Column("created_at", Instant, nullable=False),
    Column("released_at", Instant),
    Column("restorable_until", Instant),
    Column("disk_deleted_at", Instant),
    CheckConstraint("state IN ('creating','starting','running','stopping','stopped','failed','released')", name="state"),
    CheckConstraint("data_disk_gib >= 0 AND disk_price_micros_per_day >= 0 AND disk_charged_micros >= 0", name="disk"),
    Index("uq_workspaces_owner_name_live", "owner", "name", unique=True, sqlite_where=text("disk_deleted_at IS NULL"),
          postgresql_where=text("disk_deleted_at IS NULL")),
    Index("ix_workspaces_state_auto_stop_at", "state", "auto_stop_at"),
    Index("ix_workspaces_state_idle_stop_at", "state", "idle_stop_at"),
)  # fmt: skip

workspace_mounts = Table(
    "workspace_mounts",
    metadata,
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(["kind", "name", "version"], ["catalog_versions.kind", "catalog_versions.name", "catalog_versions.version"]),
)

orders = Table(
    "orders",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("request_id", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), nullable=False),
    Column("price_version_id", String(32), ForeignKey("price_versions.id"), nullable=False),
    Column("created_at", Instant, nullable=False),
)

#: what is held of a node: by a workspace while it starts and runs, by monthly compute for its whole term
claims = Table(
    "claims",
    metadata,
    Column("holder", String(32), primary_key=True),
    Column("node", String(255), nullable=False),
    Column("vcpu", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
)

#: one row a GPU device in use: the primary key is what refuses to sell a device twice
claimed_devices = Table(
    "claimed_devices",
    metadata,
    Column("node", String(255), primary_key=True),
    Column("device", String(100), primary_key=True),
    Column("holder", String(32), ForeignKey("claims.holder"), nullable=False, index=True),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), nullable=False, index=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("launch_id", String(32), nullable=False),
    Column("offer_id", String(64), ForeignKey("offers.id"), nullable=False),
    Column("price_version_id", String(32), ForeignKey("price_versions.id"), nullable=False),
    Column("price_micros_per_hour", BigInteger, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("close_reason", String(16)),
    Column("charged_micros", BigInteger, nullable=False, server_default="0"),
    Column("charged_until", Instant),
    CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="ends_after_begin"),
    CheckConstraint("charged_micros >= 0", name="charged"),
    Index("uq_runs_open", "workspace_id", unique=True, sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL")),
    Index("ix_runs_owner_opened_at", "owner", "opened_at"),
    Index("ix_runs_open_owner", "owner", sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL")),
)

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("workspace_id", String(32), ForeignKey("workspaces.id"), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("msgid", Text, nullable=False),
    Column("params", Json, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("detail", Json, nullable=False),
    Index("ix_events_workspace_id_id", "workspace_id", "id"),
    Index("ix_events_owner_id", "owner", "id"),
    sqlite_autoincrement=True,
)

wallet_warnings = Table(
    "wallet_warnings",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("threshold_minutes", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("balance_micros", BigInteger, nullable=False),
)

transactions = Table(
    "transactions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("idempotency_key", String(200), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("subject", String(100), nullable=False),
    Column("memo", Text, nullable=False),
    Column("actor", String(255), nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("account", String(300), primary_key=True),
    Column("transaction_id", Id, ForeignKey("transactions.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("amount_micros", BigInteger, nullable=False),
    CheckConstraint("amount_micros <> 0", name="not_zero"),
    Index("ix_entries_transaction_id", "transaction_id"),
    sqlite_with_rowid=False,
)
