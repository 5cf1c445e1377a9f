"""Another implementation of C2SP logs reads what we write, and we read what it writes."""

from pathlib import Path

import pytest

from ledger.log import merkle, proofs, tiles
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.note import NoteSigner, NoteVerifier
from ledger.log.tiles import ENTRIES, Tile
from tests.log.keys import TestKey

WHY = "the package tlog-scales is not installed"
reader = pytest.importorskip("tlog_scales.reader", reason=WHY)
backend = pytest.importorskip("tlog_scales.backend", reason=WHY)
signing = pytest.importorskip("tlog_scales.signing", reason=WHY)
tlog = pytest.importorskip("tlog_scales.tlog", reason=WHY)
writer = pytest.importorskip("tlog_scales.writer", reason=WHY)

ORIGIN = "ledger.example/log"
SIZE = 600
ENTRY_BYTES = [b"entry %d" % number for number in range(SIZE)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRY_BYTES]
KEY = TestKey(7)
SIGNER = NoteSigner(ORIGIN, KEY)
VERIFIER = NoteVerifier(SIGNER.vkey)
PAIRS = [(1, 2), (1, 600), (255, 256), (256, 600), (257, 599), (511, 512), (599, 600)]


def our_log(folder: Path) -> Path:
    """Our log of SIZE entries as a directory of static files."""
    for (level, n), data in tiles.grow({}, 0, HASHES).items():
        _write(folder / tiles.tile_path(level, n, len(data) // 32), data)
    for n, begin in enumerate(range(0, SIZE, 256)):
        bundle = ENTRY_BYTES[begin : begin + 256]
        path = folder / tiles.tile_path(ENTRIES, n, len(bundle))
        _write(path, tiles.entry_bundle_encode(bundle))
    checkpoint = Checkpoint(ORIGIN, SIZE, merkle.root_from_leaves(HASHES))
    _write(folder / "checkpoint", sign_checkpoint(checkpoint, [SIGNER]))
    return folder


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_peer_verifies_our_checkpoint_and_reads_our_tiles_and_entries(tmp_path: Path) -> None:
    peer = reader.TilesReader(backend.LocalBackend(our_log(tmp_path)))
    checkpoint = peer.get_checkpoint()
    checkpoint.verify(signing.Vkey.from_string(SIGNER.vkey.encode()))
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, SIZE)
    assert peer.calculate_root_hash() == checkpoint.root_hash
    assert [peer.get_entry(index) for index in (0, 255, 256, 599)] == [
        ENTRY_BYTES[index] for index in (0, 255, 256, 599)
    ]


def test_peer_accepts_our_proofs() -> None:
    nodes = merkle.leaf_nodes(HASHES)
    for size1, size2 in PAIRS:
        root1 = merkle.root_from_leaves(HASHES[:size1])
        root2 = merkle.root_from_leaves(HASHES[:size2])
        consistency = proofs.consistency_proof(nodes, size1, size2)
        tlog.ConsistencyProof(size1, size2, consistency).check(root1, root2)
        inclusion = proofs.inclusion_proof(nodes, size1, size2)
        tlog.InclusionProof(size1, size2, inclusion).check(HASHES[size1], root2)


def test_we_accept_the_proofs_that_the_peer_makes_from_our_tiles(tmp_path: Path) -> None:
    peer = reader.TilesReader(backend.LocalBackend(our_log(tmp_path)))
    peer.get_checkpoint()
    for size1, size2 in PAIRS:
        root1 = merkle.root_from_leaves(HASHES[:size1])
        root2 = merkle.root_from_leaves(HASHES[:size2])
        consistency = peer.get_consistency_proof(size1, size2).node_hashes
        proofs.verify_consistency(size1, size2, root1, root2, consistency)
        inclusion = peer.get_inclusion_proof(size1, size2).node_hashes
        proofs.verify_inclusion(HASHES[size1], size1, size2, inclusion, root2)


def test_log_that_the_peer_writes_in_batches_has_our_bytes_and_opens_here(tmp_path: Path) -> None:
    theirs = writer.TilesWriter.create(tmp_path / "theirs", ORIGIN)
    for begin, end in ((0, 100), (100, 256), (256, SIZE)):
        for entry in ENTRY_BYTES[begin:end]:
            theirs.add_leaf(entry)
        theirs.commit([signing.PlainEd25519Signer(ORIGIN, KEY.seed)], gc=True)
    ours = our_log(tmp_path / "ours")
    data = (tmp_path / "theirs" / "checkpoint").read_bytes()
    checkpoint, _ = open_checkpoint(data, ORIGIN, [VERIFIER])
    assert checkpoint.size == SIZE
    assert data == (ours / "checkpoint").read_bytes()
    for path in (path for path in ours.rglob("*") if path.is_file()):
        assert (tmp_path / "theirs" / path.relative_to(ours)).read_bytes() == path.read_bytes()

    def get_tile(tile: Tile) -> bytes:
        return (tmp_path / "theirs" / tiles.tile_path(*tile)).read_bytes()

    nodes = tiles.tile_nodes(tiles.one_by_one(get_tile), SIZE)
    assert proofs.tree_root(nodes, SIZE) == checkpoint.root
