"""Rows of a ranging report: root, and one row shown alone."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as h

from ledger.errors import Reason
from ledger.log import merkle, proofs
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.keys import P384Signer
from ledger.protocol.landmarks import MAX_ROWS, RangingReport, RangingRow
from ledger.protocol.ranging_rows import (
    RowProof,
    check_report,
    make_report,
    row_hash,
    rows_root,
)
from tests.protocol.refusals import mutations, only_refusals, refused
from tests.world import seed, signer

BEACON = signer("beacon")
EPOCH = bytes(range(16))


def row(number: int, size: int = 17) -> RangingRow:
    ueid = b"\x01" + number.to_bytes(size - 1)
    transcript = sha256(ueid).digest()
    return RangingRow(ueid=ueid, round_trip_us=1_000 + number, probes=4, transcript=transcript)


def report(count: int, by: Any = BEACON, size: int = 17, landmark: str = "beacon") -> RangingReport:
    rows = [row(number, size) for number in reversed(range(count))]
    return make_report(1_767_225_600, landmark, EPOCH, 1, rows, by)


def test_rows_are_sorted_and_a_report_checks():
    made = report(5)
    assert [item.round_trip_us for item in made.rows] == [1_000, 1_001, 1_002, 1_003, 1_004]
    check_report(made, BEACON.public)
    with refused(Reason.RANGING_ROWS, "rows_signature"):
        check_report(made, signer("lamp").public)


@pytest.mark.parametrize("count", [*range(1, 34), MAX_ROWS])
def test_the_tree_is_that_of_the_log(count: int):
    made = report(count)
    hashes = [row_hash(item) for item in made.rows]
    assert rows_root(made.rows) == merkle.root_from_leaves(hashes)
    nodes = merkle.leaf_nodes(hashes)
    for index in {0, count // 2, count - 1}:
        proof = RowProof.of(made, index)
        assert list(proof.path) == proofs.inclusion_proof(nodes, index, count)
        proofs.verify_inclusion(hashes[index], index, count, proof.path, made.root)
        assert proof.verify(BEACON.public) == made.rows[index]


@pytest.mark.parametrize("key", [BEACON, P384Signer.from_seed(seed("beacon"))])
def test_a_proof_goes_there_and_back(key: Any):
    proof = RowProof.of(report(MAX_ROWS, key, size=33, landmark="l" * 63), 200)
    assert RowProof.decode(proof.encode()) == proof
    proof.verify(key.public)


def test_the_largest_report_fits_a_statement():
    key = P384Signer.from_seed(seed("beacon"))
    made = report(MAX_ROWS, key, size=33, landmark="l" * 63)
    token = st.sign(made, key)
    assert st.decode(token).body == made


PROOF = RowProof.of(report(7), 4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"row": row(3)}, Reason.PROOF_INVALID),
        ({"row": row(4).model_copy(update={"round_trip_us": 1})}, Reason.PROOF_INVALID),
        ({"number": 3}, Reason.PROOF_INVALID),
        ({"number": 7}, Reason.PROOF_INVALID),
        ({"number": -1}, Reason.PROOF_INVALID),
        ({"size": 6}, Reason.PROOF_INVALID),
        ({"size": 8}, Reason.SIGNATURE_INVALID),
        ({"size": MAX_ROWS + 1}, Reason.PROOF_INVALID),
        ({"path": PROOF.path[:-1]}, Reason.PROOF_INVALID),
        ({"path": (*PROOF.path, bytes(32))}, Reason.PROOF_INVALID),
        ({"root": bytes(32)}, Reason.PROOF_INVALID),
        ({"landmark": "lamp"}, Reason.SIGNATURE_INVALID),
        ({"epoch": bytes(16)}, Reason.SIGNATURE_INVALID),
        ({"directory": 2}, Reason.SIGNATURE_INVALID),
        ({"signature": bytes(64)}, Reason.SIGNATURE_INVALID),
    ],
)
def test_a_proof_that_was_changed_is_refused(changes: dict[str, Any], reason: Reason):
    with refused(reason):
        PROOF._replace(**changes).verify(BEACON.public)


def test_a_proof_is_refused_with_another_landmarks_key():
    with refused(Reason.SIGNATURE_INVALID):
        PROOF.verify(signer("lamp").public)


PARTS = cbor.decode(PROOF.encode(), max_size=1_024)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, ""),
        (0, b"beacon"),
        (0, "x" * 64),
        (1, bytes(15)),
        (2, 0),
        (2, True),
        (3, 257),
        (4, bytes(31)),
        (5, "signature"),
        (6, -1),
        (6, 7),
        (6, True),
        (7, {}),
        (7, [*PARTS[7], 1]),
        (7, ["x", *PARTS[7][1:]]),
        (7, [PARTS[7][0], 0, *PARTS[7][2:]]),
        (7, [*PARTS[7][:2], 65, PARTS[7][3]]),
        (7, [*PARTS[7][:3], bytes(31)]),
        (8, [bytes(31)]),
        (8, bytes(32)),
    ],
)
def test_a_proof_of_another_form_is_refused(at: int, value: Any):
    with refused(Reason.RANGING_MALFORMED):
        RowProof.decode(cbor.encode([*PARTS[:at], value, *PARTS[at + 1 :]]))
    with refused(Reason.RANGING_MALFORMED):
        RowProof.decode(cbor.encode(PARTS[:-1]))


@given(h.binary(max_size=300) | mutations(PROOF.encode()))
def test_any_bytes_are_a_proof_or_are_refused(data: bytes):
    proof = only_refusals(RowProof.decode, data)
    if proof is not None:
        assert proof.encode() == data
        shown = only_refusals(lambda _: proof.verify(BEACON.public), data)
        assert shown in (None, PROOF.row)
