"""Distance bounding: what a landmark accepts, and each way in which it is not taken in."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as h

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, cose, ranging
from ledger.protocol.keys import P384Signer, PublicKey
from ledger.protocol.ranging import (
    Challenge,
    Commit,
    Measured,
    Opening,
    Probe,
    Prover,
    Reply,
    Result,
    Session,
    Transcript,
)
from tests.protocol.refusals import mutations, only_refusals, refused
from tests.world import World, seed, signer

LANDMARK = "beacon.fra"
EPOCH, OTHER_EPOCH = bytes(range(16)), bytes(range(1, 17))
SESSION = sha256(b"session").digest()[:16]
CHIP = World().chip(1)
MS = 1_000_000


def secrets(count: int = 3, label: str = "secret") -> list[bytes]:
    return [sha256(f"{label} {number}".encode()).digest()[:16] for number in range(count)]


def nonce(number: int) -> bytes:
    return sha256(b"nonce %d" % number).digest()[:16]


def prover(count: int = 3, **changes: Any) -> Prover:
    fields = {"ueid": CHIP.ueid, "epoch": EPOCH, "landmark": LANDMARK, "session": SESSION}
    return Prover(**fields | {"secrets": secrets(count)} | changes)


def key_of(ueid: bytes) -> PublicKey | None:
    return CHIP.signer.public if ueid == CHIP.ueid else None


def commit_of(chip: Prover, probe: int) -> Commit:
    found = ranging.decode(chip.commit(probe))
    assert isinstance(found, Commit)
    return found


class Lab:
    """A chip and a landmark with a clock between them that the test moves."""

    def __init__(self, chip: Prover) -> None:
        self.chip = chip
        self.now_ns = 5_000_000_000
        self.session = Session(LANDMARK, commit_of(chip, 0), self.now_ns)

    def challenge(self, probe: int, sent: bytes | None = None) -> Challenge:
        """Begin a probe; the nonce comes from the test."""
        wire = self.session.challenge(
            commit_of(self.chip, probe), sent or nonce(probe), self.now_ns
        )
        found = ranging.decode(wire)
        assert isinstance(found, Challenge)
        return found

    def reply(self, answer: bytes, after_ns: int) -> None:
        """The answer arrives after a while."""
        self.now_ns += after_ns
        found = ranging.decode(answer)
        assert isinstance(found, Reply)
        self.session.reply(found, self.now_ns)

    def probe(self, number: int, after_ns: int) -> None:
        """One whole probe of an honest chip."""
        self.reply(self.chip.answer(self.challenge(number)), after_ns)

    def open(self, opening: bytes | None = None, by: Any = CHIP.signer) -> Measured:
        found = ranging.decode(opening or self.chip.open(by))
        assert isinstance(found, Opening)
        return self.session.open(found, key_of, self.now_ns)


def lab(*trips_ms: float, chip: Prover | None = None) -> Lab:
    made = Lab(chip or prover(max(1, len(trips_ms))))
    for number, trip in enumerate(trips_ms):
        made.probe(number, int(trip * MS))
    return made


# -- what is measured ------------------------------------------------------------------------


def test_the_least_of_the_probes_is_measured():
    found = lab(12.5, 9.25, 30).open()
    assert (found.ueid, found.epoch, found.probes) == (CHIP.ueid, EPOCH, 3)
    assert found.round_trip_us == 9_252  # 9,250 µs, and 200 millionths for the clock
    assert found.digest == sha256(found.token).digest()


@given(h.integers(1, 900_000_000))
def test_a_round_trip_is_never_rounded_down(elapsed_ns: int):
    measured = ranging.round_trip_us(7, 7 + elapsed_ns)
    assert measured * 1_000 >= elapsed_ns
    assert measured <= elapsed_ns / 1_000 * 1.0002 + 1


@given(h.lists(h.integers(1, 900_000), min_size=1, max_size=8), h.data())
def test_delay_never_makes_the_measured_round_trip_smaller(trips_us: list[int], data: h.DataObject):
    more = [data.draw(h.integers(0, 1_000_000 - trip - 300)) for trip in trips_us]
    plain = lab(*(trip / 1_000 for trip in trips_us)).open()
    delayed = lab(*((t + d) / 1_000 for t, d in zip(trips_us, more, strict=True))).open()
    assert delayed.round_trip_us >= plain.round_trip_us


@pytest.mark.parametrize("elapsed", [0, -1, -10_000_000])
def test_a_clock_that_stood_still_or_went_back_measures_nothing(elapsed: int):
    with refused(Reason.TIME_IMPLAUSIBLE):
        ranging.round_trip_us(100_000_000, 100_000_000 + elapsed)


def test_a_lost_reply_is_not_counted():
    made = lab(10, chip=prover(2))
    made.chip.answer(made.challenge(1))  # it never arrives
    assert made.open().probes == 1


def test_a_probe_that_the_chip_never_saw_is_not_counted():
    made = lab(10, chip=prover(2))
    made.challenge(1)
    assert made.open().probes == 1


def test_the_longest_opening_fits_a_datagram():
    ueid = b"\x01" + bytes(32)
    chip = Prover(ueid, EPOCH, "l" * 63, SESSION, secrets(ranging.MAX_PROBES))
    for number in range(ranging.MAX_PROBES):
        chip.answer(Challenge(SESSION, number, nonce(number)))
    assert len(chip.open(P384Signer.from_seed(seed("p384")))) <= ranging.MAX_DATAGRAM


def test_no_answer_is_larger_than_what_it_answers():
    made = Lab(prover(1))
    begun = made.chip.commit(0)
    challenge = made.session.challenge(commit_of(made.chip, 0), nonce(0), made.now_ns)
    made.reply(made.chip.answer(Challenge(SESSION, 0, nonce(0))), MS)
    opening = made.chip.open(CHIP.signer)
    longest = max(len(reason.value) for reason in Reason)
    result = ranging.encode(Result(SESSION, "x" * longest, ranging.MAX_ROUND_TRIP_US, 8))
    assert len(challenge) < len(begun)
    assert len(result) <= min(len(begun), len(opening))


# -- what the landmark refuses ---------------------------------------------------------------


def test_a_reply_to_another_nonce_voids_the_session():
    """The chip is asked ahead by somebody near the landmark, who then answers in its place."""
    made = Lab(prover(1))
    asked = ranging.decode(made.chip.answer(Challenge(SESSION, 0, nonce(77))))
    assert isinstance(asked, Reply)
    secret = ranging.xor(asked.answer, nonce(77))
    made.challenge(0)
    made.reply(ranging.encode(Reply(SESSION, 0, ranging.xor(secret, nonce(0)))), MS)
    with refused(Reason.RANGING_NONCE):
        made.open()


def test_an_answer_made_before_the_nonce_came_voids_the_session():
    made = Lab(prover(1))
    challenge = made.challenge(0)
    made.reply(ranging.encode(Reply(SESSION, 0, bytes(16))), MS)
    made.chip.answer(challenge)
    with refused(Reason.RANGING_NONCE):
        made.open()


def transcript(**changes: Any) -> Transcript:
    about = {"ueid": CHIP.ueid, "epoch": EPOCH, "landmark": LANDMARK, "session": SESSION}
    about |= {name: changes.pop(name) for name in list(changes) if name in about}
    probe = {
        "number": 0,
        "commitment": commit_of(prover(1), 0).commitment,
        "nonce": nonce(0),
        "secret": secrets()[0],
    }
    return Transcript(**about, probes=(Probe(**probe | changes),))  # type: ignore[arg-type]


def opening(said: Transcript, session: bytes = SESSION, by: Any = CHIP.signer) -> bytes:
    return ranging.encode(Opening(session, cose.sign1(said.encode(), by, typ=ranging.TYP)))


def test_the_transcript_of_these_tests_is_accepted():
    assert lab(5).open(opening(transcript())).probes == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret": secrets(label="another")[0]}, Reason.RANGING_OPENING),
        ({"commitment": bytes(32)}, Reason.RANGING_OPENING),
        ({"nonce": nonce(1)}, Reason.RANGING_NONCE),
        ({"number": 1}, Reason.RANGING_OPENING),
        ({"epoch": OTHER_EPOCH}, Reason.EPOCH_UNKNOWN),
        ({"landmark": "beacon.sin"}, Reason.RANGING_SESSION),
        ({"session": bytes(16)}, Reason.RANGING_SESSION),
        ({"ueid": World().chip(2).ueid}, Reason.RANGING_SESSION),
    ],
)
def test_an_opening_that_does_not_fit_is_refused(changes: dict[str, Any], reason: Reason):
    with refused(reason):
        lab(5).open(opening(transcript(**changes)))


def test_an_opening_under_another_session_id_is_refused():
    with refused(Reason.RANGING_SESSION, "session"):
        lab(5).open(opening(transcript(), session=bytes(16)))


def test_a_commitment_is_good_for_one_chip_epoch_landmark_session_and_probe():
    base = (secrets()[0], CHIP.ueid, EPOCH, LANDMARK, SESSION, 0)
    others = (secrets()[1], World().chip(2).ueid, OTHER_EPOCH, "beacon", bytes(16), 1)
    made = {ranging.commitment(*base)}
    for at, other in enumerate(others):
        made.add(ranging.commitment(*base[:at], other, *base[at + 1 :]))  # type: ignore[arg-type]
    assert len(made) == len(base) + 1


def test_a_timed_probe_that_is_not_opened_voids_the_session():
    """The chip does not choose among its probes."""
    with refused(Reason.RANGING_OPENING):
        lab(5, 50, 4).open(opening(transcript()))


def test_another_key_than_the_chips_is_refused():
    with refused(Reason.COSE_KEY_MISMATCH):
        lab(5).open(by=signer("somebody"))


def test_a_forged_signature_is_refused():
    made = lab(5)
    whole = made.chip.open(CHIP.signer)
    with refused(Reason.SIGNATURE_INVALID):
        made.open(whole[:-1] + bytes([whole[-1] ^ 1]))


def test_a_token_of_another_kind_is_refused():
    token = cose.sign1(transcript().encode(), CHIP.signer, typ="application/x")
    with refused(Reason.COSE_TYPE):
        lab(5).open(ranging.encode(Opening(SESSION, token)))


def test_a_chip_that_nobody_knows_is_refused():
    stranger = World().chip(9)
    made = lab(5, chip=prover(1, ueid=stranger.ueid))
    with refused(Reason.CHIP_UNKNOWN, "ueid"):
        made.open(by=stranger.signer)


def test_a_late_reply_is_not_taken():
    limit_ns = ranging.MAX_ROUND_TRIP_US * 1_000
    made = Lab(prover(2))
    made.probe(0, limit_ns - limit_ns // 4_000)
    answer = made.chip.answer(made.challenge(1))
    with refused(Reason.RANGING_LATE):
        made.reply(answer, limit_ns)


def test_a_late_opening_is_refused():
    made = lab(5)
    made.now_ns += ranging.MAX_OPENING_NS
    assert made.session.expired(made.now_ns)
    with refused(Reason.RANGING_LATE):
        made.open()


def test_a_second_reply_is_refused_and_changes_nothing():
    made = Lab(prover(1))
    answer = made.chip.answer(made.challenge(0))
    made.reply(answer, 9 * MS)
    with refused(Reason.RANGING_REPLAYED):
        made.reply(answer, MS)
    assert made.open().round_trip_us == 9_002


def test_a_probe_begins_once():
    made = lab(5, chip=prover(2))
    with refused(Reason.RANGING_PROBE):
        made.challenge(0)


def test_a_reply_to_a_probe_that_never_began_is_refused():
    with refused(Reason.RANGING_PROBE):
        Lab(prover(2)).reply(ranging.encode(Reply(SESSION, 1, bytes(16))), MS)


def test_an_opening_without_a_timed_reply_is_refused():
    made = Lab(prover(1))
    made.chip.answer(made.challenge(0))
    with refused(Reason.RANGING_PROBE, "probes"):
        made.open()


@pytest.mark.parametrize("changes", [{"ueid": World().chip(2).ueid}, {"epoch": OTHER_EPOCH}])
def test_a_session_has_one_chip_and_one_epoch(changes: dict[str, Any]):
    made = Lab(prover(2))
    with refused(Reason.RANGING_SESSION):
        made.session.challenge(commit_of(prover(2, **changes), 1), nonce(1), made.now_ns)


# -- what the chip refuses -------------------------------------------------------------------


def test_a_chip_answers_one_nonce_for_each_secret():
    chip = prover(1)
    first = Challenge(SESSION, 0, nonce(0))
    chip.answer(first)
    for challenge in (first, Challenge(SESSION, 0, nonce(1))):
        with refused(Reason.RANGING_PROBE):
            chip.answer(challenge)


@pytest.mark.parametrize("challenge", [(bytes(16), 0), (SESSION, 3)])
def test_a_chip_answers_for_its_own_session_only(challenge: tuple[bytes, int]):
    with refused(Reason.RANGING_SESSION):
        prover(3).answer(Challenge(*challenge, nonce(0)))


def test_a_chip_opens_nothing_before_it_answered():
    with refused(Reason.RANGING_SESSION):
        prover().open(CHIP.signer)


@pytest.mark.parametrize("wrong", [[], [bytes(15)], [bytes(16)] * 9, [bytes(16), bytes(17)]])
def test_secrets_have_their_size(wrong: list[bytes]):
    with pytest.raises(ValueError, match="secrets"):
        prover(secrets=wrong)


def test_a_nonce_has_its_size():
    made = Lab(prover(1))
    with pytest.raises(ValueError, match="nonce"):
        made.challenge(0, bytes(8))


# -- bytes -----------------------------------------------------------------------------------

MESSAGES = (
    Commit(SESSION, 7, EPOCH, CHIP.ueid, bytes(32)),
    Challenge(SESSION, 0, nonce(0)),
    Reply(SESSION, 3, nonce(1)),
    Opening(SESSION, b"token"),
    Result(SESSION, "accepted", 9_002, 3),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_go_there_and_back(message: ranging.Datagram):
    assert ranging.decode(ranging.encode(message)) == message


def test_the_bytes_of_a_challenge_are_those_of_the_page():
    assert ranging.encode(Challenge(bytes(16), 1, bytes(16))).hex() == (
        "8402" + "50" + "00" * 16 + "01" + "50" + "00" * 16
    )


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({}, None),
        ([], None),
        ([6, SESSION], None),
        (["1", SESSION], None),
        ([True, SESSION, 0, bytes(16)], None),
        ([2, SESSION, 0], None),
        ([2, SESSION, 0, bytes(16), 0], None),
        ([2, bytes(15), 0, bytes(16)], "session"),
        ([2, SESSION, 8, bytes(16)], "probe"),
        ([2, SESSION, -1, bytes(16)], "probe"),
        ([2, SESSION, True, bytes(16)], "probe"),
        ([2, SESSION, 0, bytes(17)], "nonce"),
        ([3, SESSION, 0, "x" * 16], "answer"),
        ([1, SESSION, 0, bytes(15), CHIP.ueid, bytes(32)], "epoch"),
        ([1, SESSION, 0, EPOCH, CHIP.ueid, bytes(31)], "commitment"),
        ([4, SESSION, "token"], "token"),
        ([5, SESSION, "", 0, 0], "word"),
        ([5, SESSION, "x" * 41, 0, 0], "word"),
        ([5, SESSION, "x", -1, 0], "round_trip_us"),
        ([5, SESSION, "x", 0, 9], "probes"),
    ],
)
def test_a_datagram_of_another_form_is_refused(parts: Any, field: str | None):
    with refused(Reason.RANGING_MALFORMED, field):
        ranging.decode(cbor.encode(parts))


def test_a_malformed_ueid_is_refused():
    with refused(Reason.CLAIM_INVALID, "ueid"):
        ranging.decode(cbor.encode([1, SESSION, 0, EPOCH, b"\x01" + bytes(15), bytes(32)]))


def test_a_datagram_is_not_larger_than_one_packet():
    with refused(Reason.TOO_LARGE):
        ranging.decode(bytes(ranging.MAX_DATAGRAM + 1))


def body(**changes: Any) -> dict[str, Any]:
    return {**transcript()._asdict(), "probes": [list(transcript().probes[0])], **changes}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], Reason.RANGING_MALFORMED),
        ({"ueid": CHIP.ueid}, Reason.RANGING_MALFORMED),
        (body(more=1), Reason.RANGING_MALFORMED),
        (body(epoch=bytes(15)), Reason.RANGING_MALFORMED),
        (body(session="x"), Reason.RANGING_MALFORMED),
        (body(landmark=b"beacon"), Reason.RANGING_MALFORMED),
        (body(ueid="x"), Reason.RANGING_MALFORMED),
        (body(ueid=b"\x04"), Reason.CLAIM_INVALID),
        (body(probes=[]), Reason.RANGING_MALFORMED),
        (body(probes=[0]), Reason.RANGING_MALFORMED),
        (body(probes=[[0, bytes(32), bytes(16)]]), Reason.RANGING_MALFORMED),
        (body(probes=[[0, bytes(32), bytes(16), bytes(15)]]), Reason.RANGING_MALFORMED),
        (body(probes=[list(transcript().probes[0])] * 9), Reason.RANGING_MALFORMED),
        (body(probes=[list(transcript().probes[0])] * 2), Reason.RANGING_PROBE),
    ],
)
def test_a_transcript_of_another_form_is_refused(said: Any, reason: Reason):
    token = cose.sign1(cbor.encode(said), CHIP.signer, typ=ranging.TYP)
    with refused(reason):
        lab(5).open(ranging.encode(Opening(SESSION, token)))


@given(h.binary(max_size=200) | h.one_of(*(mutations(ranging.encode(m)) for m in MESSAGES)))
def test_any_datagram_is_read_or_refused(data: bytes):
    message = only_refusals(ranging.decode, data)
    assert message is None or ranging.encode(message) == data


def opened_with(data: bytes) -> Measured:
    return lab(5).session.open(Opening(SESSION, data), key_of, 5_000_000_000)


TOKEN = cose.sign1(transcript().encode(), CHIP.signer, typ=ranging.TYP)


@given(h.binary(max_size=300) | mutations(TOKEN))
def test_any_transcript_is_checked_or_refused(data: bytes):
    measured = only_refusals(opened_with, data)
    assert measured is None or data == TOKEN


@given(h.data())
def test_no_order_of_messages_measures_less_than_the_honest_way(data: h.DataObject):
    """Replies, commitments and openings in any order, from anybody who has no secret."""
    made, seen = Lab(prover(3)), 0
    steps: list[Callable[[], object]] = []
    for _ in range(data.draw(h.integers(1, 12))):
        number = data.draw(h.integers(0, 2))
        answer = data.draw(h.binary(min_size=16, max_size=16))
        steps.append(lambda n=number: made.challenge(n))
        steps.append(lambda n=number: made.reply(made.chip.answer(made.challenge(n)), 8 * MS))
        steps.append(lambda n=number, a=answer: made.reply(ranging.encode(Reply(SESSION, n, a)), 1))
    for at in data.draw(h.lists(h.integers(0, len(steps) - 1), max_size=12)):
        try:
            steps[at]()
        except Refused:
            seen += 1
    try:
        measured = made.open()
    except Refused:
        return
    assert measured.round_trip_us >= 8_000
