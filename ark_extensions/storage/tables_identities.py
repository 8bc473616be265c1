"""Who people are at the identity provider: an issuer's name for somebody, for ever, and the user that is here."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table

from ark_extensions.storage.tables import metadata
from ark_extensions.storage.types import Instant

#: names at a provider change hands; an issuer's subject never does
identities = Table(
    "identities",
    metadata,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("owner", String(255), ForeignKey("users.name"), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
)
