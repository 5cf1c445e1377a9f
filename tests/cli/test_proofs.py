"""``proof``, and ``verify`` of one: what is said when it holds and when it does not."""

from pathlib import Path

import pytest

from api.embedded import ServerThread
from ledger.log.chain import decode_leaf
from ledger.log.cosignature import Cosigner
from ledger.log.note import parse_note
from ledger.log.proof_file import ProofFile
from ledger.service.node import Node
from tests.cli.harness import Program
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER
from tests.service.harness import Stage, founded

COSIGNERS = (ED_COSIGNER, ML_COSIGNER)
LONG_AGO_S = 1_700_000_000


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A closed ledger whose newest checkpoint both witnesses have cosigned."""
    stage = founded(tmp_path)
    note = stage.node.publish()
    assert note is not None
    cosign(stage.node, note, *COSIGNERS)
    (tmp_path / "trust.policy").write_text(policy(str(stage.node.status().vkey)))
    return stage


def cosign(node: Node, note: bytes, *cosigners: Cosigner) -> None:
    text = parse_note(note).text
    lines = {c.vkey.encode(): c.cosign(text, LONG_AGO_S).signature for c in cosigners}
    node.keep_cosignatures(node.status().published_size, lines)


def policy(vkey: str) -> str:
    named = [f"witness {c.vkey.name} {c.vkey.encode()}\n" for c in COSIGNERS]
    names = " ".join(c.vkey.name for c in COSIGNERS)
    return f"log {vkey}\n{''.join(named)}group all all {names}\nquorum all\n"


@pytest.fixture
def made(program: Program, stage: Stage, tmp_path: Path) -> Path:
    """The proof of entry 5."""
    stage.node.close()
    path = tmp_path / "5.tlog-proof"
    done = program("proof", "5", "-o", path, "--database", tmp_path / "ledger.db")
    assert (done.code, done.out) == (0, ""), done.err
    assert "check it with: chip-passport verify" in done.err
    return path


def test_proof_is_verified_with_a_policy(program: Program, made: Path, tmp_path: Path) -> None:
    done = program("verify", made, "--trust", tmp_path / "trust.policy")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("VERIFIED: the entry is in the log, and vouched for\n")
    leaf = decode_leaf(ProofFile.decode(made.read_bytes()).extra or b"")
    for words in (
        "5 of the ",
        "test.example/ledger",
        leaf.kind,
        leaf.statement_digest.hex(),
        "witness.example/w1, witness.example/w2",
        "days by its cosignatures",
    ):
        assert words in done.out


def test_as_json_everything_that_was_established(
    program: Program, made: Path, tmp_path: Path
) -> None:
    told = program("verify", made, "--trust", tmp_path / "trust.policy", "--json").json
    assert (told["accepted"], told["fault"], told["index"]) == (True, None, 5)
    assert [one["vkey"] for one in told["vouchers"]] == [c.vkey.encode() for c in COSIGNERS]
    assert told["vouchers"][0]["timestamp_s"] == LONG_AGO_S
    leaf = decode_leaf(ProofFile.decode(made.read_bytes()).extra or b"")
    assert (told["kind"], told["received_ms"]) == (leaf.kind, leaf.received_ms)
    assert [one["key"] for one in told["subjects"]] == [link.subject.hex() for link in leaf.links]


def test_without_a_policy_nobody_vouches_and_the_exit_is_1(program: Program, made: Path) -> None:
    done = program("verify", made)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("NOBODY VOUCHES: nothing is wrong")
    assert "no trust policy was given" in done.out
    told = program("verify", made, "--json").json
    assert (told["accepted"], told["fault"], told["vouchers"]) == (False, None, [])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"\nindex 5\n", b"\nindex 4\n", "proof-invalid"),
        (b"\nextra hQ", b"\nextra hA", "cbor"),
        (b"\xe2\x80\x94 witness.example/w2 ", b"\xe2\x80\x94 witness.example/w3 ", "quorum"),
        (b"\xe2\x80\x94 test.example/ledger ", b"\xe2\x80\x94 another ", "signature-invalid"),
    ],
)
def test_changed_proof_is_not_sound(
    program: Program, made: Path, tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    whole = made.read_bytes()
    assert whole.count(old) == 1, whole
    made.write_bytes(whole.replace(old, new))
    done = program("verify", made, "--trust", tmp_path / "trust.policy")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("NOT SOUND: this does not prove the entry\n")
    assert said in done.out
    told = program("verify", made, "--trust", tmp_path / "trust.policy", "--json").json
    assert told["accepted"] is False
    assert said in told["fault"]


def test_old_proof_is_refused_where_age_matters(
    program: Program, made: Path, tmp_path: Path
) -> None:
    done = program("verify", made, "--trust", tmp_path / "trust.policy", "--max-age", "24")
    assert done.code == 1
    assert "86400 s are allowed" in done.out


def test_proof_without_witnesses_says_nothing_of_its_age(
    program: Program, made: Path, tmp_path: Path
) -> None:
    text = (tmp_path / "trust.policy").read_text()
    log = next(line for line in text.splitlines() if line.startswith("log "))
    (tmp_path / "log.policy").write_text(f"{log}\nquorum none\n")
    words = ("verify", made, "--trust", tmp_path / "log.policy")
    done = program(*words)
    assert done.code == 0
    assert "no witness says" in done.out
    assert "no witness says how old it is" in program(*words, "--max-age", "24").out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"c2sp.org/tlog-proof@v2\nindex 5\n\n", "is no proof that can be read"),
        (b"c2sp.org/tlog-proof@v1\n", "is no proof that can be read"),
        (b"c2sp.org/tlog", "is no bundle that can be read"),
    ],
)
def test_file_that_is_no_proof_is_one_line(
    program: Program, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    assert said in program("verify", tmp_path / "x").complaint


def test_an_earlier_checkpoint_goes_with_bundles_only(program: Program, made: Path) -> None:
    assert "--remembered is for bundles" in program("verify", made, "--remembered", made).complaint


def test_entry_that_no_checkpoint_covers_has_no_proof(
    program: Program, stage: Stage, tmp_path: Path
) -> None:
    size = stage.node.status().published_size
    with ServerThread(stage.node) as service:
        for where in (("--database", tmp_path / "ledger.db"), ("--url", service.url)):
            said = program("proof", str(size), "-o", tmp_path / "n", *where).complaint
            assert f"no checkpoint covers entry {size} yet" in said
            assert not (tmp_path / "n").exists()
            assert program("proof", "5", "-o", tmp_path / "y", *where).code == 0
    assert ProofFile.decode((tmp_path / "y").read_bytes()).index == 5
    assert "Invalid value" in program("proof", "x", "-o", tmp_path / "n").complaint
    stage.node.close()


def test_bundle_is_vouched_for_by_a_witness_of_either_algorithm(
    program: Program, stage: Stage, tmp_path: Path
) -> None:
    vkey = stage.node.status().vkey
    (tmp_path / "chip.bundle").write_bytes(stage.node.bundle(stage.chips[0].ueid))
    stage.node.close()
    for cosigner in COSIGNERS:
        text = f"log {vkey}\nwitness w {cosigner.vkey.encode()}\nquorum w\n"
        (tmp_path / "w.policy").write_text(text)
        done = program("verify", tmp_path / "chip.bundle", "--trust", tmp_path / "w.policy")
        assert (done.code, done.err) == (0, ""), done.out
        assert "by the policy; witnesses: w" in done.out
