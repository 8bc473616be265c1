"""Alembic's entry point: one transaction for a migration, foreign keys checked."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from ark_extensions.storage import tables_identities, tables_money, tables_netdisk, tables_ssh  # noqa: F401 - their tables are of the same metadata
from ark_extensions.storage.tables import metadata

config = context.config
url = config.get_main_option("sqlalchemy.url")
if url is None:
    raise RuntimeError("no database URL was given")

engine = create_engine(url)
with engine.connect() as connection:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.commit()
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # two new pods at once: the second waits, and finds nothing to do
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('ark migrations'))")
        context.run_migrations()
engine.dispose()
