"""Many rows changed at once, each by its id: one statement on PostgreSQL, the driver's own loop on SQLite.

PostgreSQL's driver sends a loop as a pipeline, after which the server does not end a session that falls idle within its
transaction: so no unit of work that holds the write lock ends with one.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table

from ark_extensions.storage import driver_cursor


def set_numbers(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[str, *tuple[int, ...]]]) -> None:
    """Write integers (instants in micros) into ``columns``; each row is the id and then their values."""
    if not rows:
        return
    with driver_cursor(connection) as cursor:
        if connection.dialect.name == "sqlite":
            assigned = ", ".join(f"{name} = ?" for name in columns)
            cursor.executemany(f"UPDATE {table.name} SET {assigned} WHERE id = ?", [(*row[1:], row[0]) for row in rows])
        else:
            assigned = ", ".join(f"{name} = u.{name}" for name in columns)
            given = ", ".join(["%s::text[]", *("%s::bigint[]" for _ in columns)])
            statement = f"UPDATE {table.name} AS t SET {assigned} FROM unnest({given}) AS u (id, {', '.join(columns)}) WHERE t.id = u.id"
            cursor.execute(statement, [list(values) for values in zip(*rows, strict=True)])
