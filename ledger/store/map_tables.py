"""Tables of the heads map as of the newest index-root. Only the publish transaction writes them."""

from typing import Any, ClassVar

from sqlmodel import Field, SQLModel

from ledger.store.tables import big, blob


class MapBucketRow(SQLModel, table=True):
    """A bucket's content: its rows of 72 bytes. A bucket without rows has no row here."""

    __tablename__: ClassVar[Any] = "map_buckets"
    n: int = big(primary_key=True, autoincrement=False)
    data: bytes = blob()


class MapNodeRow(SQLModel, table=True):
    """A tile of the map's tree, at its full width; absent where it holds only empty subtrees."""

    __tablename__: ClassVar[Any] = "map_nodes"
    level: int = Field(primary_key=True)
    n: int = big(primary_key=True, autoincrement=False)
    data: bytes = blob()
