"""The landmark's desk: bounds that hold whatever comes in."""

from hashlib import sha256
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as h

from api.landmark_desk import Collector, Desk, Limits, Ready
from ledger.errors import Reason, Refused
from ledger.protocol import ranging
from ledger.protocol.landmarks import MAX_ROWS
from ledger.protocol.ranging import Challenge, Commit, Measured, Opening, Prover, Reply, Result
from tests.api.world import Chip
from tests.protocol.refusals import mutations

EPOCH = bytes(range(16))
CHIP = Chip(1)
HOME = ("192.0.2.1", 7)
MS = 1_000_000
TIGHT = Limits(new_sessions=4, sessions=3, closed=5, sources=6, rate=10, burst=10_000, chips=7)


class Bench:
    """A desk whose clock the test moves."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now_ns = 1_000_000_000_000
        drawn = count()
        self.nonces: list[bytes] = []

        def draw(size: int) -> bytes:
            self.nonces.append(sha256(b"nonce %d" % next(drawn)).digest()[:size])
            return self.nonces[-1]

        self.desk = Desk("beacon", draw, lambda: self.now_ns, limits)
        self.desk.epochs = frozenset({EPOCH})

    def send(self, datagram: bytes, source: tuple[str, int] = HOME) -> bytes | Ready | None:
        answer = self.desk.receive(datagram, source, self.now_ns)
        if isinstance(answer, bytes):
            assert len(answer) <= len(datagram)
        return answer

    def word(self, datagram: bytes, source: tuple[str, int] = HOME) -> str:
        """The reason code that a datagram is answered with."""
        result = ranging.decode(self.bytes(datagram, source))
        assert isinstance(result, Result)
        return result.word

    def bytes(self, datagram: bytes, source: tuple[str, int] = HOME) -> bytes:
        answer = self.send(datagram, source)
        assert isinstance(answer, bytes)
        return answer

    def probe(
        self, prover: Prover, number: int = 0, source: tuple[str, int] = HOME, ms: int = 5
    ) -> None:
        """One probe of an honest chip."""
        challenge = ranging.decode(self.bytes(prover.commit(number), source))
        assert isinstance(challenge, Challenge)
        self.now_ns += ms * MS
        assert self.send(prover.answer(challenge), source) is None


def prover(number: int = 0, probes: int = 2) -> Prover:
    session = sha256(b"session %d" % number).digest()[:16]
    return Prover(CHIP.ueid, EPOCH, "beacon", session, [bytes(16), bytes(15) + b"\x01"][:probes])


def commit(number: int, probe: int = 0) -> bytes:
    session = sha256(b"flood %d" % number).digest()[:16]
    return ranging.encode(Commit(session, probe, EPOCH, CHIP.ueid, bytes(32)))


def test_a_session_ends_with_an_opening_that_is_to_be_checked():
    bench, chip = Bench(), prover()
    bench.probe(chip)
    ready = bench.send(chip.open(CHIP.signer))
    assert isinstance(ready, Ready)
    measured = ready.session.open(ready.opening, lambda _: CHIP.signer.public, bench.now_ns)
    answer = bench.desk.close(ready, measured)
    assert answer is not None
    assert ranging.decode(answer) == Result(ready.opening.session, "accepted", 5_001, 1)
    assert bench.desk.counts["accepted"] == 1


def test_an_opening_is_checked_once():
    bench, chip = Bench(), prover()
    bench.probe(chip)
    opening = chip.open(CHIP.signer)
    ready = bench.send(opening)
    assert isinstance(ready, Ready)
    assert bench.send(opening) is None  # the check is under way
    answer = bench.desk.close(ready, Refused(Reason.BUSY, "x"))
    assert bench.send(opening) == answer


def test_every_nonce_is_drawn_anew():
    bench = Bench()
    for number in range(50):
        bench.send(commit(number))
    assert len(set(bench.nonces)) == 50


@pytest.mark.parametrize(
    ("datagram", "word"),
    [
        (ranging.encode(Commit(bytes(16), 0, bytes(16), CHIP.ueid, bytes(32))), "epoch-unknown"),
        (ranging.encode(Opening(bytes(16), bytes(200))), "ranging-session-unknown"),
    ],
)
def test_what_belongs_to_no_session_is_refused(datagram: bytes, word: str):
    assert Bench().word(datagram) == word


def test_a_probe_that_has_begun_does_not_begin_again():
    bench = Bench()
    bench.bytes(commit(1))
    assert bench.word(commit(1)) == "ranging-probe-repeated"


@pytest.mark.parametrize(
    "message",
    [
        Reply(bytes(16), 0, bytes(16)),
        Challenge(bytes(16), 0, bytes(16)),
        Result(bytes(16), "accepted", 1, 1),
        Opening(bytes(16), b""),  # any answer would be larger
    ],
)
def test_what_needs_no_answer_gets_none(message: ranging.Datagram):
    assert Bench().send(ranging.encode(message)) is None


def test_a_flood_of_new_sessions_pushes_out_no_session_that_has_replied():
    bench, chip = Bench(TIGHT), prover()
    bench.probe(chip)
    for number in range(1_000):
        bench.send(commit(number), ("198.51.100.1", number))
    bench.probe(chip, 1)
    assert isinstance(bench.send(chip.open(CHIP.signer)), Ready)


def test_when_too_many_sessions_have_replied_no_more_do():
    bench = Bench(TIGHT)
    for number in range(4):
        bench.probe(prover(number))
    assert bench.desk.counts["busy"] == 1


def test_new_sessions_are_forgotten_soon_and_others_when_their_time_is_over():
    bench, chip = Bench(), prover()
    bench.probe(chip)
    bench.bytes(commit(1))
    held = bench.desk.held
    bench.now_ns += 2_100 * MS
    bench.send(b"")
    assert bench.desk.held == held - 1
    bench.now_ns += ranging.MAX_OPENING_NS
    assert bench.word(chip.open(CHIP.signer)) == "ranging-session-unknown"


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("somewhere", "elsewhere", False),
    ],
)
def test_the_rate_is_counted_by_network(first: str, second: str, shared: bool):
    bench = Bench(Limits(rate=1, burst=1))
    assert bench.send(commit(1), (first, 1)) is not None
    assert (bench.send(commit(2), (second, 2)) is None) is shared
    bench.now_ns += 1_000 * MS
    assert bench.send(commit(3), (first, 1)) is not None


@given(
    h.lists(
        h.tuples(
            h.binary(max_size=60)
            | mutations(commit(1))
            | h.builds(commit, h.integers(0, 9), h.integers(0, 7))
            | h.builds(
                lambda n, a: ranging.encode(Reply(sha256(b"flood %d" % n).digest()[:16], 0, a)),
                h.integers(0, 9),
                h.binary(min_size=16, max_size=16),
            )
            | h.builds(
                lambda n: ranging.encode(
                    Opening(sha256(b"flood %d" % n).digest()[:16], bytes(100))
                ),
                h.integers(0, 9),
            ),
            h.integers(0, 9),
            h.integers(0, 3_000),
        ),
        max_size=60,
    )
)
def test_memory_is_bounded_and_no_answer_is_larger_than_its_question(
    steps: list[tuple[bytes, int, int]],
):
    bench = Bench(TIGHT)
    for datagram, port, ms in steps:
        bench.now_ns += ms * MS
        answer = bench.send(datagram, (f"192.0.2.{port}", port))
        if isinstance(answer, Ready):
            closed = bench.desk.close(answer, Refused(Reason.RANGING_OPENING, "x"))
            assert closed is None or len(closed) <= len(datagram)
    most = TIGHT.new_sessions + TIGHT.sessions + TIGHT.closed + TIGHT.sources
    assert bench.desk.held <= most


def measured(number: int, us: int = 1_000, epoch: bytes = EPOCH) -> Measured:
    return Measured(b"\x01" + number.to_bytes(16), epoch, us, 4, b"token %d" % us)


def test_the_collector_keeps_the_least_of_each_chip():
    kept = Collector(9)
    for us in (3_000, 1_000, 2_000):
        kept.add(measured(1, us))
    ((epoch, (row,)),) = kept.take()
    assert (epoch, row.round_trip_us) == (EPOCH, 1_000)
    assert row.transcript == sha256(b"token 1000").digest()
    assert kept.take() == []


def test_batches_fit_a_report_and_epochs_are_apart():
    kept = Collector(1_000)
    for number in range(MAX_ROWS + 1):
        kept.add(measured(number))
    kept.add(measured(1, epoch=bytes(16)))
    assert [(epoch, len(rows)) for epoch, rows in kept.take()] == [
        (EPOCH, MAX_ROWS),
        (EPOCH, 1),
        (bytes(16), 1),
    ]


def test_the_collector_is_bounded_in_chips_and_epochs():
    kept = Collector(3)
    for number in range(9):
        kept.add(measured(number))
    kept.add(measured(0, 1))
    assert len(kept) == 3
    for number in range(5):
        kept.add(measured(1, epoch=bytes([number]) * 16))
    assert [epoch[0] for epoch, _ in kept.take()] == [3, 4]
