"""The text file that proves an entry offline: form, limits and verification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner
from ledger.log.note import NoteSigner
from ledger.log.proof_file import (
    MAX_EXTRA_SIZE,
    MAX_PATH,
    MAX_PROOF_SIZE,
    ProofFile,
    verify_proof_file,
)
from ledger.log.trust import TrustPolicy
from tests.log import oracle
from tests.log.keys import TestKey

LEAVES = oracle.leaves(11)
LOG = NoteSigner("example.com/log", TestKey(1))
WITNESS = Cosigner("witness.example", TestKey(2))
POLICY = TrustPolicy.parse(
    f"log {LOG.vkey.encode()}\nwitness w {WITNESS.vkey.encode()}\nquorum w\n".encode()
)
CHECKPOINT = Checkpoint("example.com/log", 11, oracle.root(LEAVES))
NOTE = sign_checkpoint(CHECKPOINT, [LOG, WITNESS.at(1000)])
PROOF = ProofFile(5, tuple(oracle.path(5, LEAVES)), NOTE)
FILE = PROOF.encode()


def refused(data: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        ProofFile.decode(data)
    return caught.value.reason


def unverified(proof: ProofFile, leaf: bytes = LEAVES[5]) -> Reason:
    with pytest.raises(Refused) as caught:
        verify_proof_file(proof, leaf, POLICY)
    return caught.value.reason


def test_file_has_the_lines_of_the_standard() -> None:
    head, _, note = FILE.partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
    assert [len(line) for line in lines[2:]] == [44] * 4
    assert note == NOTE
    with_extra = ProofFile(5, PROOF.path, NOTE, b"hello").encode().split(b"\n")
    assert with_extra[1:3] == [b"extra aGVsbG8=", b"index 5"]


@pytest.mark.parametrize("extra", [None, b"x", b"\x00" * MAX_EXTRA_SIZE])
def test_file_reads_back(extra: bytes | None) -> None:
    proof = ProofFile(5, PROOF.path, NOTE, extra)
    assert ProofFile.decode(proof.encode()) == proof


def test_only_entry_of_a_log_has_an_empty_path() -> None:
    note = sign_checkpoint(Checkpoint("example.com/log", 1, LEAVES[0]), [LOG, WITNESS.at(1)])
    proof = ProofFile.decode(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note)
    assert verify_proof_file(proof, LEAVES[0], POLICY).checkpoint.size == 1


@pytest.mark.parametrize("index", range(11))
def test_every_entry_verifies_at_its_index(index: int) -> None:
    proof = ProofFile(index, tuple(oracle.path(index, LEAVES)), NOTE)
    found = verify_proof_file(proof, LEAVES[index], POLICY, origin="example.com/log")
    assert (found.needed, found.oldest_needed_s) == (("w",), 1000)


def test_other_leaf_index_or_path_is_refused() -> None:
    assert unverified(PROOF, LEAVES[6]) is Reason.PROOF_INVALID
    assert unverified(PROOF, b"short") is Reason.PROOF_INVALID
    assert unverified(ProofFile(4, PROOF.path, NOTE)) is Reason.PROOF_INVALID
    assert unverified(ProofFile(11, PROOF.path, NOTE)) is Reason.PROOF_INVALID
    assert unverified(ProofFile(5, PROOF.path[:-1], NOTE)) is Reason.PROOF_INVALID
    assert unverified(ProofFile(5, PROOF.path[::-1], NOTE)) is Reason.PROOF_INVALID


def test_proof_without_quorum_or_of_another_log_is_refused() -> None:
    alone = sign_checkpoint(CHECKPOINT, [LOG])
    assert unverified(ProofFile(5, PROOF.path, alone)) is Reason.SIGNATURE_INVALID
    with pytest.raises(Refused):
        verify_proof_file(PROOF, LEAVES[5], POLICY, latest_s=999)
    with pytest.raises(Refused):
        verify_proof_file(PROOF, LEAVES[5], POLICY, origin="example.com/other")


LINE = FILE.split(b"\n")[2] + b"\n"
HEAD = b"c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(FILE[:-1], id="no final newline"),
        pytest.param(FILE.replace(b"@v1", b"@v2"), id="other version"),
        pytest.param(b"\n" + FILE, id="blank line before"),
        pytest.param(FILE.replace(b"\n", b"\r\n"), id="carriage returns"),
        pytest.param(HEAD + b"\n" + NOTE, id="no index"),
        pytest.param(FILE.replace(b"index 5", b"index 05"), id="leading zero"),
        pytest.param(FILE.replace(b"index 5", b"index -5"), id="negative"),
        pytest.param(FILE.replace(b"index 5", b"index 5 "), id="trailing space"),
        pytest.param(FILE.replace(b"index 5", b"index  5"), id="two spaces"),
        pytest.param(FILE.replace(b"index 5", b"index 9223372036854775808"), id="too far"),
        pytest.param(FILE.replace(b"index 5", "index ٥".encode()), id="other digits"),
        pytest.param(FILE.replace(b"index 5", b"extra \nindex 5"), id="empty extra"),
        pytest.param(FILE.replace(b"index 5", b"extra aGk\nindex 5"), id="extra unpadded"),
        pytest.param(FILE.replace(b"index 5", b"extra aGl=\nindex 5"), id="stray bits"),
        pytest.param(FILE.replace(b"index 5", b"index 5\nextra aGk="), id="extra too late"),
        pytest.param(FILE.replace(b"index 5", b"extra aGk=\nextra aGk=\nindex 5"), id="twice"),
        pytest.param(FILE.replace(LINE, LINE[:20] + b"\n", 1), id="short hash"),
        pytest.param(FILE.replace(LINE, LINE * (MAX_PATH + 1), 1), id="path too long"),
        pytest.param(FILE.partition(b"\n\n")[0] + b"\n", id="no checkpoint"),
        pytest.param(FILE.replace(b"\n\n", b"\n\n\n", 1), id="blank line too many"),
    ],
)
def test_malformed_file_is_refused(data: bytes) -> None:
    assert refused(data) is Reason.NOTE_MALFORMED


def test_file_above_the_limit_is_refused() -> None:
    assert refused(b"a" * (MAX_PROOF_SIZE + 1)) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProofFile(-1, (), NOTE),
        lambda: ProofFile(2**63, (), NOTE),
        lambda: ProofFile(0, (b"short",), NOTE),
        lambda: ProofFile(0, (bytes(32),) * (MAX_PATH + 1), NOTE),
        lambda: ProofFile(0, (), b"no note"),
        lambda: ProofFile(0, (), NOTE, b""),
        lambda: ProofFile(0, (), NOTE, bytes(MAX_EXTRA_SIZE + 1)),
    ],
)
def test_proof_that_no_file_can_hold_is_not_made(make: object) -> None:
    with pytest.raises(Refused):
        make()  # type: ignore[operator]


@given(st.binary(max_size=60), st.data())
def test_fuzzed_file_is_refused_or_reads_back(inserted: bytes, data: st.DataObject) -> None:
    begin, end = data.draw(st.integers(0, len(FILE))), data.draw(st.integers(0, len(FILE)))
    for candidate in (inserted, HEAD + inserted, FILE[:begin] + inserted + FILE[end:]):
        try:
            proof = ProofFile.decode(candidate)
        except Refused:
            continue
        assert proof.encode() == candidate
        try:
            verify_proof_file(proof, LEAVES[5], POLICY)
        except Refused:
            continue
        assert (proof.index, proof.path) == (PROOF.index, PROOF.path)
