"""A ledger whose witness has a key of each algorithm: asked, kept, served, judged, and lacking."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cosigning import Cosigning, WitnessAddress, clients_of
from api.listening import Listener
from api.witness import create_witness_app
from ledger.errors import ConfigurationError
from ledger.log import cosignature
from ledger.log.chain import leaf_hash
from ledger.log.cosignature import Cosigner, parse_vkey
from ledger.log.note import MAX_SIGNATURES, parse_note
from ledger.log.proof_file import ProofFile, verify_proof_file
from ledger.log.quorum import evaluate
from ledger.log.trust import TrustPolicy
from ledger.service.check import check_ledger
from ledger.service.clock import SystemClock
from ledger.service.witness import Witness, WitnessSettings
from ledger.service.witness_keys import WitnessAlgorithm, make_witness_keys
from tests.log.keys import TestKey
from tests.service.harness import Stage, founded

NAME = "witness.example/w1"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path)
    stage.node.publish()
    yield stage
    stage.node.close()


def test_both_cosignatures_are_kept_and_either_makes_a_quorum(stage: Stage, tmp_path: Path) -> None:
    vkey = stage.node.status().vkey
    assert vkey is not None
    keys = make_witness_keys(tmp_path / "w.key", list(WitnessAlgorithm))
    cosigners = [Cosigner(NAME, key) for key in keys.values()]
    origin = parse_vkey(vkey).name
    settings = WitnessSettings(
        str(tmp_path / "w.db"), cosigners, {origin: [parse_vkey(vkey)]}, SystemClock()
    )
    witness = Witness.open(settings)
    listener = Listener(create_witness_app(witness))
    serving = threading.Thread(target=listener.run)
    serving.start()
    named = [WitnessAddress.parse(f"{text}@{listener.url}") for text in witness.vkeys]
    clients = clients_of(named)
    assert len(clients) == 1
    told: list[BaseException] = []
    asking = Cosigning(stage.node, clients, told.append)
    try:
        asking.start(20)
        assert lines(stage) == [origin, NAME, NAME]
        stage.take(stage.token(stage.chips[0]))
        stage.node.publish()
        deadline = time.monotonic() + 20
        while len(lines(stage)) < 3:
            assert time.monotonic() < deadline
    finally:
        asking.stop()
        listener.stop()
        serving.join()
        witness.close()
    assert told == []
    proof = ProofFile.decode(stage.node.proof(0))
    for text in witness.vkeys:
        policy = TrustPolicy.parse(f"log {vkey}\nwitness w {text}\nquorum w\n".encode())
        found = verify_proof_file(proof, leaf_hash(proof.extra or b""), policy)
        assert [voucher.vkey.encode() for voucher in found.vouchers] == [text]
        assert found.age_s(int(time.time())) is not None
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def lines(stage: Stage) -> list[str]:
    note = stage.node.checkpoint()
    assert note is not None
    return [line.name for line in parse_note(note).signatures]


def test_where_ml_dsa_is_lacking_its_keys_are_refused_by_name_and_others_work(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = make_witness_keys(tmp_path / "w.key", list(WitnessAlgorithm))
    ed, ml = (Cosigner(NAME, key).vkey.encode() for key in keys.values())

    def lacking() -> object:
        raise ConfigurationError("ML-DSA-44 needs a newer release of cryptography")

    monkeypatch.setattr(cosignature, "_mldsa", lacking)
    assert WitnessAddress.parse(f"{ed}@http://127.0.0.1:1").vkey.encode() == ed
    with pytest.raises(ConfigurationError, match="ML-DSA-44"):
        WitnessAddress.parse(f"{ml}@http://127.0.0.1:1")
    note, vkey = stage.node.checkpoint(), stage.node.status().vkey
    assert note is not None
    with pytest.raises(ConfigurationError, match="ML-DSA-44"):
        evaluate(TrustPolicy.parse(f"log {vkey}\nwitness w {ml}\nquorum w\n".encode()), note)
    trusted = TrustPolicy.parse(f"log {vkey}\nwitness w {ed}\nquorum none\n".encode())
    assert evaluate(trusted, note).quorum_met


def test_more_witnesses_than_a_note_has_room_for_are_no_fault_of_the_ledger(stage: Stage) -> None:
    cosigners = [Cosigner(f"witness.example/{n}", TestKey(n)) for n in range(MAX_SIGNATURES)]
    named = [WitnessAddress(cosigner.vkey, "http://127.0.0.1:1") for cosigner in cosigners]
    with pytest.raises(ConfigurationError, match="room for 63"):
        clients_of(named)
    for client in clients_of(named[:-1]):
        client.close()
    published = stage.node.published()
    assert published is not None
    text = parse_note(published.note).text
    kept = {c.vkey.encode(): c.cosign(text, 1_700_000_000).signature for c in cosigners}
    stage.node.keep_cosignatures(published.size, kept)
    assert len(lines(stage)) == MAX_SIGNATURES
    assert stage.node.proof(0)
