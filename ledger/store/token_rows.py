"""Access tokens: what is kept of each, which is never its secret.

The one table that does not follow from the log, and that another process may change while a
ledger is served: whoever makes or revokes a token writes one row in a transaction of its own and
touches nothing else.
"""

from typing import Any, ClassVar, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Integer, insert, select, update
from sqlmodel import Field, SQLModel

from ledger.store.tables import big, blob


def _maybe_big() -> Any:
    kind = BigInteger().with_variant(Integer(), "sqlite")
    return Field(sa_column=Column(kind, nullable=True), default=None)


class TokenRow(SQLModel, table=True):
    """One token. ``party`` is set for a holder's only; times are milliseconds of real time."""

    __tablename__: ClassVar[Any] = "access_tokens"
    id: str = Field(primary_key=True)
    digest: bytes = blob()
    """SHA-256 of the secret."""
    role: str
    party: str | None = None
    label: str
    created_ms: int = big()
    expires_ms: int | None = _maybe_big()
    revoked_ms: int | None = _maybe_big()


token_table: Any = TokenRow.__table__  # type: ignore[attr-defined]


class StoredToken(NamedTuple):
    """A row; the digest is 32 bytes."""

    id: str
    digest: bytes
    role: str
    party: str | None
    label: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


def add_token(connection: Connection, token: StoredToken) -> bool:
    """Store a new token; False, and nothing is changed, where the id is taken."""
    if find_token(connection, token.id) is not None:
        return False
    connection.execute(insert(token_table), [token._asdict()])
    return True


def find_token(connection: Connection, ident: str) -> StoredToken | None:
    """The token with this id."""
    row = connection.execute(select(token_table).where(token_table.c.id == ident)).first()
    return None if row is None else StoredToken(*row)


def read_tokens(connection: Connection) -> list[StoredToken]:
    """All, oldest first."""
    query = select(token_table).order_by(token_table.c.created_ms, token_table.c.id)
    return [StoredToken(*row) for row in connection.execute(query)]


def revoke_token(connection: Connection, ident: str, now_ms: int) -> None:
    """Mark a token as revoked; the first time stays."""
    columns = token_table.c
    statement = update(token_table).where(columns.id == ident, columns.revoked_ms.is_(None))
    connection.execute(statement.values(revoked_ms=now_ms))
