"""A proof file that holds its entry: what it establishes, and every way in which it does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log import merkle, proofs
from ledger.log.chain import Leaf, Link, leaf_hash
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.entry_proof import verify_entry
from ledger.log.proof_file import ProofFile
from ledger.log.trust import TrustedLog, TrustPolicy
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER, ORIGIN, START_S, GrowingLog

LEAVES = [
    Leaf("heartbeat", 1_000 + n, (Link(bytes([n + 1]) * 32, 0, bytes(32)),), bytes([n]) * 32)
    for n in range(11)
]
HASHES = [leaf_hash(leaf.encode()) for leaf in LEAVES]
LOG = GrowingLog(leaves=HASHES)
COSIGNERS = (ED_COSIGNER, ML_COSIGNER)


def policy(*names: str) -> TrustPolicy:
    """One that asks for cosignatures of both witnesses, or of these."""
    text = f"log {LOG.signer.vkey.encode()}\n"
    for cosigner in COSIGNERS:
        text += f"witness {cosigner.vkey.name} {cosigner.vkey.encode()}\n"
    members = names or [cosigner.vkey.name for cosigner in COSIGNERS]
    return TrustPolicy.parse(f"{text}group q all {' '.join(members)}\nquorum q\n".encode())


def proof_of(index: int, *, signed: bool = True) -> ProofFile:
    signers = [LOG.signer, *(cosigner.at(START_S) for cosigner in COSIGNERS if signed)]
    path = proofs.inclusion_proof(merkle.leaf_nodes(HASHES), index, len(HASHES))
    note = sign_checkpoint(LOG.checkpoint(len(HASHES)), signers)
    return ProofFile(index, tuple(path), note, LEAVES[index].encode())


@pytest.mark.parametrize("index", range(11))
def test_entry_is_proved_and_both_kinds_of_witnesses_vouch(index: int) -> None:
    found = verify_entry(ProofFile.decode(proof_of(index).encode()), policy())
    assert (found.index, found.leaf, found.leaf_hash) == (index, LEAVES[index], HASHES[index])
    assert found.checkpoint == LOG.checkpoint(11)
    assert found.endorsement is not None
    assert found.endorsement.age_s(START_S + 60) == 60


def test_without_a_policy_the_path_is_checked_and_nobody_vouches() -> None:
    unsigned = proof_of(4, signed=False)
    assert verify_entry(unsigned, None).endorsement is None
    with pytest.raises(Refused) as caught:
        verify_entry(replace(unsigned, extra=LEAVES[5].encode()), None)
    assert caught.value.reason is Reason.PROOF_INVALID


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extra": None}, Reason.NOTE_MALFORMED),
        ({"extra": b"\x00"}, Reason.CBOR_MALFORMED),
        ({"extra": LEAVES[5].encode()}, Reason.PROOF_INVALID),
        ({"index": 5}, Reason.PROOF_INVALID),
        ({"index": 11}, Reason.PROOF_INVALID),
        ({"path": ()}, Reason.PROOF_INVALID),
        ({"path": (bytes(32),) * 4}, Reason.PROOF_INVALID),
    ],
)
def test_proof_of_something_else_is_refused(change: dict[str, object], reason: Reason) -> None:
    wrong = replace(proof_of(4), **change)  # type: ignore[arg-type]
    for trusted in (policy(), None):
        with pytest.raises(Refused) as caught:
            verify_entry(wrong, trusted)
        assert caught.value.reason is reason


def test_quorum_that_is_not_met_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        verify_entry(proof_of(4, signed=False), policy())
    assert caught.value.reason is Reason.SIGNATURE_INVALID
    late = verify_entry(proof_of(4), policy(), latest_s=START_S)
    assert late.endorsement is not None
    with pytest.raises(Refused):
        verify_entry(proof_of(4), policy(), latest_s=START_S - 1)


def test_checkpoint_that_the_log_did_not_sign_is_refused() -> None:
    other = GrowingLog(key=9, leaves=HASHES)
    note = sign_checkpoint(other.checkpoint(11), [other.signer])
    trusted = TrustPolicy((TrustedLog(LOG.signer.vkey),), (), (), None)
    with pytest.raises(Refused) as caught:
        verify_entry(replace(proof_of(4), checkpoint=note), trusted)
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def test_older_checkpoint_of_the_log_does_not_prove_a_later_entry() -> None:
    older = Checkpoint(ORIGIN, 4, merkle.root_from_leaves(HASHES[:4]))
    trusted = TrustPolicy((TrustedLog(LOG.signer.vkey),), (), (), None)
    with pytest.raises(Refused):
        verify_entry(replace(proof_of(4), checkpoint=sign_checkpoint(older, [LOG.signer])), trusted)


@given(st.data())
def test_no_changed_byte_of_a_file_proves_another_entry(data: st.DataObject) -> None:
    whole = proof_of(4).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    try:
        found = verify_entry(ProofFile.decode(changed), policy(ED_COSIGNER.vkey.name))
    except Refused:
        return
    assert (found.index, found.leaf) == (4, LEAVES[4])
