"""The heads map's side of a check: each index-root, and the stored map as of the newest."""

from collections.abc import Sequence

from sqlalchemy import Connection

from ledger.log.headsmap_update import MapUpdate, TileKey, update
from ledger.log.tiles import Tile
from ledger.protocol.statements import Genesis, IndexRoot
from ledger.service.audit.report import FaultFound
from ledger.store.map_rows import differences


class MapCheck:
    """Makes the map again, index-root by index-root, from the entries alone."""

    def __init__(
        self,
        bits: int = 0,
        buckets: dict[int, bytes] | None = None,
        tiles: dict[TileKey, bytes] | None = None,
        pending: dict[bytes, tuple[int, bytes]] | None = None,
        count: int = 0,
    ) -> None:
        """From nothing, or as of an entry: the map of the newest index-root, what is new since."""
        self._bits = bits
        self._buckets = {} if buckets is None else buckets
        self._tiles = {} if tiles is None else tiles
        self.pending = {} if pending is None else pending
        """Subjects with entries behind the newest index-root: how many they have now, and the
        newest's leaf hash."""
        self.count = count
        """Index-roots passed."""
        self.changed = MapUpdate({}, {}, b"", b"")
        """Buckets and tiles that index-roots have changed since the caller last cleared them."""

    def found(self, genesis: Genesis) -> None:
        """The genesis fixes the number of buckets."""
        self._bits = genesis.bucket_bits

    def add(self, subject: bytes, count: int, head: bytes) -> None:
        """A subject has ``count`` entries now, the newest with leaf hash ``head``."""
        self.pending[subject] = (count, head)

    def index_root(self, index: int, body: IndexRoot) -> None:
        """Compare what entry ``index`` commits to with what the entries before it make."""
        place = f"entry {index}"
        if body.size != index:
            raise FaultFound(place, f"it speaks of {body.size} entries, {index} are before it")
        done = update(self._get_buckets, self._get_tiles, self._bits, self.pending)
        for kept in (self._buckets, self.changed.buckets):
            kept.update(done.buckets)
        for stored in (self._tiles, self.changed.tiles):
            stored.update(done.tiles)
        self.pending = {}
        if body.root != done.root:
            raise FaultFound(place, "its root is not that of the heads map the entries make")
        self.count += 1

    def finish(self, connection: Connection) -> None:
        """The stored map has to be the newest index-root's, row by row."""
        made = MapUpdate(self._buckets, self._tiles, b"", b"")
        for words in differences(connection, made):
            place, word = words.split(" is ", 1)
            raise FaultFound(place, f"it is {word}")

    def _get_buckets(self, numbers: Sequence[int]) -> list[bytes]:
        return [self._buckets.get(number, b"") for number in numbers]

    def _get_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        return [self._tiles.get((tile.level, tile.n), b"") for tile in tiles]
