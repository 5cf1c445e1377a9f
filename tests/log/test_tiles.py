"""Tile paths, growing tiles, nodes from tiles, entry bundles."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log import merkle, tiles
from ledger.log.tiles import ENTRIES, Tile, TilePath
from tests.log import oracle
from tests.vectors import vectors_dir

LEAVES = oracle.leaves(66_000)


def test_published_index_encodings_both_ways() -> None:
    published = json.loads((vectors_dir() / "tlog-tiles-paths.json").read_text())
    for index, encoded in published["index_encoding"].items():
        assert tiles.tile_path(0, int(index)) == f"tile/0/{encoded}"
        assert tiles.parse_tile_path(f"tile/entries/{encoded}.p/7") == (ENTRIES, int(index), 7)


def test_published_tile_counts_by_tree_size() -> None:
    published = json.loads((vectors_dir() / "tlog-tiles-paths.json").read_text())
    for size, levels in published["tiles_for_tree_size"].items():
        counted = tiles.tiles_for_size(int(size))
        assert [row._asdict() for row in counted] == levels


@given(
    st.integers(0, 63) | st.just(ENTRIES), st.integers(0, tiles.MAX_INDEX - 1), st.integers(1, 256)
)
def test_every_tile_path_parses_back(level: int, n: int, width: int) -> None:
    assert tiles.parse_tile_path(tiles.tile_path(level, n, width)) == TilePath(level, n, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/001/000",
        "tile/0/x001/x234/x067",
        "tile/0/X001/000",
        "tile/0/x01/000",
        "tile/0/000/",
        "tile/0//000",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/٠٠١",
        "tile/0/+01",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x001/x000/x000/x000/x000/x000/000",
        "tile/entries",
    ],
)
def test_any_other_spelling_of_a_tile_path_is_refused(path: str) -> None:
    with pytest.raises(Refused) as caught:
        tiles.parse_tile_path(path)
    assert caught.value.reason is Reason.TILE_PATH


@given(
    st.text(max_size=40)
    | st.from_regex(r"\Atile/(entries|[0-9]{1,3})(/x?[0-9]{1,4}){1,8}(\.p/[0-9]{1,4})?\Z")
)
def test_fuzzed_tile_path_is_refused_or_formats_back(path: str) -> None:
    try:
        parsed = tiles.parse_tile_path(path)
    except Refused:
        return
    assert tiles.tile_path(*parsed) == path


@pytest.mark.parametrize(
    ("level", "n", "width"),
    [(-1, 0, 1), (64, 0, 1), (True, 0, 1), (0, -1, 1), (0, 1 << 55, 1), (0, 0, 0), (0, 0, 257)],
)
def test_tile_out_of_range_has_no_path(level: int, n: int, width: int) -> None:
    with pytest.raises(Refused):
        tiles.tile_path(level, n, width)


@given(st.integers(0, tiles.MAX_INDEX - 1))
def test_every_index_path_parses_back(index: int) -> None:
    assert tiles.parse_index_path(tiles.index_path(index)) == index


@pytest.mark.parametrize(
    "path",
    ["", "0", "0000", "x000", "x000/000", "001/000", "x001/x000", "000/", "/000", "000.p/1", "-01",
     "000\n", "X001/000", "x036/x028/x797/x018/x963/968", "entries"],
)  # fmt: skip
def test_any_other_spelling_of_an_index_path_is_refused(path: str) -> None:
    with pytest.raises(Refused) as caught:
        tiles.parse_index_path(path)
    assert caught.value.reason is Reason.TILE_PATH


@given(st.text(max_size=30) | st.from_regex(r"\A(x?[0-9]{3}/?){1,8}\Z"))
def test_fuzzed_index_path_is_refused_or_formats_back(path: str) -> None:
    try:
        index = tiles.parse_index_path(path)
    except Refused:
        return
    assert tiles.index_path(index) == path


def grown(batches: list[int]) -> dict[tuple[int, int], bytes]:
    """All tiles after appending in batches, handing over only the partial tiles each time."""
    stored: dict[tuple[int, int], bytes] = {}
    size = 0
    for batch in batches:
        partial = {(level, n): stored[level, n] for level, n, _ in tiles.partial_tiles(size)}
        stored |= tiles.grow(partial, size, LEAVES[size : size + batch])
        size += batch
    return stored


@given(st.lists(st.integers(0, 300), max_size=6))
def test_growing_in_any_batches_equals_growing_at_once(batches: list[int]) -> None:
    assert grown(batches) == grown([sum(batches)])


def test_tiles_of_three_levels_hold_the_nodes_that_the_standard_says() -> None:
    size = len(LEAVES)
    stored = grown([255, 1, 65_279, 1, size - 65_536])
    expected = {
        (level, n): (full > n) * 256 or partial
        for level, full, partial in tiles.tiles_for_size(size)
        for n in range(full + (partial > 0))
    }
    assert {key: len(data) // 32 for key, data in stored.items()} == expected
    assert stored[0, 257] == b"".join(LEAVES[257 * 256 : size])
    row = [merkle.root_from_leaves(LEAVES[n * 256 : (n + 1) * 256]) for n in range(size // 256)]
    assert stored[1, 0] + stored[1, 1] == b"".join(row)
    assert stored[2, 0] == merkle.root_from_leaves(row[:256])


def test_growing_by_nothing_changes_no_tile() -> None:
    assert tiles.grow({(0, 0): bytes(32)}, 1, []) == {}


@pytest.mark.parametrize("before", [b"", bytes(32), bytes(63), bytes(96)])
def test_partial_tile_that_does_not_fit_the_size_is_an_integrity_error(before: bytes) -> None:
    with pytest.raises(IntegrityError):
        tiles.grow({(0, 0): before}, 2, [bytes(32)])


def test_missing_partial_tile_of_a_higher_level_is_an_integrity_error() -> None:
    last = grown([511])
    del last[1, 0]
    with pytest.raises(IntegrityError):
        tiles.grow(last, 511, [bytes(32)])


@pytest.mark.parametrize("start", [-1, merkle.MAX_SIZE - 1, merkle.MAX_SIZE])
def test_growing_outside_the_sizes_is_refused(start: int) -> None:
    with pytest.raises(Refused):
        tiles.grow({}, start, [bytes(32)])


def test_growing_by_a_leaf_hash_of_wrong_length_is_refused() -> None:
    with pytest.raises(Refused):
        tiles.grow({}, 0, [bytes(32), bytes(31)])


STORED = grown([700])


def get_tile(tile: Tile) -> bytes:
    return STORED[tile.level, tile.n]


@given(st.integers(1, 700), st.data())
def test_every_node_of_a_tree_comes_out_of_its_tiles(size: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    expected = merkle.root_from_leaves(LEAVES[index << level : (index + 1) << level])
    assert tiles.node_hash_from_tiles(get_tile, level, index, size) == expected


def test_each_tile_is_asked_for_once_and_with_its_width_at_the_size() -> None:
    asked: list[Tile] = []

    def get_tiles(wanted: Sequence[Tile]) -> list[bytes]:
        asked.extend(wanted)
        return [get_tile(tile)[: tile.width * 32] for tile in wanted]

    nodes = tiles.tile_nodes(get_tiles, 600)
    nodes([(0, 512), (3, 64), (0, 599), (8, 0), (8, 1), (9, 0)])
    assert asked == [Tile(0, 2, 88), Tile(1, 0, 2)]


@pytest.mark.parametrize(
    ("level", "index", "size"),
    [(0, 600, 600), (3, 75, 600), (10, 0, 600), (-1, 0, 600), (0, -1, 5)],
)
def test_node_that_the_tree_does_not_have_is_refused(level: int, index: int, size: int) -> None:
    with pytest.raises(Refused):
        tiles.node_hash_from_tiles(get_tile, level, index, size)


@pytest.mark.parametrize("data", [b"", bytes(31 * 32), bytes(32 * 32 + 1), bytes(257 * 32)])
def test_tile_of_wrong_length_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        tiles.node_hash_from_tiles(lambda _: data, 0, 0, 32)


def test_getter_that_leaves_a_tile_out_is_refused() -> None:
    with pytest.raises(Refused):
        tiles.tile_nodes(lambda _: [], 5)([(0, 0)])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_entry_bundle_decodes_back(entries: list[bytes]) -> None:
    data = tiles.entry_bundle_encode(entries)
    assert tiles.entry_bundle_decode(data) == entries
    assert tiles.entry_bundle_decode(data, len(entries)) == entries


def test_entry_bundle_limits() -> None:
    longest = bytes(tiles.MAX_ENTRY_SIZE)
    assert tiles.entry_bundle_decode(tiles.entry_bundle_encode([longest])) == [longest]
    for entries in ([], [b""] * 257, [longest + b"\x00"]):
        with pytest.raises(Refused):
            tiles.entry_bundle_encode(entries)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x00\x01", b"\x00\x02a", b"\x00\x01a\x00", b"\x00\x00" * 257],
    ids=["empty", "half a length", "no entry", "cut entry", "cut length", "257 entries"],
)
def test_entry_bundle_that_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        tiles.entry_bundle_decode(data)
    assert caught.value.reason is Reason.PROOF_INVALID


@pytest.mark.parametrize("width", [0, 1, 3, 256])
def test_entry_bundle_with_another_count_is_refused(width: int) -> None:
    with pytest.raises(Refused):
        tiles.entry_bundle_decode(b"\x00\x01a\x00\x00", width)


@given(st.binary(max_size=80))
def test_fuzzed_entry_bundle_is_refused_or_encodes_back(data: bytes) -> None:
    try:
        entries = tiles.entry_bundle_decode(data)
    except Refused:
        return
    assert tiles.entry_bundle_encode(entries) == data
