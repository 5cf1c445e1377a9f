"""Cosignatures that auditors hand in: taken only from those named, over what was published."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import CosignatureVerifier, split_timestamp
from ledger.log.note import open_note, parse_note
from ledger.service.publish import checkpoint_table
from ledger.store.cosignature_rows import read_cosignatures


class Submitted(NamedTuple):
    """Verified cosignatures over a published checkpoint: its size, signatures by vkey."""

    size: int
    signatures: Mapping[str, bytes]


def read_submission(
    connection: Connection, note: bytes, auditors: Sequence[CosignatureVerifier]
) -> Submitted:
    """What a cosigned checkpoint brings.

    1. It is a checkpoint in its form (NOTE_MALFORMED, TOO_LARGE).
    2. The ledger has published it, to the byte (CHECKPOINT_UNKNOWN).
    3. One of ``auditors`` cosigned it, and no cosignature of theirs fails (SIGNATURE_INVALID).
    """
    parsed = parse_note(note)
    checkpoint = Checkpoint.decode(parsed.text)
    query = select(checkpoint_table.c.note).where(checkpoint_table.c.size == checkpoint.size)
    published = connection.execute(query).scalar()
    if published is None or parse_note(bytes(published)).text != parsed.text:
        raise Refused(
            Reason.CHECKPOINT_UNKNOWN,
            f"no checkpoint of {checkpoint.size} entries with this text was published",
        )
    _, lines = open_note(note, auditors)
    vkeys = {(auditor.name, auditor.key_id): auditor.vkey.encode() for auditor in auditors}
    return Submitted(
        checkpoint.size, {vkeys[line.name, line.key_id]: line.signature for line in lines}
    )


def newer_than_stored(connection: Connection, submitted: Submitted) -> dict[str, bytes]:
    """Those that are not stored in a newer form: an old one may be sent again by anybody."""
    stored = {
        found.vkey.encode(): (found.size, _time(found.signature))
        for found in read_cosignatures(connection)
    }
    return {
        vkey: signature
        for vkey, signature in submitted.signatures.items()
        if (submitted.size, _time(signature)) > stored.get(vkey, (-1, -1))
    }


def _time(signature: bytes) -> int:
    return split_timestamp(signature)[0]
