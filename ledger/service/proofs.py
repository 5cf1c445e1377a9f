"""A proof that an entry is in the log, for whoever asks: one file, to be checked offline.

Made from the stored tiles and verified before it leaves: a damaged tile must not look like a
ledger that contradicts itself.
"""

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.chain import leaf_hash
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.log.proof_file import ProofFile
from ledger.log.proofs import inclusion_proof, verify_inclusion
from ledger.log.tiles import tile_nodes
from ledger.service.cosigned import cosigned_checkpoint
from ledger.store.log_rows import entry_table, stored_tiles


def entry_proof(connection: Connection, index: int) -> ProofFile:
    """The proof of entry ``index`` under the newest checkpoint, with its cosignatures.

    ``extra`` is the leaf, so that the file alone says what was proved. Refused (NOT_FOUND) for an
    entry that no checkpoint covers; IntegrityError where the stored tiles do not prove it.
    """
    note = cosigned_checkpoint(connection)
    checkpoint = None if note is None else Checkpoint.decode(parse_note(note).text)
    if note is None or checkpoint is None or index >= checkpoint.size:
        raise Refused(Reason.NOT_FOUND, f"no checkpoint covers entry {index} yet")
    query = select(entry_table.c.leaf).where(entry_table.c.idx == index)
    leaf: bytes | None = connection.execute(query).scalar()
    if leaf is None:
        raise IntegrityError(f"entry {index} is missing")
    size = checkpoint.size
    try:
        path = inclusion_proof(tile_nodes(stored_tiles(connection), size), index, size)
        verify_inclusion(leaf_hash(leaf), index, size, path, checkpoint.root)
    except Refused as error:
        raise IntegrityError(
            f"the stored tiles do not prove entry {index} under checkpoint {size}: {error}"
        ) from error
    return ProofFile(index, tuple(path), note, leaf)
