"""Opening tokens: decoding and checking signatures, the part of ingest that needs no database.

Plain functions of plain values, so that any ``concurrent.futures`` executor can run them on
another core. What they find is not trusted blindly: the sequencer looks up the key again for the
message as decoded, and a check made with any other key does not count.
"""

from collections.abc import Collection, Sequence

from ledger.errors import Refused
from ledger.protocol import statements as st
from ledger.protocol.cose import Sign1
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.keys import verify_many
from ledger.protocol.statements import Kind, Message

Checked = tuple[bytes, bool] | None
"""The raw key that a signature was checked with, and whether it is good."""
Opened = Refused | tuple[Message, Checked]
Found = Refused | tuple[Heartbeat, bytes, bytes, Checked]
"""Body, statement digest and content digest: what is worth sending from one process to another."""


def open_token(token: bytes, expect: Kind | None) -> Opened:
    """Decode one token; its signature is checked by who knows the key."""
    try:
        return st.decode(token, expect=expect), None
    except Refused as refusal:
        return refusal


def open_heartbeats(
    tokens: Sequence[bytes],
    keys: Sequence[tuple[int, bytes] | None],
    epochs: Collection[bytes],
) -> list[Found]:
    """Decode heartbeats and check the signatures of those that carry one of the ``epochs``.

    ``keys`` holds algorithm and raw key for each token, or None where none is known. A stale
    heartbeat is refused later on without its signature having cost anything.
    """
    found: list[Found] = []
    for token, key in zip(tokens, keys, strict=True):
        try:
            message = st.decode(token, expect=Kind.HEARTBEAT)
        except Refused as refusal:
            found.append(refusal)
            continue
        checked = None
        if key is not None and message.body.epoch in epochs:
            alg_id, raw = key
            row = (alg_id, raw, message.tbs, message.sign1.signature)
            checked = raw, verify_many([row])[0]
        found.append((message.body, message.digest, message.content_digest, checked))
    return found


def assemble(token: bytes, sign1: Sign1 | None, found: Found) -> Opened:
    """What ``open_heartbeats`` found out about a token, put together again where it was sent."""
    if isinstance(found, Refused) or sign1 is None:
        return found if isinstance(found, Refused) else open_token(token, Kind.HEARTBEAT)
    body, digest, content, checked = found
    return Message(Kind.HEARTBEAT, token, sign1, sign1.tbs(), body, digest, content), checked
