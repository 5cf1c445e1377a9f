"""access tokens

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    text = sqlmodel.sql.sqltypes.AutoString()
    op.create_table(
        "access_tokens",
        sa.Column("id", text, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("role", text, nullable=False),
        sa.Column("party", text, nullable=True),
        sa.Column("label", text, nullable=False),
        sa.Column("created_ms", number, nullable=False),
        sa.Column("expires_ms", number, nullable=True),
        sa.Column("revoked_ms", number, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("access_tokens")
