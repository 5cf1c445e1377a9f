"""The quick way of reading tokens against the strict one, and quick leaves against the encoder."""

from functools import cache
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as some

from ledger.bundle.leaves import ChainWalk, leaf_start, own_leaf, uint
from ledger.bundle.twins import Twins
from ledger.errors import Refused
from ledger.log.chain import Link, encode_leaf
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat, Location
from ledger.protocol.keys import P384Signer
from ledger.values import ZERO_DIGEST, SubjectKind
from tests.protocol.refusals import mutations, refused
from tests.world import FIRMWARE, MODEL, seed, signer

KEYS = {"ed": signer("twin"), "p384": P384Signer.from_seed(seed("twin"))}
DIGESTS = some.binary(min_size=32, max_size=32)
UINTS = some.one_of(some.integers(0, 300), some.integers(0, 70_000), some.integers(2**31, 2**33))
DEGREES = some.one_of(some.floats(-90, 90), some.sampled_from([0.0, 50.5, 50.1109, -0.1]))


@some.composite
def heartbeats(draw: some.DrawFn) -> Heartbeat:
    counter = draw(UINTS.filter(bool))
    place = draw(DEGREES), draw(DEGREES), draw(some.sampled_from([12.3, 12.0, 0.1, 1e6]))
    return Heartbeat(
        iat=draw(UINTS),
        epoch=draw(some.binary(min_size=16, max_size=16)),
        ueid=b"\x01" + bytes(16),
        oemid=99_999,
        model=MODEL,
        uptime=draw(UINTS),
        debug_status=3,
        location=Location(*place, draw(UINTS)),
        boot_count=draw(some.integers(0, 2)),
        boot_seed=bytes(32),
        measurement=FIRMWARE,
        counter=counter,
        previous=ZERO_DIGEST if counter == 1 else draw(DIGESTS.filter(any)),
        directive_seen=draw(some.sampled_from([None, (1, bytes(32))])),
        lease=draw(some.sampled_from([None, b"l" * 16, b"m" * 16])),
    )


def strict(token: bytes) -> Any:
    """What the strict decoder says of a heartbeat."""
    try:
        message = st.decode(token, expect=st.Kind.HEARTBEAT)
    except Refused as refusal:
        return refusal.reason
    sign1 = message.sign1
    digests = message.digest, message.content_digest
    return (message.body, message.tbs, sign1.signature, *digests, sign1.kid, sign1.alg_id)


def quick(twins: Twins, token: bytes) -> Any:
    try:
        return tuple(twins.heartbeat(token))
    except Refused as refusal:
        return refusal.reason


@given(some.lists(heartbeats(), min_size=2, max_size=12), some.sampled_from(sorted(KEYS)))
def test_heartbeats_are_read_as_the_strict_decoder_reads_them(bodies: list[Heartbeat], key: str):
    twins = Twins()
    for body in bodies:
        token = st.sign(body, KEYS[key])
        assert quick(twins, token) == strict(token)


@cache
def warm() -> tuple[Twins, bytes]:
    """Shapes of three heartbeats, and the token of the last."""
    twins, token = Twins(), b""
    for moves in (True, False):
        body = Heartbeat(
            2**31,
            bytes(16),
            b"\x01" + bytes(16),
            99_999,
            MODEL,
            70_000,
            3,
            Location(50.1109 if moves else 50.5, 8.6821, 12.3, 2**31),
            1,
            bytes(32),
            FIRMWARE,
            300,
            bytes([1]) * 32,
            None,
            b"l" * 16,
        )
        token = st.sign(body, KEYS["ed"])
        twins.heartbeat(token)
    return twins, token


@given(some.data())
@settings(max_examples=400)
def test_changed_bytes_never_get_past_the_quick_way(data: some.DataObject):
    twins, token = warm()
    changed = data.draw(mutations(token))
    assert quick(twins, changed) == strict(changed)


@given(some.integers(0, 10_000), some.integers(0, 255))
@settings(max_examples=400)
def test_no_single_byte_makes_a_difference_between_both_ways(at: int, value: int):
    twins, token = warm()
    at %= len(token)
    changed = token[:at] + bytes([value]) + token[at + 1 :]
    assert quick(twins, changed) == strict(changed)


@given(
    some.lists(
        some.tuples(
            some.binary(min_size=16, max_size=16),
            UINTS,
            UINTS,
            some.integers(0, 2**45),
            some.integers(0, 2**45),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_epochs_are_read_as_the_strict_decoder_reads_them(rows: list[Any]):
    twins = Twins()
    for ident, iat, counter, before, after in rows:
        assume(before != after)
        body = st.Epoch.model_construct(
            iat=iat, id=ident, counter=counter, not_before_ms=before, not_after_ms=after
        )
        token = st.sign(body, KEYS["ed"])
        try:
            message = st.decode(token)
        except Refused as refusal:
            with refused(refusal.reason):
                twins.epoch(token)
            continue
        kid, opened = twins.epoch(token)
        assert kid == message.kid
        assert opened._asdict() == message.body.model_dump()


@given(some.sampled_from(["heartbeat", "epoch", "conflict", "party"]), UINTS, UINTS, DIGESTS)
def test_leaves_are_those_of_the_log(kind: str, received_ms: int, seq: int, digest: bytes):
    link = Link(b"k" * 32, seq, b"p" * 32)
    made = own_leaf(leaf_start(kind), received_ms, link, digest)
    assert made == encode_leaf(kind, received_ms, (link,), digest)


@given(some.integers(0, 2**64 - 1))
def test_integers_are_in_their_shortest_form(value: int):
    assert uint(value) == cbor.encode(value)


@given(some.lists(some.one_of(some.integers(0, 9), some.integers(0, 2**63)), max_size=12))
def test_disorder_is_told_without_counting_to_a_huge_number(seqs: list[int]):
    walk = ChainWalk(SubjectKind.CHIP, b"x", 0, ZERO_DIGEST, True)
    for index, seq in enumerate(seqs):
        walk.advance(seq, index, bytes(32))
    assert walk.sound == (seqs == list(range(len(seqs))))
    if not walk.sound:
        missing, twice, descends = walk.disorder()
        assert missing or twice or descends
        assert twice == [] or len(set(seqs)) < len(seqs)
        assert not set(missing) & set(seqs)
