"""Alembic's entry point: one transaction for all migrations, so that one that fails leaves the schema as it was."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, event

from ark_extensions.storage import tables_identities, tables_money, tables_netdisk, tables_ssh  # noqa: F401 - their tables are of the same metadata
from ark_extensions.storage.tables import metadata

config = context.config
url = config.get_main_option("sqlalchemy.url")
if url is None:
    raise RuntimeError("no database URL was given")

engine = create_engine(url)
if engine.dialect.name == "sqlite":  # whose driver would leave CREATE and DROP outside of any transaction

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


try:
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":  # two new pods at once: the second waits, and finds nothing to do
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('ark migrations'))")
            context.run_migrations()
finally:
    engine.dispose()
