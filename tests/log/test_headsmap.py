"""The heads map against a dictionary and the RFC's recursive tree; proofs; every decoder."""

import contextlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import IntegrityError, Reason
from ledger.log import headsmap, headsmap_update
from ledger.log.chain import Leaf, Link
from ledger.log.headsmap import ROW_SIZE, Row
from ledger.log.headsmap_update import MapInMemory, rebuild
from ledger.log.tiles import Tile
from ledger.values import ZERO_DIGEST
from tests.log import oracle
from tests.protocol.refusals import only_refusals, refused

Heads = dict[bytes, tuple[int, bytes]]


def key(number: int) -> bytes:
    return sha256(b"subject %d" % number).digest()


def head(number: int) -> bytes:
    return sha256(b"head %d" % number).digest()


def fleet(count: int) -> Heads:
    return {key(n): (n % 7 + 1, head(n)) for n in range(count)}


def triples(heads: Heads) -> list[tuple[bytes, int, bytes]]:
    return [(subject, count, top) for subject, (count, top) in heads.items()]


def naive_buckets(heads: Heads, bits: int) -> list[bytes]:
    """Every bucket's content, by looking at the key as a text of binary digits."""
    buckets = [b""] * 2**bits
    for subject, (count, top) in sorted(heads.items()):
        digits = "".join(f"{byte:08b}" for byte in subject)[:bits]
        buckets[int(digits or "0", 2)] += subject + count.to_bytes(8, "big") + top
    return buckets


def naive_leaves(heads: Heads, bits: int) -> list[bytes]:
    return [sha256(b"\x00" + content).digest() for content in naive_buckets(heads, bits)]


@st.composite
def histories(draw: st.DrawFn) -> list[Heads]:
    """Batches of changes, in which a subject's count only grows; prefixes crowd some buckets."""
    prefixes = st.sampled_from([b"", b"\x00\x00", b"\xff\xff", b"\x80\x01"])
    pool = [
        draw(prefixes) + key(n)[2:] if draw(st.booleans()) else key(n)
        for n in range(draw(st.integers(1, 30)))
    ]
    pool = [subject.ljust(32, b"\x00") for subject in pool]
    counts: dict[bytes, int] = {}
    batches = []
    for number in range(draw(st.integers(1, 5))):
        batch: Heads = {}
        for subject in draw(st.lists(st.sampled_from(pool), unique=True)):
            counts[subject] = counts.get(subject, 0) + draw(st.integers(1, 2**33))
            batch[subject] = (counts[subject], sha256(subject + bytes([number])).digest())
        batches.append(batch)
    return batches


@settings(max_examples=40)
@given(histories(), st.integers(0, 10))
def test_any_changes_give_the_naive_map(batches: list[Heads], bits: int) -> None:
    kept = MapInMemory(bits)
    heads: Heads = {}
    root = headsmap.empty_root(bits)
    for batch in batches:
        heads |= batch
        done = kept.apply(batch)
        assert done.root_before == root
        root = done.root
        assert root == oracle.root(naive_leaves(heads, bits))
    assert [kept.buckets.get(n, b"") for n in range(2**bits)] == naive_buckets(heads, bits)
    made = rebuild(bits, triples(heads))
    assert (made.buckets, made.tiles, made.root) == (kept.buckets, kept.tiles, root)
    assert headsmap.map_root(kept.get_tiles, bits) == root


@pytest.mark.parametrize("bits", range(11))
def test_presence_and_absence_are_proved_at_every_width(bits: int) -> None:
    heads = fleet(40)
    kept = MapInMemory(bits)
    root = kept.apply(heads).root
    leaves = naive_leaves(heads, bits)
    for number in (0, 1, 39, 40, 41):
        subject = key(number)
        bucket, path = headsmap.prove_subject(kept.get_buckets, kept.get_tiles, bits, subject)
        assert list(path) == oracle.path(headsmap.bucket_of(subject, bits), leaves)
        expected = Row(subject, *heads[subject]) if number < 40 else None
        assert headsmap.verify_subject(root, bits, subject, bucket, path) == expected


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 16, 17, 24])
def test_empty_map_proves_absence(bits: int) -> None:
    kept = MapInMemory(bits)
    root = headsmap.empty_root(bits)
    assert rebuild(bits, []).root == headsmap.map_root(kept.get_tiles, bits) == root
    bucket, path = headsmap.prove_subject(kept.get_buckets, kept.get_tiles, bits, key(0))
    assert bucket == b""
    assert len(path) == bits
    assert headsmap.verify_subject(root, bits, key(0), bucket, path) is None


@pytest.mark.parametrize("bits", range(11))
def test_empty_root_is_the_tree_of_empty_leaves(bits: int) -> None:
    assert headsmap.empty_root(bits) == oracle.root(naive_leaves({}, bits))


@pytest.mark.parametrize("bits", [16, 17, 24])
def test_wide_maps_update_as_they_rebuild(bits: int) -> None:
    heads = fleet(60)
    kept = MapInMemory(bits)
    kept.apply(dict(list(heads.items())[:30]))
    root = kept.apply(heads).root
    made = rebuild(bits, triples(heads))
    assert (made.buckets, made.tiles, made.root) == (kept.buckets, kept.tiles, root)


def test_an_update_reads_once_and_returns_only_what_changed() -> None:
    kept = MapInMemory(9)
    heads = fleet(100)
    kept.apply(heads)
    calls: list[int] = []

    def get_tiles(tiles: Sequence[Tile]) -> list[bytes]:
        calls.append(len(tiles))
        return kept.get_tiles(tiles)

    one = {key(0): (99, head(99))}
    done = headsmap_update.update(kept.get_buckets, get_tiles, 9, one)
    number = headsmap.bucket_of(key(0), 9)
    assert list(done.buckets) == [number]
    assert list(done.tiles) == [(0, number >> 8), (1, 0)]
    assert calls == [2]


@pytest.mark.parametrize("changes", [{}, fleet(3)])
def test_a_change_that_changes_nothing_leaves_nothing_to_write(changes: Heads) -> None:
    kept = MapInMemory(8)
    root = kept.apply(fleet(20)).root
    done = kept.apply(changes)
    assert (done.buckets, done.tiles, done.root, done.root_before) == ({}, {}, root, root)


def test_changes_of_entries_are_the_newest_place_of_each_subject() -> None:
    first = Leaf("birth", 1, (Link(key(1), 0, ZERO_DIGEST), Link(key(2), 4, head(3))), head(7))
    second = Leaf("heartbeat", 2, (Link(key(1), 1, head(1)),), head(8))
    index_root = Leaf("index-root", 3, (), head(9))
    entries = [(first, head(1)), (second, head(2)), (index_root, head(4))]
    assert headsmap_update.changes_of(entries) == {key(1): (2, head(2)), key(2): (5, head(1))}


# Stored data that contradicts itself


@pytest.mark.parametrize(
    ("subject", "count", "top"),
    [
        (key(0)[:31], 1, head(0)),
        (key(0), 1, head(0) + b"\x00"),
        (key(0), 0, head(0)),
        (key(0), 2**64, head(0)),
    ],
)
def test_a_change_that_is_no_row_is_an_integrity_error(
    subject: bytes, count: int, top: bytes
) -> None:
    with pytest.raises(IntegrityError):
        MapInMemory(4).apply({subject: (count, top)})


@pytest.mark.parametrize(("count", "top"), [(4, head(1)), (5, head(2))])
def test_a_subject_that_would_lose_entries_is_an_integrity_error(count: int, top: bytes) -> None:
    kept = MapInMemory(4)
    kept.apply({key(0): (5, head(1))})
    with pytest.raises(IntegrityError, match="lose"):
        kept.apply({key(0): (count, top)})


@given(st.data())
def test_no_flipped_bit_that_an_update_reads_goes_unseen(data: st.DataObject) -> None:
    kept = MapInMemory(9)
    root = kept.apply(fleet(100)).root
    places: list[tuple[dict[Any, bytes], Any]] = [
        (kept.buckets, headsmap.bucket_of(key(0), 9)),
        (kept.tiles, (0, headsmap.bucket_of(key(0), 9) >> 8)),
        (kept.tiles, (1, 0)),
    ]
    rows, name = data.draw(st.sampled_from(places))
    bit = data.draw(st.integers(0, len(rows[name]) * 8 - 1))
    flipped = int.from_bytes(rows[name]) ^ 1 << bit
    rows[name] = flipped.to_bytes(len(rows[name]))
    with contextlib.suppress(IntegrityError):
        assert kept.apply({key(0): (99, head(99))}).root_before != root


@pytest.mark.parametrize("cut", [1, 32])
def test_a_torn_tile_is_an_integrity_error(cut: int) -> None:
    kept = MapInMemory(8)
    kept.apply(fleet(10))
    kept.tiles[0, 0] = kept.tiles[0, 0][:-cut]
    with pytest.raises(IntegrityError, match="tile 0/0"):
        kept.apply({key(0): (99, head(99))})
    with pytest.raises(IntegrityError, match="tile 0/0"):
        headsmap.prove_subject(kept.get_buckets, kept.get_tiles, 8, key(0))


def test_a_torn_bucket_and_getters_that_leave_something_out_are_integrity_errors() -> None:
    kept = MapInMemory(0)
    kept.apply(fleet(3))
    change = {key(0): (99, head(99))}
    with pytest.raises(IntegrityError, match="buckets"):
        headsmap_update.update(lambda _: [], kept.get_tiles, 0, change)
    with pytest.raises(IntegrityError, match="tiles"):
        headsmap_update.update(kept.get_buckets, lambda _: [], 0, change)
    kept.buckets[0] += b"\x00"
    with pytest.raises(IntegrityError, match="whole rows"):
        kept.apply(change)


@pytest.mark.parametrize(
    "heads",
    [
        [(key(1), 1, head(1)), (key(1), 2, head(2))],
        [(key(1), 0, head(1))],
        [(key(1)[1:], 1, head(1))],
        [(key(1), 1, b"")],
    ],
)
def test_rebuilding_from_what_is_no_map_is_an_integrity_error(
    heads: list[tuple[bytes, int, bytes]],
) -> None:
    with pytest.raises(IntegrityError):
        rebuild(4, heads)


# What a verifier is shown


BITS = 2
HEADS = fleet(40)
LEAVES = naive_leaves(HEADS, BITS)
ROOT = oracle.root(LEAVES)
SUBJECT = key(0)
NUMBER = headsmap.bucket_of(SUBJECT, BITS)
BUCKET = naive_buckets(HEADS, BITS)[NUMBER]
PATH = oracle.path(NUMBER, LEAVES)


def rows_of(bucket: bytes) -> list[bytes]:
    return [bucket[at : at + ROW_SIZE] for at in range(0, len(bucket), ROW_SIZE)]


def forged(bucket: bytes) -> tuple[bytes, bytes]:
    """A root that commits to ``bucket``: only its form can give it away."""
    leaves = [*LEAVES[:NUMBER], sha256(b"\x00" + bucket).digest(), *LEAVES[NUMBER + 1 :]]
    return oracle.root(leaves), bucket


def zero_count(row: bytes) -> bytes:
    return row[:32] + bytes(8) + row[40:]


ROWS = rows_of(BUCKET)
FOREIGN = next(row for row in rows_of(naive_buckets(HEADS, 0)[0]) if row not in ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([ROWS[1], ROWS[0], *ROWS[2:]], id="unsorted"),
        pytest.param([ROWS[0], *ROWS], id="row twice"),
        pytest.param([ROWS[0][:40] + head(9), *ROWS], id="second head of a subject"),
        pytest.param(sorted([FOREIGN, *ROWS]), id="row of another bucket"),
        pytest.param([zero_count(ROWS[0]), *ROWS[1:]], id="count 0 first"),
        pytest.param([*ROWS[:-1], zero_count(ROWS[-1])], id="count 0 last"),
        pytest.param([*ROWS, b"\x00"], id="a byte more"),
        pytest.param([*ROWS[:-1], ROWS[-1][:-1]], id="a byte less"),
    ],
)
def test_a_bucket_that_is_not_well_formed_is_refused_although_it_is_committed_to(
    rows: list[bytes],
) -> None:
    root, bucket = forged(b"".join(rows))
    with refused(Reason.PROOF_INVALID, "bucket"):
        headsmap.verify_subject(root, BITS, SUBJECT, bucket, PATH)


def test_a_bucket_that_leaves_a_row_out_does_not_lead_to_the_root() -> None:
    assert headsmap.verify_subject(ROOT, BITS, SUBJECT, BUCKET, PATH) is not None
    without = b"".join(row for row in ROWS if not row.startswith(SUBJECT))
    with refused(Reason.PROOF_INVALID):
        headsmap.verify_subject(ROOT, BITS, SUBJECT, without, PATH)


def test_another_buckets_proof_does_not_show_absence() -> None:
    other = (NUMBER + 1) % 2**BITS
    bucket = naive_buckets(HEADS, BITS)[other]
    with refused(Reason.PROOF_INVALID, "bucket"):
        headsmap.verify_subject(ROOT, BITS, SUBJECT, bucket, oracle.path(other, LEAVES))
    sparse = {SUBJECT: (1, head(0))}
    leaves = naive_leaves(sparse, BITS)
    with refused(Reason.PROOF_INVALID):
        headsmap.verify_subject(oracle.root(leaves), BITS, SUBJECT, b"", oracle.path(other, leaves))


@pytest.mark.parametrize("path", [PATH[:1], [*PATH, PATH[0]], [], [PATH[0], b""], [*PATH[:1], ""]])
def test_a_path_of_another_shape_is_refused(path: list[Any]) -> None:
    with refused(Reason.PROOF_INVALID, "proof"):
        headsmap.verify_subject(ROOT, BITS, SUBJECT, BUCKET, path)


@pytest.mark.parametrize("bits", [-1, 25, True, None, 2.0])
def test_bucket_bits_outside_0_to_24_are_refused(bits: Any) -> None:
    with refused(Reason.PROOF_INVALID, "bucket_bits"):
        headsmap.verify_subject(ROOT, bits, SUBJECT, BUCKET, PATH)


@pytest.mark.parametrize("subject", [b"", SUBJECT[:31], SUBJECT + b"\x00", SUBJECT.hex(), None])
def test_a_subject_key_of_another_length_or_type_is_refused(subject: Any) -> None:
    with refused(Reason.PROOF_INVALID, "subject_key"):
        headsmap.verify_subject(ROOT, BITS, subject, BUCKET, PATH)


@pytest.mark.parametrize("number", [-1, 4, None, True])
def test_a_bucket_number_outside_the_map_is_refused(number: Any) -> None:
    with refused(Reason.PROOF_INVALID, "bucket"):
        headsmap.decode_bucket(b"", number, BITS)


def test_rows_encode_in_any_order_and_decode_sorted() -> None:
    rows = [Row(subject, *HEADS[subject]) for subject in HEADS]
    data = headsmap.encode_bucket(rows)
    assert data == naive_buckets(HEADS, 0)[0]
    assert headsmap.decode_bucket(data, 0, 0) == sorted(rows)


@pytest.mark.parametrize(
    "rows",
    [
        [Row(key(0), 1, head(0)), Row(key(0), 1, head(0))],
        [Row(key(0), 0, head(0))],
        [Row(key(0), 2**64, head(0))],
        [Row(key(0)[:31], 1, head(0))],
        [Row(key(0), 1, head(0)[:31])],
    ],
)
def test_rows_that_no_bucket_can_have_are_not_encoded(rows: list[Row]) -> None:
    with refused(Reason.PROOF_INVALID, "bucket"):
        headsmap.encode_bucket(rows)


@st.composite
def near_buckets(draw: st.DrawFn) -> bytes:
    """The honest bucket with rows moved, bytes changed, cut or added; or anything at all."""
    rows = draw(st.just(ROWS) | st.permutations(ROWS) | st.lists(st.sampled_from([*ROWS, FOREIGN])))
    data = bytearray(b"".join(rows))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data) + draw(st.binary(max_size=3))


PLACES = st.sampled_from([(NUMBER, BITS), (0, 0)])
ANYWHERE = st.tuples(st.integers(-1, 5), st.integers(-1, 25))


@given(st.binary(max_size=300) | near_buckets(), PLACES | ANYWHERE)
def test_what_decodes_as_a_bucket_encodes_to_the_same_bytes(
    data: bytes, place: tuple[int, int]
) -> None:
    rows = only_refusals(lambda given: headsmap.decode_bucket(given, *place), data)
    if rows is None:
        return
    assert headsmap.encode_bucket(rows) == data
    assert {headsmap.bucket_of(row.subject, place[1]) for row in rows} <= {place[0]}


@given(
    near_buckets(),
    st.just(PATH) | st.lists(st.binary(max_size=40) | st.sampled_from(PATH), max_size=4),
)
def test_no_other_bucket_or_path_verifies(bucket: bytes, path: list[bytes]) -> None:
    row = only_refusals(
        lambda given: headsmap.verify_subject(ROOT, BITS, SUBJECT, given, path), bucket
    )
    if row is not None:
        assert (bucket, path, row) == (BUCKET, PATH, Row(SUBJECT, *HEADS[SUBJECT]))
