"""What strangers check: an entry's proof file, and the heads map, as served over a real socket.

The map is checked here as docs/ledger.md says, by code that shares nothing with the map's own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st_

from api.client import Client, RequestRefused
from ledger.errors import IntegrityError, Reason, Refused
from ledger.log import chain, tiles
from ledger.log.cosignature import parse_vkey
from ledger.log.proof_file import ProofFile, verify_proof_file
from ledger.log.trust import TrustedLog, TrustedWitness, TrustPolicy
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.values import SubjectKind, subject_key
from tests.api.harness import assert_problem
from tests.api.logged import Logged, logged
from tests.log import oracle
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER
from tests.service.harness import founded

YEAR = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with logged(tmp_path_factory.mktemp("log")) as log:
        log.cosign(ED_COSIGNER, ML_COSIGNER)
        yield log


@pytest.fixture(scope="module")
def client(log: Logged) -> Iterator[Client]:
    with Client(log.url) as client:
        yield client


@pytest.fixture(scope="module")
def policy(client: Client) -> TrustPolicy:
    witnesses = [TrustedWitness(c.vkey.name, c.vkey) for c in (ED_COSIGNER, ML_COSIGNER)]
    text = TrustPolicy(
        (TrustedLog(parse_vkey(client.ledger()["vkey"])),), tuple(witnesses), (), None
    ).encode()
    all_of_them = f"group all all {' '.join(w.name for w in witnesses)}\nquorum all\n"
    return TrustPolicy.parse(text.replace(b"quorum none\n", all_of_them.encode()))


# -- proofs -----------------------------------------------------------------------------------


def test_every_entry_is_proved_with_all_cosignatures(
    log: Logged, client: Client, policy: TrustPolicy
):
    entries = tiles.entry_bundle_decode(client.tile("entries/000"))
    for index in (0, 1, 100, 255):
        proof = ProofFile.decode(client.proof(index))
        assert (proof.index, proof.extra) == (index, entries[index])
        found = verify_proof_file(proof, chain.leaf_hash(entries[index]), policy)
        assert found.checkpoint == log.newest
        assert [voucher.vkey for voucher in found.vouchers] == [ED_COSIGNER.vkey, ML_COSIGNER.vkey]
    last = ProofFile.decode(client.proof(log.newest.size - 1))
    assert chain.decode_leaf(last.extra or b"").kind == Kind.INDEX_ROOT


def test_proof_is_text_and_its_checkpoint_the_one_that_is_served(log: Logged):
    answer = log.get("/log/proof/7")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert answer.content.endswith(b"\n\n" + log.get("/log/checkpoint").content)
    tag = answer.headers["etag"]
    assert log.get("/log/proof/7", If_None_Match=tag).status_code == 304


def test_proof_of_one_entry_is_none_of_another(client: Client, policy: TrustPolicy):
    proof = ProofFile.decode(client.proof(7))
    other = ProofFile.decode(client.proof(8))
    for wrong, leaf in ((proof, other.extra), (other, proof.extra)):
        with pytest.raises(Refused):
            verify_proof_file(wrong, chain.leaf_hash(leaf or b""), policy)


def test_entry_that_no_checkpoint_covers_has_no_proof(log: Logged, client: Client):
    size = log.newest.size
    log.grow()
    for index in (size, size + 1, size + 100, 2**63, 10**18):
        assert_problem(log.get(f"/log/proof/{index}"), 404, "not-found")
        with pytest.raises(RequestRefused) as caught:
            client.proof(index)
        assert caught.value.reason == "not-found"
    log.publish()
    log.cosign(ED_COSIGNER, ML_COSIGNER)
    assert ProofFile.decode(client.proof(size)).index == size


@pytest.mark.parametrize("index", ["01", "-1", "+1", "1.0", "x", "%D9%A1", "1%0A", "9" * 30, " 1"])
def test_what_is_no_index_is_refused(log: Logged, index: str):
    answer = log.get(f"/log/proof/{index}")
    assert answer.json()["reason"] in ("parameter-invalid", "not-found")
    assert answer.status_code in (404, 422)


def test_before_the_first_checkpoint_nothing_is_proved(tmp_path: Path):
    stage = founded(tmp_path)
    for ask in (lambda: stage.node.proof(0), lambda: stage.node.heads("1/index-root")):
        with pytest.raises(Refused):
            ask()
    stage.node.close()


# -- the heads map ----------------------------------------------------------------------------


def index_root(log: Logged, policy: TrustPolicy) -> st.IndexRoot:
    """Steps 1 and 2 of the page."""
    size = log.newest.size
    token = log.get(f"/log/heads/{size}/index-root")
    assert token.headers["content-type"] == "application/cose"
    assert token.headers["cache-control"] == YEAR
    proof = ProofFile.decode(log.get(f"/log/proof/{size - 1}").content)
    leaf = chain.decode_leaf(proof.extra or b"")
    verify_proof_file(proof, chain.leaf_hash(proof.extra or b""), policy)
    assert (leaf.kind, leaf.statement_digest) == ("index-root", sha256(token.content).digest())
    body = st.decode(token.content).body
    assert isinstance(body, st.IndexRoot)
    return body


def part(log: Logged, path: str) -> bytes:
    answer = log.get(f"/log/heads/{log.newest.size}/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == YEAR
    return answer.content


def all_rows(log: Logged, bits: int) -> dict[bytes, tuple[int, bytes]]:
    """Every subject's count and head, out of every bucket."""
    found = {}
    for number in range(1 << bits):
        bucket = part(log, f"bucket/{number:03d}")
        for at in range(0, len(bucket), 72):
            row = bucket[at : at + 72]
            assert int.from_bytes(row[:32]) >> 256 - bits == number
            assert row[:32] not in found
            found[row[:32]] = (int.from_bytes(row[32:40]), row[40:])
    return found


def test_the_map_that_is_served_is_the_one_that_the_entries_lead_to(
    log: Logged, client: Client, policy: TrustPolicy
):
    body = index_root(log, policy)
    buckets = [part(log, f"bucket/{number:03d}") for number in range(1 << body.bucket_bits)]
    leaves = [sha256(b"\x00" + bucket).digest() for bucket in buckets]
    assert oracle.root(leaves) == body.root
    # The tiles of a map of 256 buckets: a full one, and the root above it.
    assert body.bucket_bits == 8
    assert part(log, "tile/0/000") == b"".join(leaves)
    assert part(log, "tile/1/000.p/1") == body.root
    heads: dict[bytes, tuple[int, bytes]] = {}
    full, width = divmod(log.newest.size, 256)
    paths = [*(f"entries/{n:03d}" for n in range(full)), f"entries/{full:03d}.p/{width}"]
    entries = [e for path in paths for e in tiles.entry_bundle_decode(client.tile(path))]
    for entry in entries[: body.size]:
        for link in chain.decode_leaf(entry).links:
            count, head = heads.get(link.subject, (0, bytes(32)))
            assert (link.seq, link.prev) == (count, head)
            heads[link.subject] = (count + 1, chain.leaf_hash(entry))
    assert all_rows(log, body.bucket_bits) == heads


def test_presence_and_absence_of_a_chip_without_a_bundle(log: Logged, policy: TrustPolicy):
    body = index_root(log, policy)
    tile = part(log, "tile/0/000")
    for ident, there in ((log.stage.chips[0].ueid, True), (b"\x01" + bytes(16), False)):
        key = subject_key(SubjectKind.CHIP, ident)
        number = key[0]
        bucket = part(log, f"bucket/{number:03d}")
        assert sha256(b"\x00" + bucket).digest() == tile[32 * number : 32 * number + 32]
        rows = [bucket[at : at + 72] for at in range(0, len(bucket), 72)]
        found = [int.from_bytes(row[32:40]) for row in rows if row[:32] == key]
        if there:
            assert found == [log.stage.node.passport(ident)["entries"]]
        else:
            assert found == []
    assert oracle.root([tile[at : at + 32] for at in range(0, len(tile), 32)]) == body.root


def test_under_a_size_that_is_not_the_newest_there_is_nothing(log: Logged):
    newest = log.newest.size
    paths = ("index-root", "bucket/000", "tile/0/000")
    for size in (log.checkpoints[0].size, newest - 1, newest + 1, 2**62):
        for path in paths:
            answer = log.get(f"/log/heads/{size}/{path}")
            assert_problem(answer, 404, "tile-unknown")
            assert answer.headers["cache-control"] == "no-store"
            assert str(newest) in answer.json()["detail"]
    log.grow()
    assert all(log.get(f"/log/heads/{newest}/{path}").status_code == 200 for path in paths)
    log.publish()
    log.cosign(ED_COSIGNER, ML_COSIGNER)
    assert all(log.get(f"/log/heads/{newest}/{path}").status_code == 404 for path in paths)
    assert all(log.get(f"/log/heads/{log.newest.size}/{path}").status_code == 200 for path in paths)


@pytest.mark.parametrize(
    "path",
    ["bucket/256", "bucket/x001/000", "tile/0/000.p/255", "tile/0/001", "tile/1/000",
     "tile/1/000.p/2", "tile/1/001.p/1", "tile/2/000.p/1", "tile/63/000"],
)  # fmt: skip
def test_what_a_map_of_256_buckets_does_not_have(log: Logged, path: str):
    assert_problem(log.get(f"/log/heads/{log.newest.size}/{path}"), 404, "tile-unknown")


@pytest.mark.parametrize(
    "path",
    ["", "index-root/", "Index-root", "index_root", "bucket", "bucket/", "bucket/0", "bucket/000/",
     "bucket/000.p/1", "bucket/x000/001", "bucket/-01", "buckets/000", "tile/entries/000",
     "tile/0/000.p/256", "tile/0", "0/000", "x"],
)  # fmt: skip
def test_what_is_no_path_into_a_map(log: Logged, path: str):
    answer = log.get(f"/log/heads/{log.newest.size}/{path}")
    assert_problem(answer, 400, "tile-path-malformed")


@pytest.mark.parametrize("size", ["0", "01", "-1", "x", "1e3", "9" * 20, ""])
def test_what_is_no_size_of_a_checkpoint(log: Logged, size: str):
    assert_problem(log.get(f"/log/heads/{size}/index-root"), 400, "tile-path-malformed")


PARTS = st_.sampled_from(["", "index-root", "bucket", "tile", "entries", "0", "1", "000", "x000"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st_.lists(PARTS | st_.text(max_size=6), max_size=6), st_.booleans())
def test_fuzzed_path_into_the_map_is_refused_or_there(log: Logged, parts: list[str], newest: bool):
    path = "/".join([str(log.newest.size), *parts] if newest else parts)
    try:
        found = log.stage.node.heads(path)
    except Refused as refusal:
        assert refusal.reason in (Reason.TILE_PATH, Reason.TILE_UNKNOWN)  # noqa: PT017
    else:
        assert newest
        assert isinstance(found, bytes)


def test_client_reads_the_map(log: Logged, client: Client):
    assert client.heads(f"{log.newest.size}/bucket/007") == part(log, "bucket/007")
    with pytest.raises(RequestRefused):
        client.heads("1/bucket/007")


# -- stored data that contradicts itself ------------------------------------------------------


DAMAGE = {
    "a hash of a log tile": ("UPDATE tiles SET data = zeroblob(length(data)) WHERE level = 0",),
    "a log tile that is gone": ("DELETE FROM tiles WHERE level = 0",),
    "an entry that is gone": ("DELETE FROM entries WHERE idx = 3",),
    "another leaf": ("UPDATE entries SET leaf = x'00' WHERE idx = 3",),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_no_proof_is_made_from_a_damaged_log(tmp_path: Path, name: str):
    stage = founded(tmp_path)
    stage.node.publish()
    assert ProofFile.decode(stage.node.proof(3)).index == 3
    damage(tmp_path, *DAMAGE[name])
    with pytest.raises(IntegrityError):
        stage.node.proof(3)
    stage.node.close()


MAP_DAMAGE = {
    "a bucket that is gone": "DELETE FROM map_buckets WHERE n = {n}",
    "a bucket with a row less": "UPDATE map_buckets SET data = x'' WHERE n = {n}",
    "a bucket cut in a row": "UPDATE map_buckets SET data = substr(data, 1, 71) WHERE n = {n}",
    "a tile that is gone": "DELETE FROM map_nodes WHERE level = 0",
    "a tile cut short": "UPDATE map_nodes SET data = substr(data, 1, 32) WHERE level = 0",
}


@pytest.mark.parametrize("name", MAP_DAMAGE)
def test_no_bucket_is_served_that_its_tile_does_not_name(tmp_path: Path, name: str):
    stage = founded(tmp_path)
    stage.node.publish()
    size = stage.node.status().published_size
    number = subject_key(SubjectKind.CHIP, stage.chips[0].ueid)[0]
    path = f"{size}/bucket/{number:03d}"
    assert len(stage.node.heads(path)) % 72 == 0
    damage(tmp_path, MAP_DAMAGE[name].format(n=number))
    with pytest.raises(IntegrityError):
        stage.node.heads(path)
    stage.node.close()


def test_no_index_root_is_served_but_the_one_of_its_leaf(tmp_path: Path):
    stage = founded(tmp_path)
    stage.node.publish()
    size = stage.node.status().published_size
    damage(tmp_path, f"UPDATE entries SET body = x'00' WHERE idx = {size - 1}")
    with pytest.raises(IntegrityError):
        stage.node.heads(f"{size}/index-root")
    stage.node.close()


def damage(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as database, database:
        for statement in statements:
            database.execute(statement)
