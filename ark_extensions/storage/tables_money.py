"""The tables of the whole purse: recharges, vouchers, credit that expires, bill lines, arrears, the operator's acts.

What moves money is always a posting in the journal; these tables say what it was for.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from ark_extensions.storage.tables import Id, metadata
from ark_extensions.storage.types import Instant, Json

#: a payment in: begun by its owner, paid when its provider (or an operator) says so
recharges = Table(
    "recharges",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("pay_url", Text),
    Column("provider_reference", String(255)),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    UniqueConstraint("owner", "request_id"),
    UniqueConstraint("provider", "provider_reference"),
    CheckConstraint("amount_micros > 0", name="positive"),
    CheckConstraint("status IN ('pending', 'paid', 'cancelled')", name="status"),
    Index("ix_recharges_status_created_at", "status", "created_at"),
)

voucher_batches = Table(
    "voucher_batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("amount_micros", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    #: when what was redeemed expires from the wallet; None: never
    Column("credit_days", Integer),
    #: what its maker called the request: the same again gives the same batch
    Column("request_id", String(64)),
    CheckConstraint("amount_micros > 0 AND count > 0", name="positive"),
    Index("uq_voucher_batches_actor_request_id", "actor", "request_id", unique=True),
)

#: only the hash of a code is kept: who reads the database cannot spend it
vouchers = Table(
    "vouchers",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("batch_id", String(32), ForeignKey("voucher_batches.id"), nullable=False, index=True),
    Column("redeemed_by", String(255), ForeignKey("users.name")),
    Column("redeemed_at", Instant),
)

#: gifts still to spend, the soonest to expire first; their sum is the balance of the credit account
credit_lots = Table(
    "credit_lots",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("remaining_micros", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    CheckConstraint("amount_micros > 0 AND remaining_micros >= 0 AND remaining_micros <= amount_micros", name="remaining"),
    Index("ix_credit_lots_owner_expires_at", "owner", "expires_at"),
)

#: what each charge was for; the sum of a month's lines is what the journal says, to the micro-unit
bill_lines = Table(
    "bill_lines",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(100), nullable=False),
    Column("workspace_id", String(32), ForeignKey("workspaces.id")),
    Column("price_version_id", String(32), ForeignKey("price_versions.id")),
    Column("from_at", Instant, nullable=False),
    Column("until_at", Instant, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_bill_lines_owner_at", "owner", "at"),
    Index("ix_bill_lines_subject", "subject"),
)

#: an owner whose wallet is empty while something of theirs is kept: since when, and what was said
arrears = Table(
    "arrears",
    metadata,
    Column("owner", String(255), ForeignKey("users.name"), primary_key=True),
    Column("since", Instant, nullable=False),
    Column("reminded_days", Integer),
    Column("released_at", Instant),
)

#: every act of an operator that touches money: who, whom, what, why
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("act", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Index("ix_audit_log_subject", "subject"),
    sqlite_autoincrement=True,
)

#: the audit found a difference: while a row is open (``lifted_at`` null) nothing is posted; ``accepted`` is what an operator
#: saw and let stand when posting went on
posting_halts = Table(
    "posting_halts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("found", Json, nullable=False),
    Column("accepted", Json),
    Column("lifted_at", Instant),
    sqlite_autoincrement=True,
)

#: what could not be posted while posting was halted, to be posted when it goes on: ``run:ID``, ``opening:USER``
deferred_postings = Table(
    "deferred_postings",
    metadata,
    Column("subject", String(300), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("detail", Json, nullable=False),
)

#: one billing service at a time does the work: the holder of the lease
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", Instant, nullable=False),
)

#: what must reach a person outside the console: mail and webhook, tried until delivered or given up
deliveries = Table(
    "deliveries",
    metadata,
    Column("notice_id", Integer, ForeignKey("notices.id"), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Column("last_error", Text),
)
