"""Which form a database has, compared with what this code means: what a start and the doctor ask before they trust it."""

from __future__ import annotations

from typing import Literal

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ark_extensions.storage import Storage, alembic_config


def schema_age(storage: Storage) -> Literal["empty", "older", "present", "newer"]:
    """``older``: a start migrates it; ``newer``: a later version of Ark has migrated it, and there is no way back but a backup."""
    script = ScriptDirectory.from_config(alembic_config(storage.url))
    revision = revision_of(storage)
    if revision is None:
        return "empty"
    if revision == script.get_current_head():
        return "present"
    return "older" if revision in {known.revision for known in script.walk_revisions()} else "newer"


def revision_of(storage: Storage) -> str | None:
    """The name of the last migration that the database has seen; None: none."""
    with storage.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()
