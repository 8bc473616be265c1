"""Whose sessions in browsers the Hub has still to end

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("sign_out_due", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "sign_out_due")
