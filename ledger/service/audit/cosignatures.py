"""The part of a check that is about witnesses' cosignatures.

Whether a witness is to be trusted is not for the ledger to say; but what is stored as one's
signature has to be its key's, over a checkpoint that is stored too.
"""

from sqlalchemy import Connection, select

from ledger.errors import Refused
from ledger.log.cosignature import CosignatureVerifier, parse_vkey
from ledger.log.note import parse_note
from ledger.service.audit.report import FaultFound
from ledger.service.publish import checkpoint_table
from ledger.store.cosignature_rows import cosignature_table


def check_cosignatures(connection: Connection) -> None:
    """Every stored cosignature verifies under the key beside it."""
    query = select(cosignature_table).order_by(cosignature_table.c.vkey)
    for row in connection.execute(query).all():
        place = f"table cosignatures, row {row.vkey.partition('+')[0]}"
        notes = select(checkpoint_table.c.note).where(checkpoint_table.c.size == row.size)
        note = connection.execute(notes).scalar()
        if note is None:
            raise FaultFound(place, f"there is no checkpoint {row.size}")
        try:
            good = CosignatureVerifier(parse_vkey(row.vkey)).verify(
                parse_note(note).text, row.signature
            )
        except Refused as refusal:
            raise FaultFound(place, refusal.detail) from refusal
        if not good:
            raise FaultFound(place, f"it is not this key's over checkpoint {row.size}")
