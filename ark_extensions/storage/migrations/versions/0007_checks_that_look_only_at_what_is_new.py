"""PostgreSQL's checks of the journal look only at what is new, however large it is; one posting costs less.

The plan of a trigger's query is kept by its session. Made while the journal was small, it read the whole journal, and went on
doing so: the cost of a posting grew with the journal. Now each look is by key, whatever the planner holds of the table's size.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import importlib

from alembic import op

from ark_extensions.storage import WRITE_LOCK

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

before = importlib.import_module("ark_extensions.storage.migrations.versions.0005_halts_and_faster_postings")

POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION ark_balanced() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN
    IF EXISTS (SELECT FROM fresh f WHERE (SELECT coalesce(sum(e.amount_micros), 1) FROM entries e WHERE e.transaction_id = f.id) <> 0)
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'a transaction''s entries sum to zero'; END IF;
    IF EXISTS (SELECT FROM fresh f CROSS JOIN LATERAL (SELECT FROM entries mine WHERE mine.transaction_id = f.id
      AND mine.amount_micros < 0 AND mine.account LIKE 'wallet:%'
      AND (SELECT sum(e.amount_micros) FROM entries e WHERE e.account = mine.account) < 0 OFFSET 0) short WHERE f.kind IN {before.COVERED})
    THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'the wallet does not hold that much'; END IF;
    RETURN NULL; END $$""",
    # OFFSET 0: the look is made for each of the new rows, never for the whole journal with the new ones sought in it
    """CREATE OR REPLACE FUNCTION ark_finished() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE finished boolean; BEGIN
    SELECT t.earlier INTO finished FROM (SELECT DISTINCT transaction_id AS id FROM fresh) f
      CROSS JOIN LATERAL (SELECT t.xmin <> pg_current_xact_id()::xid AS earlier FROM transactions t WHERE t.id = f.id OFFSET 0) t
      WHERE t.earlier OR (SELECT sum(e.amount_micros) FROM entries e WHERE e.transaction_id = f.id) <> 0 LIMIT 1;
    IF finished THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'the transaction is finished'; END IF;
    IF NOT finished THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'a transaction''s entries sum to zero'; END IF;
    RETURN NULL; END $$""",
    # an account is once in a posting (the key of entries), so nothing has to be added up
    """CREATE OR REPLACE FUNCTION ark_post(a_key text, a_kind text, an_at bigint, a_subject text, a_memo text, an_actor text,
      some_accounts text[], some_amounts bigint[]) RETURNS integer LANGUAGE plpgsql AS $$ DECLARE new_id bigint; BEGIN
    IF EXISTS (SELECT FROM posting_halts WHERE lifted_at IS NULL) THEN RETURN -1; END IF;
    IF EXISTS (SELECT FROM transactions WHERE idempotency_key = a_key) THEN RETURN 0; END IF;
    new_id := nextval('transactions_id_seq');
    INSERT INTO entries (account, transaction_id, amount_micros) SELECT unnest(some_accounts), new_id, unnest(some_amounts);
    INSERT INTO transactions (id, idempotency_key, kind, at, subject, memo, actor)
      VALUES (new_id, a_key, a_kind, an_at, a_subject, a_memo, an_actor);
    INSERT INTO accounts AS a (name, balance_micros) SELECT unnest(some_accounts) AS name, unnest(some_amounts) ORDER BY name
      ON CONFLICT (name) DO UPDATE SET balance_micros = a.balance_micros + excluded.balance_micros;
    RETURN 1; END $$""",
    # a posting that is a transaction of its own, under the lock that units of work take in turn
    f"""CREATE FUNCTION ark_post_alone(a_key text, a_kind text, an_at bigint, a_subject text, a_memo text, an_actor text,
      some_accounts text[], some_amounts bigint[]) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock({WRITE_LOCK});
    RETURN ark_post(a_key, a_kind, an_at, a_subject, a_memo, an_actor, some_accounts, some_amounts); END $$""",
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        for statement in POSTGRESQL:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        for statement in ("DROP FUNCTION ark_post_alone", "DROP FUNCTION ark_post", before.BALANCED, before.FINISHED, before.POST_ONE):
            op.execute(statement)
