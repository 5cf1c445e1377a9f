"""What the publisher's side of witnessing needs from the ledger; who asks them is in ``api``."""

from typing import NamedTuple

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError, Refused
from ledger.log.cosignature import add_signatures
from ledger.log.note import MAX_SIGNATURES
from ledger.log.proofs import consistency_proof, verify_consistency
from ledger.log.tiles import tile_nodes
from ledger.service.publish import checkpoint_table, latest_checkpoint
from ledger.store.cosignature_rows import read_cosignatures
from ledger.store.log_rows import stored_tiles


class Published(NamedTuple):
    """The newest checkpoint: its size, and the note as the ledger signed it."""

    size: int
    note: bytes


def newest_checkpoint(connection: Connection) -> Published | None:
    """The newest checkpoint without cosignatures; None before the first."""
    row = latest_checkpoint(connection)
    return None if row is None else Published(row["size"], bytes(row["note"]))


def cosigned_checkpoint(connection: Connection) -> bytes | None:
    """The newest checkpoint with the cosignatures that it has so far; None before the first.

    Beyond what a note has room for, some are left out: too many vouchers are no fault of the data.
    """
    newest = newest_checkpoint(connection)
    if newest is None:
        return None
    found = read_cosignatures(connection, newest.size)[: MAX_SIGNATURES - 1]
    lines = [cosignature.line() for cosignature in found]
    try:
        return add_signatures(newest.note, lines) if lines else newest.note
    except Refused as error:
        raise IntegrityError(f"the stored cosignatures fit no checkpoint: {error}") from error


def extension_proof(connection: Connection, old_size: int, size: int) -> list[bytes]:
    """Consistency proof from ``old_size`` to the published ``size``, from the stored tiles.

    Where the ledger has published both, the proof is verified before anybody sees it: a damaged
    tile must not look like a fork. IntegrityError says so.
    """
    nodes = tile_nodes(stored_tiles(connection), size)
    query = select(checkpoint_table.c.size, checkpoint_table.c.root)
    rows = connection.execute(query.where(checkpoint_table.c.size.in_([old_size, size])))
    roots: dict[int, bytes] = {row.size: row.root for row in rows}
    try:
        proof = consistency_proof(nodes, old_size, size)
        if old_size in roots and size in roots:
            verify_consistency(old_size, size, roots[old_size], roots[size], proof)
    except Refused as error:
        raise IntegrityError(
            f"the stored tiles do not lead to checkpoint {size}: {error}"
        ) from error
    return proof
