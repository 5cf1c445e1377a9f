"""The newest cosignature of each witness that the publisher asks.

One row for each key: what it cosigned last. Older ones say nothing that the newest does not, and a
checkpoint is published every few seconds. A row is no secret and no promise: it is verified when
it comes, when it is checked, and by everybody who reads the checkpoint.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, SQLModel

from ledger.errors import IntegrityError, Refused
from ledger.log.cosignature import parse_vkey
from ledger.log.note import NoteSignature
from ledger.log.vkey import Vkey
from ledger.store.tables import big, blob


class CosignatureRow(SQLModel, table=True):
    """What one witness's key cosigned last."""

    __tablename__: ClassVar[Any] = "cosignatures"
    vkey: str = Field(primary_key=True)
    size: int = big()
    """Of the checkpoint."""
    signature: bytes = blob()
    """Time (8 bytes) and bare signature, as in the signature line behind the key id."""


cosignature_table: Any = CosignatureRow.__table__  # type: ignore[attr-defined]


class Cosignature(NamedTuple):
    """A key, the size of the checkpoint that it cosigned last, and the signature."""

    vkey: Vkey
    size: int
    signature: bytes

    def line(self) -> NoteSignature:
        """The signature line."""
        return NoteSignature(self.vkey.name, self.vkey.key_id, self.signature)


def keep_cosignatures(connection: Connection, size: int, signatures: Mapping[str, bytes]) -> None:
    """Store verified signatures, by key, over the checkpoint of ``size``; never an older one."""
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement: Any = build(cosignature_table)
    statement = statement.on_conflict_do_update(
        index_elements=["vkey"],
        set_={name: statement.excluded[name] for name in ("size", "signature")},
        where=cosignature_table.c.size <= statement.excluded.size,
    )
    rows = [
        {"vkey": vkey, "size": size, "signature": signature}
        for vkey, signature in sorted(signatures.items())
    ]
    if rows:
        connection.execute(statement, rows)


def read_cosignatures(connection: Connection, size: int | None = None) -> list[Cosignature]:
    """All, or those over the checkpoint of ``size``, in the order of their keys."""
    query = select(cosignature_table).order_by(cosignature_table.c.vkey)
    if size is not None:
        query = query.where(cosignature_table.c.size == size)
    return [_cosignature(row) for row in connection.execute(query)]


def _cosignature(row: Any) -> Cosignature:
    try:
        return Cosignature(parse_vkey(row.vkey), row.size, row.signature)
    except Refused as error:
        raise IntegrityError(f"a stored cosignature has no readable key: {error.detail}") from error
