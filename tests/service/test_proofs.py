"""Proofs and the heads map, read beside a second node that publishes; on both engines."""

from hashlib import sha256

import pytest

from ledger.errors import Refused
from ledger.log.cosignature import parse_vkey
from ledger.log.entry_proof import verify_entry
from ledger.log.headsmap import decode_bucket, verify_subject
from ledger.log.merkle import split_hashes
from ledger.log.proof_file import ProofFile
from ledger.log.proofs import inclusion_proof
from ledger.log.tiles import GetTiles, entry_bundle_decode, one_by_one, tile_nodes, tile_path
from ledger.log.trust import TrustedLog, TrustPolicy
from ledger.protocol import statements as st
from ledger.service.node import Node
from ledger.values import SubjectKind, subject_key
from tests.service.harness import found

Nodes = tuple[Node, Node]


def policy(node: Node) -> TrustPolicy:
    return TrustPolicy((TrustedLog(parse_vkey(str(node.status().vkey))),), (), (), None)


def map_tiles(node: Node, size: int) -> GetTiles:
    return one_by_one(lambda tile: node.heads(f"{size}/{tile_path(*tile)}"))


def test_other_node_proves_and_shows_what_this_one_published(two_nodes: Nodes) -> None:
    one, other = two_nodes
    stage = found(one, chips=2)
    for _ in range(2):
        stage.take(*map(stage.token, stage.chips))
        one.publish()
        size = other.status().published_size
        proven = verify_entry(ProofFile.decode(other.proof(size - 1)), policy(other))
        token = other.heads(f"{size}/index-root")
        assert proven.leaf.statement_digest == sha256(token).digest()
        body = st.decode(token).body
        chip = stage.chips[1].ueid
        key = subject_key(SubjectKind.CHIP, chip)
        number = key[0]
        assert body.bucket_bits == 8
        bucket = other.heads(f"{size}/bucket/{number:03d}")
        nodes = tile_nodes(map_tiles(other, size), 256)
        path = inclusion_proof(nodes, number, 256)
        row = verify_subject(body.root, 8, key, bucket, path)
        assert row is not None
        assert row in decode_bucket(bucket, number, 8)
        assert row.count == other.passport(chip)["entries"]
        assert split_hashes(other.heads(f"{size}/tile/1/000.p/1")) == (body.root,)
        newest = other.history(chip, row.count - 2, 10).items[-1]
        assert bytes.fromhex(newest["leaf_hash"]) == row.head


def test_what_was_read_under_one_size_is_not_mixed_with_another(two_nodes: Nodes) -> None:
    one, other = two_nodes
    stage = found(one)
    one.publish()
    size = other.status().published_size
    assert other.heads(f"{size}/tile/0/000")
    stage.take(stage.token(stage.chips[0]))
    assert other.heads(f"{size}/tile/0/000")  # an entry alone changes nothing
    one.publish()
    with pytest.raises(Refused):
        other.heads(f"{size}/tile/0/000")
    assert other.heads(f"{other.status().published_size}/tile/0/000")


def test_every_entry_has_a_proof_and_every_proof_its_entry(two_nodes: Nodes) -> None:
    one, other = two_nodes
    found(one, chips=3)
    one.publish()
    size, trusted = other.status().published_size, policy(other)
    entries = entry_bundle_decode(other.tile(f"entries/000.p/{size}"), size)
    for index, entry in enumerate(entries):
        proven = verify_entry(ProofFile.decode(other.proof(index)), trusted)
        assert (proven.index, proven.leaf.encode()) == (index, entry)
    with pytest.raises(Refused):
        other.proof(size)
