"""Posting can be halted; vouchers are made once a request; users choose their mails; PostgreSQL checks postings by sets.

On PostgreSQL a posting is one statement for all its rows, so its triggers look once a statement, at its end.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

first = importlib.import_module("ark_extensions.storage.migrations.versions.0001_the_first_schema")

#: kinds of posting that a wallet must hold: only what was used may take it below zero
COVERED = "('charge_term', 'pay_back', 'correct')"

SQLITE = (
    f"""CREATE TRIGGER transactions_covered BEFORE INSERT ON transactions WHEN NEW.kind IN {COVERED} AND EXISTS (
    SELECT 1 FROM entries mine WHERE mine.transaction_id = NEW.id AND mine.amount_micros < 0 AND mine.account LIKE 'wallet:%'
    AND (SELECT sum(e.amount_micros) FROM entries e WHERE e.account = mine.account) < 0)
    BEGIN SELECT RAISE(ABORT, 'the wallet does not hold that much'); END""",
    *(
        f"""CREATE TRIGGER credit_not_negative_{verb.lower()} AFTER {verb} ON accounts
    WHEN NEW.name LIKE 'credit:%' AND NEW.balance_micros < 0
    BEGIN SELECT RAISE(ABORT, 'credit is never negative'); END"""
        for verb in ("INSERT", "UPDATE")
    ),
)
BALANCED = f"""CREATE OR REPLACE FUNCTION ark_balanced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM fresh f WHERE (SELECT coalesce(sum(e.amount_micros), 1) FROM entries e WHERE e.transaction_id = f.id) <> 0)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'a transaction''s entries sum to zero'; END IF;
    IF EXISTS (SELECT FROM fresh f JOIN entries mine ON mine.transaction_id = f.id WHERE f.kind IN {COVERED}
      AND mine.amount_micros < 0 AND mine.account LIKE 'wallet:%'
      AND (SELECT sum(e.amount_micros) FROM entries e WHERE e.account = mine.account) < 0)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'the wallet does not hold that much'; END IF;
    RETURN NULL; END $$"""
# finished: written by an earlier transaction of the database; within one, what is added must leave the sum zero
FINISHED = """CREATE OR REPLACE FUNCTION ark_finished() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM fresh f JOIN transactions t ON t.id = f.transaction_id WHERE t.xmin <> pg_current_xact_id()::xid)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'the transaction is finished'; END IF;
    IF EXISTS (SELECT FROM fresh f JOIN transactions t ON t.id = f.transaction_id
      WHERE (SELECT sum(e.amount_micros) FROM entries e WHERE e.transaction_id = t.id) <> 0)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'a transaction''s entries sum to zero'; END IF;
    RETURN NULL; END $$"""
# one posting in one call, its plans kept by the session: 1 posted, 0 known before, -1 posting is halted
POST_ONE = """CREATE FUNCTION ark_post(a_key text, a_kind text, an_at bigint, a_subject text, a_memo text, an_actor text,
      some_accounts text[], some_amounts bigint[]) RETURNS integer LANGUAGE plpgsql AS $$ DECLARE new_id bigint; BEGIN
    IF EXISTS (SELECT FROM posting_halts WHERE lifted_at IS NULL) THEN RETURN -1; END IF;
    IF EXISTS (SELECT FROM transactions WHERE idempotency_key = a_key) THEN RETURN 0; END IF;
    new_id := nextval('transactions_id_seq');
    INSERT INTO entries (account, transaction_id, amount_micros) SELECT u.account, new_id, u.amount
      FROM unnest(some_accounts, some_amounts) AS u (account, amount);
    INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor)
      VALUES (new_id, a_key, a_kind, an_at, a_subject, a_memo, an_actor);
    INSERT INTO accounts AS a (name, balance_micros) SELECT u.account, sum(u.amount)
      FROM unnest(some_accounts, some_amounts) AS u (account, amount) GROUP BY u.account ORDER BY u.account
      ON CONFLICT (name) DO UPDATE SET balance_micros = a.balance_micros + excluded.balance_micros;
    RETURN 1; END $$"""
POSTGRESQL = (
    "DROP TRIGGER transactions_balanced ON transactions",
    "DROP TRIGGER entries_finished ON entries",
    BALANCED,
    FINISHED,
    """CREATE TRIGGER transactions_balanced AFTER INSERT ON transactions REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION ark_balanced()""",
    """CREATE TRIGGER entries_finished AFTER INSERT ON entries REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION ark_finished()""",
    POST_ONE,
    """CREATE FUNCTION ark_credit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'credit is never negative'; END $$""",
    """CREATE TRIGGER credit_not_negative AFTER INSERT OR UPDATE ON accounts FOR EACH ROW
    WHEN (NEW.balance_micros < 0 AND NEW.name LIKE 'credit:%') EXECUTE FUNCTION ark_credit()""",
)
SQLITE_BACK = tuple(f"DROP TRIGGER {name}" for name in ("transactions_covered", "credit_not_negative_insert", "credit_not_negative_update"))
#: the checks row by row, as the first migration made them
POSTGRESQL_BACK = (
    "DROP TRIGGER credit_not_negative ON accounts",
    "DROP TRIGGER transactions_balanced ON transactions",
    "DROP TRIGGER entries_finished ON entries",
    *(f"DROP FUNCTION {name}" for name in ("ark_credit", "ark_post", "ark_balanced", "ark_finished")),
    *(statement for statement in first.POSTGRESQL if "ark_balanced()" in statement or "ark_finished()" in statement),
)


def upgrade() -> None:
    op.create_table(
        "posting_halts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("accepted", sa.Text(), nullable=True),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting_halts")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deferred_postings",
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_deferred_postings")),
    )
    op.add_column("voucher_batches", sa.Column("request_id", sa.String(length=64), nullable=True))
    op.create_index("uq_voucher_batches_actor_request_id", "voucher_batches", ["actor", "request_id"], unique=True)
    op.add_column("users", sa.Column("mailed", sa.String(length=8), server_default="all", nullable=False))
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """What a halt keeps back is money that nothing older would ever post: first posting goes on, then the schema goes back."""
    held = "SELECT (SELECT count(*) FROM posting_halts WHERE lifted_at IS NULL) + (SELECT count(*) FROM deferred_postings)"
    if op.get_bind().exec_driver_sql(held).scalar_one():
        raise RuntimeError("posting is halted: settle what the audit found and let it go on (ark books resume), then downgrade")
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_BACK if on_sqlite else POSTGRESQL_BACK:
        op.execute(statement)
    op.drop_column("users", "mailed")
    op.drop_index("uq_voucher_batches_actor_request_id", "voucher_batches")
    op.drop_column("voucher_batches", "request_id")
    op.drop_table("deferred_postings")
    op.drop_table("posting_halts")
