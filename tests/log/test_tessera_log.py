"""A real log of 15 entries made by other software: checkpoints, tiles, bundles, proofs."""

from pathlib import Path

import pytest

from ledger.errors import Reason, Refused
from ledger.log import merkle, proofs, tiles
from ledger.log.checkpoint import Checkpoint, open_checkpoint
from ledger.log.note import NoteVerifier
from ledger.log.tiles import ENTRIES, Tile
from tests.vectors import vectors_dir

FOLDER = vectors_dir() / "tessera-testdata-log"
LOG = FOLDER / "log"
ORIGIN = "example.com/log/testdata"
SIZES = range(16)
VERIFIER = NoteVerifier((FOLDER / "vkey.txt").read_text().strip())


def checkpoint(size: int) -> Checkpoint:
    opened, _ = open_checkpoint(LOG.joinpath(f"checkpoint.{size}").read_bytes(), ORIGIN, [VERIFIER])
    return opened


def entries(size: int) -> list[bytes]:
    if size == 0:
        return []
    path: Path = LOG / tiles.tile_path(ENTRIES, 0, size)
    return tiles.entry_bundle_decode(path.read_bytes(), size)


def get_tile(tile: Tile) -> bytes:
    return LOG.joinpath(tiles.tile_path(*tile)).read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_checkpoint_verifies_and_its_root_comes_out_of_bundle_and_tile(size: int) -> None:
    signed = checkpoint(size)
    assert signed.size == size
    hashes = [merkle.leaf_hash(entry) for entry in entries(size)]
    assert merkle.root_from_leaves(hashes) == signed.root
    assert merkle.CompactRange().extend(hashes).root() == signed.root
    nodes = tiles.tile_nodes(tiles.one_by_one(get_tile), size)
    assert proofs.tree_root(nodes, size) == signed.root


@pytest.mark.parametrize("size", SIZES[1:])
def test_tiles_and_bundles_are_the_bytes_that_we_make(size: int) -> None:
    hashes = [merkle.leaf_hash(entry) for entry in entries(size)]
    assert tiles.grow({}, 0, hashes) == {(0, 0): get_tile(Tile(0, 0, size))}
    bundle = LOG.joinpath(tiles.tile_path(ENTRIES, 0, size)).read_bytes()
    assert tiles.entry_bundle_encode(entries(size)) == bundle


def test_every_pair_of_checkpoints_is_consistent_and_every_entry_included() -> None:
    for size2 in SIZES[1:]:
        nodes = tiles.tile_nodes(tiles.one_by_one(get_tile), size2)
        root2 = checkpoint(size2).root
        for size1 in range(size2 + 1):
            proof = proofs.consistency_proof(nodes, size1, size2)
            proofs.verify_consistency(size1, size2, checkpoint(size1).root, root2, proof)
        for index, entry in enumerate(entries(size2)):
            proof = proofs.inclusion_proof(nodes, index, size2)
            proofs.verify_inclusion(merkle.leaf_hash(entry), index, size2, proof, root2)


def test_checkpoint_with_one_changed_digit_is_refused() -> None:
    data = LOG.joinpath("checkpoint.15").read_bytes()
    with pytest.raises(Refused) as caught:
        open_checkpoint(data.replace(b"\n15\n", b"\n14\n"), ORIGIN, [VERIFIER])
    assert caught.value.reason is Reason.SIGNATURE_INVALID
