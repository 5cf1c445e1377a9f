"""What a witness decides: requests taken apart, authenticated and judged, without a database."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner, MlDsa44Key
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.note import NoteSigner
from ledger.log.witness import (
    MAX_CLOCK_STEP_S,
    MAX_PROOF,
    MAX_REQUEST_SIZE,
    AddCheckpoint,
    Declined,
    Problem,
    Seen,
    Submission,
    authenticate,
    decide,
)
from tests.log import oracle
from tests.log.keys import TestKey
from tests.log.witnessed import ORIGIN, START_S, GrowingLog

LOG = GrowingLog(leaves=oracle.leaves(20))
FORK = LOG.fork(at=3)


def seen(log: GrowingLog, size: int, time: int = START_S) -> Seen:
    return Seen(size, log.checkpoint(size).root, time)


def submit(body: bytes, log: GrowingLog = LOG) -> Submission:
    found = authenticate(body, log.keys)
    assert isinstance(found, Submission), found
    return found


def declined(body: bytes) -> Problem:
    found = authenticate(body, LOG.keys)
    assert isinstance(found, Declined), found
    assert found.size is None
    return found.problem


def answer(body: bytes, memory: Seen, now: int = START_S) -> Seen | Problem:
    found = decide(submit(body), memory, now)
    return found.problem if isinstance(found, Declined) else found


def test_request_has_the_lines_of_the_standard() -> None:
    lines = LOG.request(3, 7).split(b"\n")
    assert lines[0] == b"old 3"
    assert [len(line) for line in lines[1:6]] == [44, 44, 44, 44, 0]
    assert lines[6] == ORIGIN.encode()


@pytest.mark.parametrize(("old", "size"), [(0, 0), (0, 7), (7, 7), (3, 7), (4, 8)])
def test_request_reads_back(old: int, size: int) -> None:
    body = LOG.request(old, size)
    assert AddCheckpoint.decode(body).encode() == body


NOTE = LOG.note(7)
HASH = b"A" * 43 + b"=\n"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(NOTE, id="no old line"),
        pytest.param(b"\n" + NOTE, id="blank line alone"),
        pytest.param(b"old 0\n" + NOTE, id="no blank line"),
        pytest.param(b"old 0\n\n", id="no note"),
        pytest.param(b"old 0\n\n" + NOTE[:-1], id="no final newline"),
        pytest.param(b"old 0\n\n\n" + NOTE, id="blank line too many"),
        pytest.param(b"old 0\r\n\r\n" + NOTE, id="carriage returns"),
        pytest.param(b"old  0\n\n" + NOTE, id="two spaces"),
        pytest.param(b"Old 0\n\n" + NOTE, id="upper case"),
        pytest.param(b"old 0 \n\n" + NOTE, id="trailing space"),
        pytest.param(b"old 00\n\n" + NOTE, id="leading zero"),
        pytest.param(b"old -1\n\n" + NOTE, id="negative"),
        pytest.param(b"old 9223372036854775808\n\n" + NOTE, id="2**63"),
        pytest.param(b"old \n\n" + NOTE, id="no number"),
        pytest.param("old ٣\n\n".encode() + NOTE, id="other digits"),
        pytest.param(b"old 3\n" + HASH[:-2] + b"\n\n" + NOTE, id="hash unpadded"),
        pytest.param(b"old 3\nAAAA\n\n" + NOTE, id="short hash"),
        pytest.param(b"old 3\n" + HASH * (MAX_PROOF + 1) + b"\n" + NOTE, id="64 hashes"),
        pytest.param(b"old 0\n\nno checkpoint\n\n" + NOTE.split(b"\n\n")[1], id="other note"),
        pytest.param(b"old 0\n\n" + NOTE.replace(b"\n7\n", b"\n07\n"), id="checkpoint malformed"),
    ],
)
def test_malformed_request_is_declined(body: bytes) -> None:
    assert declined(body) is Problem.MALFORMED


def test_proof_of_63_hashes_is_read() -> None:
    assert len(submit(b"old 3\n" + HASH * MAX_PROOF + b"\n" + NOTE).request.proof) == MAX_PROOF


def test_request_above_the_limit_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        AddCheckpoint.decode(b"a" * (MAX_REQUEST_SIZE + 1))
    assert caught.value.reason is Reason.TOO_LARGE
    assert declined(b"a" * (MAX_REQUEST_SIZE + 1)) is Problem.MALFORMED


def test_unknown_origin_is_declined_before_its_signature_is_looked_at() -> None:
    assert declined(GrowingLog("log.example/other").request(0, 7)) is Problem.UNKNOWN_LOG


def test_checkpoint_that_no_trusted_key_signed_is_declined() -> None:
    assert declined(GrowingLog(key=2).request(0, 7)) is Problem.SIGNATURE


def test_checkpoint_changed_after_signing_is_declined() -> None:
    assert declined(LOG.request(0, 7).replace(b"\n7\n", b"\n8\n")) is Problem.SIGNATURE


def test_signatures_of_unknown_keys_are_ignored() -> None:
    others = [NoteSigner(ORIGIN, TestKey(8)), LOG.signer, NoteSigner("x", TestKey(9))]
    note = sign_checkpoint(LOG.checkpoint(7), others)
    assert submit(AddCheckpoint(0, (), note).encode()).checkpoint == LOG.checkpoint(7)


def test_either_key_of_a_log_that_rotates_is_enough() -> None:
    new = GrowingLog(key=2)
    keys = {ORIGIN: [*LOG.keys[ORIGIN], *new.keys[ORIGIN]]}
    for log in (LOG, new):
        assert isinstance(authenticate(log.request(0, 7), keys), Submission)


def test_ml_dsa_log_is_followed_but_not_with_extension_lines() -> None:
    signer = Cosigner(ORIGIN, MlDsa44Key.from_seed(bytes(32)))
    for lines, kind in (((), Submission), (("extension",), Declined)):
        note = sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32), lines), [signer.at(START_S)])
        body = AddCheckpoint(0, (), note).encode()
        assert isinstance(authenticate(body, {ORIGIN: [signer.vkey]}), kind)


def test_old_size_above_the_new_one_is_declined() -> None:
    assert declined(LOG.request(8, 7)) is Problem.OLD_SIZE


def test_first_checkpoint_of_any_size_is_accepted() -> None:
    assert answer(LOG.request(0, 7), Seen()) == seen(LOG, 7)


def test_empty_tree_is_accepted_first_and_again_but_not_later() -> None:
    assert answer(LOG.request(0, 0), Seen()) == Seen(0, EMPTY_ROOT, START_S)
    assert answer(LOG.request(0, 0), Seen(0, EMPTY_ROOT, START_S)) == Seen(0, EMPTY_ROOT, START_S)
    assert answer(LOG.request(0, 0), seen(LOG, 7)) is Problem.CONFLICT


def test_proof_from_size_0_has_to_be_empty() -> None:
    body = AddCheckpoint(0, (bytes(32),), LOG.note(7)).encode()
    assert answer(body, Seen()) is Problem.PROOF


def test_larger_tree_that_extends_the_one_seen_is_accepted() -> None:
    assert answer(LOG.request(3, 7), seen(LOG, 3)) == seen(LOG, 7)


def test_same_tree_is_accepted_again_at_a_later_time() -> None:
    later = START_S + 60
    assert answer(LOG.request(7, 7), seen(LOG, 7), later) == seen(LOG, 7, later)
    body = AddCheckpoint(7, (bytes(32),), LOG.note(7)).encode()
    assert answer(body, seen(LOG, 7)) is Problem.PROOF


@pytest.mark.parametrize(("old", "size"), [(0, 7), (3, 7), (6, 7), (0, 5), (3, 5), (5, 5)])
def test_other_old_size_than_the_one_seen_is_a_conflict_that_names_it(old: int, size: int) -> None:
    found = decide(submit(LOG.request(old, size)), seen(LOG, 7), START_S)
    assert isinstance(found, Declined)
    assert (found.problem, found.size) == (Problem.CONFLICT, 7)


def test_same_size_with_another_root_is_a_fork() -> None:
    found = decide(submit(FORK.request(7, 7)), seen(LOG, 7), START_S)
    assert isinstance(found, Declined)
    assert (found.problem, found.size) == (Problem.FORK, None)


def test_larger_tree_that_does_not_extend_the_one_seen_is_declined() -> None:
    assert answer(FORK.request(5, 7), seen(LOG, 5)) is Problem.PROOF
    assert answer(FORK.request(3, 7), seen(LOG, 3)) == seen(FORK, 7)


def test_proof_that_is_missing_cut_or_altered_is_declined() -> None:
    good = LOG.proof(3, 7)
    for proof in ((), good[:-1], (*good, bytes(32)), good[::-1], (bytes(32), *good[1:])):
        body = AddCheckpoint(3, proof, LOG.note(7)).encode()
        assert answer(body, seen(LOG, 3)) is Problem.PROOF


def test_small_step_back_of_the_clock_is_bridged_and_a_large_one_declined() -> None:
    memory, body = seen(LOG, 3), LOG.request(3, 7)
    assert answer(body, memory, START_S - MAX_CLOCK_STEP_S) == seen(LOG, 7)
    assert answer(body, memory, START_S - MAX_CLOCK_STEP_S - 1) is Problem.CLOCK


class AnyRequests(RuleBasedStateMachine):
    """Whatever is asked in whatever order, what was accepted is one history that only grows."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Seen()
        self.accepted = [(0, EMPTY_ROOT)]

    @rule(
        forked=st.booleans(),
        old=st.integers(0, 20),
        size=st.integers(0, 20),
        honest=st.booleans(),
        proof_from=st.integers(0, 20),
    )
    def ask(self, forked: bool, old: int, size: int, honest: bool, proof_from: int) -> None:
        log = FORK if forked else LOG
        old = self.memory.size if honest else old
        proof = log.proof(old if honest else proof_from, size)
        found = authenticate(AddCheckpoint(old, proof, log.note(size)).encode(), log.keys)
        outcome = found if isinstance(found, Declined) else decide(found, self.memory, START_S)
        if isinstance(outcome, Declined):
            return
        self.memory = outcome
        self.accepted.append((outcome.size, outcome.root))
        sizes = [size for size, _ in self.accepted]
        assert sizes == sorted(sizes)
        assert any(
            all(log.checkpoint(size).root == root for size, root in self.accepted)
            for log in (LOG, FORK)
        ), "two checkpoints that do not extend each other were accepted"


TestAnyRequests = AnyRequests.TestCase
TestAnyRequests.settings = settings(max_examples=25, stateful_step_count=20)

BODY = LOG.request(3, 7)


@given(st.binary(max_size=60), st.data())
def test_fuzzed_request_is_declined_or_reads_back(inserted: bytes, data: st.DataObject) -> None:
    begin, end = data.draw(st.integers(0, len(BODY))), data.draw(st.integers(0, len(BODY)))
    for body in (inserted, b"old " + inserted, BODY[:begin] + inserted + BODY[end:]):
        found = authenticate(body, LOG.keys)
        if isinstance(found, Submission):
            assert found.request.encode() == body
            assert found.checkpoint == LOG.checkpoint(7)
