"""Another implementation of C2SP logs against ours, over real sockets and in both directions.

It reads the service as it is: checkpoint, cosignatures, tiles, entry bundles, proofs. And our
client, proofs, policies and witness take what it makes.
"""

import argparse
import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.client import Client, ClientError
from ledger.log import merkle, proofs, tiles
from ledger.log.checkpoint import open_checkpoint
from ledger.log.cosignature import add_signatures, parse_vkey
from ledger.log.note import NoteSigner, NoteVerifier, parse_note
from ledger.log.proof_file import ProofFile, verify_proof_file
from ledger.log.quorum import evaluate
from ledger.log.tiles import ENTRIES, Tile
from ledger.log.trust import TrustPolicy
from ledger.log.witness import AddCheckpoint
from ledger.service.clock import SystemClock
from ledger.service.witness import Witness, WitnessSettings
from tests.api.logged import Logged, logged
from tests.log.keys import TestKey
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER

WHY = "the package tlog-scales is not installed"
backend = pytest.importorskip("tlog_scales.backend", reason=WHY)
peer_cli = pytest.importorskip("tlog_scales.cli", reason=WHY)
reader = pytest.importorskip("tlog_scales.reader", reason=WHY)
signing = pytest.importorskip("tlog_scales.signing", reason=WHY)
peer_tlog = pytest.importorskip("tlog_scales.tlog", reason=WHY)
writer = pytest.importorskip("tlog_scales.writer", reason=WHY)

COSIGNERS = (ED_COSIGNER, ML_COSIGNER)


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """The peer's HTTP library would ask a proxy of the environment for 127.0.0.1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


# -- it reads ours ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with logged(tmp_path_factory.mktemp("log")) as log:
        log.cosign(*COSIGNERS)
        yield log


@pytest.fixture(scope="module")
def vkey(log: Logged) -> str:
    return str(log.get("/v1/ledger").json()["vkey"])


@pytest.fixture
def theirs(log: Logged) -> Iterator[Any]:
    """The peer's reader of our service."""
    http = backend.HttpBackend(f"{log.url}/log")
    yield reader.TilesReader(http)
    http.session.close()


def policy(vkey: str, *witnesses: str) -> TrustPolicy:
    """One that wants every one of these witnesses."""
    named = [f"witness w{n} {text}\n" for n, text in enumerate(witnesses)]
    names = " ".join(f"w{n}" for n in range(len(witnesses)))
    text = f"log {vkey}\n{''.join(named)}group all all {names}\nquorum all\n"
    return TrustPolicy.parse(text.encode())


def test_peer_verifies_the_checkpoint_and_every_cosignature(
    log: Logged, vkey: str, theirs: Any
) -> None:
    checkpoint = theirs.get_checkpoint()
    assert (checkpoint.origin, checkpoint.size) == (log.newest.origin, log.newest.size)
    texts = {vkey, *(cosigner.vkey.encode() for cosigner in COSIGNERS)}
    keys = signing.VkeySet(*map(signing.Vkey.from_string, texts))
    verified = keys.verify(checkpoint.signatures, checkpoint)
    assert {key.serialize() for key, _ in verified} == texts


def test_peer_reads_compressed_entries_and_tiles_and_finds_the_root(
    log: Logged, theirs: Any
) -> None:
    codings = []
    theirs.backend.session.hooks["response"] = lambda answer, **_: codings.append(
        answer.headers.get("Content-Encoding")
    )
    checkpoint = theirs.get_checkpoint()
    assert theirs.calculate_root_hash() == checkpoint.root_hash == log.newest.root
    codings.clear()
    for index in (0, 255, 256, checkpoint.size - 1):
        entry = theirs.get_entry(index)
        theirs.get_inclusion_proof(index, checkpoint.size).check(
            merkle.leaf_hash(entry), checkpoint.root_hash
        )
    assert "gzip" in codings


def test_peer_proves_that_every_checkpoint_extends_those_before(log: Logged, theirs: Any) -> None:
    newest = theirs.get_checkpoint()
    for old in log.checkpoints[:-1]:
        proof = theirs.get_consistency_proof(old.size, newest.size)
        proof.check(old.root, newest.root_hash)
        wrong = [*proof.node_hashes[:-1], bytes(32)]
        with pytest.raises(peer_tlog.ConsistencyProofInvalid):
            peer_tlog.ConsistencyProof(old.size, newest.size, wrong).check(
                old.root, newest.root_hash
            )


def test_peer_reads_every_earlier_size(log: Logged, theirs: Any) -> None:
    """Its partial tiles are there, also where the full ones are by now."""
    for old in log.checkpoints:
        fresh = reader.TilesReader(theirs.backend)
        fresh.set_size(old.size)
        assert fresh.calculate_root_hash() == old.root


def test_proof_file_that_the_peer_makes_of_our_log_is_the_one_that_we_serve(
    log: Logged, vkey: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = policy(vkey, *(cosigner.vkey.encode() for cosigner in COSIGNERS))
    for index in (0, 200, log.newest.size - 1):
        peer_cli.cmd_gen_proof(argparse.Namespace(location=f"{log.url}/log", leaf_index=index))
        made = capsys.readouterr().out.encode()
        ours = ProofFile.decode(log.get(f"/log/proof/{index}").content)
        assert ProofFile.decode(made) == ProofFile(ours.index, ours.path, ours.checkpoint)
        leaf = merkle.leaf_hash(ours.extra or b"")
        assert verify_proof_file(ProofFile.decode(made), leaf, trusted).quorum_met


def test_peer_accepts_the_proof_that_we_serve(log: Logged, vkey: str) -> None:
    proof = ProofFile.decode(log.get("/log/proof/77").content)
    checkpoint = peer_tlog.Checkpoint.from_text(proof.checkpoint.decode())
    checkpoint.verify(signing.Vkey.from_string(vkey))
    claim = peer_tlog.InclusionProof(proof.index, checkpoint.size, list(proof.path))
    claim.check(merkle.leaf_hash(proof.extra or b""), checkpoint.root_hash)
    with pytest.raises(peer_tlog.InclusionProofInvalid):
        claim.check(bytes(32), checkpoint.root_hash)


# -- we read its ------------------------------------------------------------------------------

ORIGIN = "peer.example/log"
KEY = TestKey(40)
SIZES = (100, 256, 300, 600)
ENTRY_BYTES = [b"entry %d of the peer" % number for number in range(SIZES[-1])]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRY_BYTES]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Static files, as a log of this kind may be."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def static(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def peer_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that the peer writes, beneath the prefix ``/log``; its own ML-DSA-44 key cosigns."""
    folder = tmp_path_factory.mktemp("peer")
    log = writer.TilesWriter.create(folder / "log", ORIGIN)
    begin = 0
    for size in SIZES:
        for entry in ENTRY_BYTES[begin:size]:
            log.add_leaf(entry)
        log.commit([signing.PlainEd25519Signer(ORIGIN, KEY.seed), cosigner()], gc=True)
        (folder / f"checkpoint.{size}").write_bytes((folder / "log" / "checkpoint").read_bytes())
        begin = size
    return folder


def cosigner() -> Any:
    return signing.MLDSA44CosignatureSigner("peer.example/witness", bytes([41]) * 32)


def read_tile(client: Client, tile: Tile) -> bytes:
    """Partial where it is there, else the full one, as clients of C2SP logs do."""
    try:
        return client.tile(tiles.tile_path(*tile).removeprefix("tile/"))
    except ClientError as error:
        if error.status != 404:
            raise
        full = tiles.tile_path(tile.level, tile.n).removeprefix("tile/")
        return client.tile(full)[: 32 * tile.width]


def test_our_client_reads_the_peers_log_at_every_size_that_it_published(peer_log: Path) -> None:
    verifier = NoteVerifier(NoteSigner(ORIGIN, KEY).vkey)
    with static(peer_log) as url, Client(url) as client:
        newest, _ = open_checkpoint(client.checkpoint(), ORIGIN, [verifier])
        assert newest.size == SIZES[-1]
        nodes = tiles.tile_nodes(
            tiles.one_by_one(functools.partial(read_tile, client)), newest.size
        )
        assert proofs.tree_root(nodes, newest.size) == newest.root
        for size in SIZES:
            note = (peer_log / f"checkpoint.{size}").read_bytes()
            old, _ = open_checkpoint(note, ORIGIN, [verifier])
            # Of the earlier sizes the peer has thrown partial tiles away.
            earlier = tiles.tile_nodes(tiles.one_by_one(functools.partial(read_tile, client)), size)
            assert proofs.tree_root(earlier, size) == old.root
            proof = proofs.consistency_proof(nodes, size, newest.size)
            proofs.verify_consistency(size, newest.size, old.root, newest.root, proof)
        with pytest.raises(ClientError):
            client.tile("0/000.p/100")
        for n, width in ((0, 256), (1, 256), (2, 88)):
            path = tiles.tile_path(ENTRIES, n, width).removeprefix("tile/")
            found = tiles.entry_bundle_decode(client.tile(path), width)
            assert found == ENTRY_BYTES[n * 256 : n * 256 + width]


def test_our_policy_judges_the_peers_cosignature(peer_log: Path) -> None:
    note = (peer_log / "log" / "checkpoint").read_bytes()
    log_vkey = NoteSigner(ORIGIN, KEY).vkey.encode()
    found = evaluate(policy(log_vkey, cosigner().vkey.serialize()), note)
    assert found.quorum_met
    (voucher,) = found.vouchers
    assert voucher.vkey == parse_vkey(cosigner().vkey.serialize())


def test_our_verifier_accepts_the_peers_proof_file(
    peer_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = policy(NoteSigner(ORIGIN, KEY).vkey.encode(), cosigner().vkey.serialize())
    for index in (0, 255, 256, 599):
        location = str(peer_log / "log")
        peer_cli.cmd_gen_proof(argparse.Namespace(location=location, leaf_index=index))
        proof = ProofFile.decode(capsys.readouterr().out.encode())
        assert verify_proof_file(proof, HASHES[index], trusted).checkpoint.size == 600


def test_our_witness_follows_the_peers_log_and_the_peer_verifies_it(
    peer_log: Path, tmp_path: Path
) -> None:
    log_vkey = NoteSigner(ORIGIN, KEY).vkey
    settings = WitnessSettings(
        str(tmp_path / "w.db"), list(COSIGNERS), {ORIGIN: [log_vkey]}, SystemClock()
    )
    witness = Witness.open(settings)
    theirs = reader.TilesReader(backend.LocalBackend(peer_log / "log"))
    theirs.get_checkpoint()
    old = 0
    for size in SIZES:
        note = (peer_log / f"checkpoint.{size}").read_bytes()
        proof = theirs.get_consistency_proof(old, size).node_hashes if old else []
        lines = witness.add_checkpoint(AddCheckpoint(old, tuple(proof), note).encode())
        assert isinstance(lines, bytes), lines
        added = parse_note(parse_note(note).text + b"\n" + lines).signatures
        whole = add_signatures(note, added).decode()
        checkpoint = peer_tlog.Checkpoint.from_text(whole)
        assert len(checkpoint.signatures) == 4
        for ours in COSIGNERS:
            checkpoint.verify(signing.Vkey.from_string(ours.vkey.encode()))
        old = size
    witness.close()
