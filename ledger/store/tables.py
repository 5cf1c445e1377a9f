"""Tables of a ledger. Rows never leave the store; it converts them to the domain's values.

Everything that `check` can derive again from the entries (subjects, tiles, registry, decisions) is
kept because reading it must be fast, not because it is believed.
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary
from sqlmodel import Field, SQLModel

LITE_FAST: dict[str, Any] = {"sqlite_with_rowid": False}
"""A table whose primary key is its order on disk."""


class Blob(LargeBinary):
    """Byte strings as they are: both drivers take and give ``bytes``."""

    cache_ok = True

    def bind_processor(self, dialect: Any) -> None:
        """No conversion."""

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        """No conversion."""


def big(**options: Any) -> Any:
    """A 64-bit integer column; as a primary key in SQLite it is the row id itself."""
    kind = BigInteger().with_variant(Integer(), "sqlite")
    return Field(sa_column=Column(kind, nullable=False, **options))


def blob(*, primary_key: bool = False, nullable: bool = False) -> Any:
    """A byte string column."""
    column: Column[bytes] = Column(Blob, primary_key=primary_key, nullable=nullable)
    return Field(sa_column=column, default=None) if nullable else Field(sa_column=column)


class HeadRow(SQLModel, table=True):
    """One row: the state of the log that the next append starts from. Locking it sequences."""

    __tablename__: ClassVar[Any] = "log_head"
    id: int = Field(primary_key=True)
    size: int = big()
    frontier: bytes = blob()
    """Compact range of the tree (``CompactRange.encode``)."""
    received_ms: int = big()
    """Received time of the newest entry; time never goes back."""
    published_size: int = big()
    published_frontier: bytes = blob()
    verifier_position: int = big()
    """Index of the first entry that the verifier has not read."""
    documents: int = big()
    """One more than the index of the newest genesis, policy or epoch; 0 while there is none."""
    simulated_ms: int = big()
    """Where a simulated clock stands; 0 on a real clock."""


class EntryRow(SQLModel, table=True):
    """One entry: its leaf, and the statement's bytes while they are not withheld."""

    __tablename__: ClassVar[Any] = "entries"
    idx: int = big(primary_key=True, autoincrement=False)
    kind: str
    received_ms: int = big()
    leaf: bytes = blob()
    leaf_hash: bytes = blob()
    body: bytes | None = blob(nullable=True)
    content_digest: bytes | None = Field(
        sa_column=Column(Blob, nullable=True, unique=True), default=None
    )
    """SHA-256 of the Sig_structure; null for heartbeats, whose counter does its work."""
    conflict: str | None = None
    detail: str | None = None


class EntrySubjectRow(SQLModel, table=True):
    """Which entry is a subject's ``seq``-th."""

    __tablename__: ClassVar[Any] = "entry_subjects"
    __table_args__: ClassVar[Any] = LITE_FAST
    subject: bytes = blob(primary_key=True)
    seq: int = big(primary_key=True, autoincrement=False)
    idx: int = big()


class SubjectRow(SQLModel, table=True):
    """A subject's chain: how many entries, and the newest one's leaf hash."""

    __tablename__: ClassVar[Any] = "subjects"
    __table_args__: ClassVar[Any] = LITE_FAST
    subject: bytes = blob(primary_key=True)
    kind: str
    ident: bytes = blob()
    count: int = big()
    head: bytes = blob()


class TileRow(SQLModel, table=True):
    """One tile as wide as the log has grown it; a narrower partial tile is its prefix."""

    __tablename__: ClassVar[Any] = "tiles"
    __table_args__: ClassVar[Any] = LITE_FAST
    level: int = Field(primary_key=True)
    n: int = big(primary_key=True, autoincrement=False)
    data: bytes = blob()


class CheckpointRow(SQLModel, table=True):
    """A published checkpoint, persisted before it is served."""

    __tablename__: ClassVar[Any] = "checkpoints"
    size: int = big(primary_key=True, autoincrement=False)
    root: bytes = blob()
    note: bytes = blob()
    published_ms: int = big()


class DocumentRow(SQLModel, table=True):
    """Where the genesis, each policy and each epoch stands in the log."""

    __tablename__: ClassVar[Any] = "documents"
    kind: str = Field(primary_key=True)
    number: int = big(primary_key=True, autoincrement=False)
    idx: int = big()


class KeyRow(SQLModel, table=True):
    """Whose a key is. First registration wins: rows are only ever inserted."""

    __tablename__: ClassVar[Any] = "keys"
    __table_args__: ClassVar[Any] = LITE_FAST
    kid: bytes = blob(primary_key=True)
    owner_kind: str
    owner: bytes = blob()
    cose_key: bytes = blob()


class PartyRow(SQLModel, table=True):
    """A registered party."""

    __tablename__: ClassVar[Any] = "parties"
    id: str = Field(primary_key=True)
    name: str
    roles: str
    country: str
    cose_key: bytes = blob()
    parent: str | None = None
    root_certificate: bytes | None = blob(nullable=True)
    conflict_epoch: int = big()
    conflicts: int


class LicenceRow(SQLModel, table=True):
    """A licence: its body in CBOR and how many chips came under it by year."""

    __tablename__: ClassVar[Any] = "licences"
    id: str = Field(primary_key=True)
    body: bytes = blob()
    used: bytes = blob()


class ChipRow(SQLModel, table=True):
    """A chip's record."""

    __tablename__: ClassVar[Any] = "chips"
    __table_args__: ClassVar[Any] = (
        Index("ix_chips_state", "state"),
        Index("ix_chips_holder", "holder"),
        Index("ix_chips_country", "country"),
        Index("ix_chips_model", "model"),
    )
    ueid: bytes = blob(primary_key=True)
    oemid: int = big()
    model: str
    manufacturer: str
    cose_key: bytes = blob()
    holder: str
    born_ms: int = big()
    state: str
    consignee: str | None = None
    shipped_ms: int = big()
    shipped_licence: str | None = None
    country: str | None = None
    site: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    licence: str | None = None
    over_quota: bool
    retired: bool
    counter: int = big()
    heartbeat_digest: bytes = blob()
    heartbeat_ms: int = big()
    decision_sequence: int = big()
    decision_digest: bytes = blob()
    decision_action: str | None = None
    conflict_epoch: int = big()
    conflicts: int
    forks: int


class DecisionRow(SQLModel, table=True):
    """Where a chip's decisions stand in the log."""

    __tablename__: ClassVar[Any] = "decisions"
    __table_args__: ClassVar[Any] = (Index("ix_decisions_ueid", "ueid"),)
    idx: int = big(primary_key=True, autoincrement=False)
    ueid: bytes = blob()
    action: str
    sequence: int = big()


class CaseRow(SQLModel, table=True):
    """The verifier's view of a chip as of ``verifier_position``: its case and the chip's record.

    The record is kept beside the ``chips`` table because admission runs ahead of the verifier.
    """

    __tablename__: ClassVar[Any] = "cases"
    ueid: bytes = blob(primary_key=True)
    data: bytes = blob()
    chip: bytes = blob()
    silent: bool
    suspect: bool


class CaseLicenceRow(SQLModel, table=True):
    """The verifier's view of a licence's tally as of ``verifier_position``."""

    __tablename__: ClassVar[Any] = "case_licences"
    id: str = Field(primary_key=True)
    used: bytes = blob()
