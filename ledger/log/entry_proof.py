"""What a proof file with a leaf in its ``extra`` line establishes about an entry."""

from dataclasses import dataclass

from ledger.errors import Reason, Refused
from ledger.log.chain import Leaf, decode_leaf, leaf_hash
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.log.proof_file import ProofFile, verify_proof_file
from ledger.log.proofs import verify_inclusion
from ledger.log.quorum import Endorsement
from ledger.log.trust import TrustPolicy


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry that is in the tree of a checkpoint.

    ``endorsement`` says who vouches for the checkpoint; None where no policy was given, and then
    nobody does: anybody can make up a checkpoint.
    """

    index: int
    leaf: Leaf
    leaf_hash: bytes
    checkpoint: Checkpoint
    endorsement: Endorsement | None


def verify_entry(
    proof: ProofFile, policy: TrustPolicy | None, *, latest_s: int | None = None
) -> ProvenEntry:
    """Refuse unless the proof shows that its leaf is entry ``proof.index``.

    1. ``extra`` is a leaf. Nobody vouches for that line; but only the log's leaf has the hash that
       step 2 needs.
    2. With a policy, ``verify_proof_file``: a log of it signed the checkpoint, the quorum is met,
       and the path leads from the leaf to its root. Without one, the path only.

    Refused: NOTE_MALFORMED where there is no leaf, a CBOR reason where it is none,
    SIGNATURE_INVALID, PROOF_INVALID. ``latest_s``: see ``quorum.evaluate``.
    """
    if proof.extra is None:
        raise Refused(Reason.NOTE_MALFORMED, "the proof does not hold its entry", field="extra")
    leaf, hashed = decode_leaf(proof.extra), leaf_hash(proof.extra)
    if policy is not None:
        endorsement = verify_proof_file(proof, hashed, policy, latest_s=latest_s)
        return ProvenEntry(proof.index, leaf, hashed, endorsement.checkpoint, endorsement)
    checkpoint = Checkpoint.decode(parse_note(proof.checkpoint).text)
    verify_inclusion(hashed, proof.index, checkpoint.size, proof.path, checkpoint.root)
    return ProvenEntry(proof.index, leaf, hashed, checkpoint, None)
