"""``witness serve`` in a process of its own: it cosigns, remembers, and never starts forgetful."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import asymmetric

from api.witness_client import WitnessAhead, WitnessClient
from ledger.log.cosignature import CosignatureVerifier, Cosigner, parse_vkey
from ledger.service.keys import make_key, read_key
from tests.cli.harness import Program, finish, start
from tests.log.witnessed import GrowingLog

NAME = "witness.example/w1"
LOG = GrowingLog()
VKEY = LOG.signer.vkey.encode()
WORDS = ("witness", "serve", "--port", "0", "--name", NAME, "--ledger", VKEY)


@contextlib.contextmanager
def witnessing(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """The process, its address and its keys, taken from the line that it prints."""
    process = start(*WORDS, *words, cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), finish(process).err
        yield process, line.split()[2], " ".join(line.split()[4:]).rstrip(")")
    finally:
        process.kill()
        finish(process)


def asking(url: str, *vkeys: str) -> WitnessClient:
    return WitnessClient(url, [CosignatureVerifier(vkey) for vkey in vkeys])


def test_witness_makes_its_key_cosigns_stops_and_remembers_after_a_kill(tmp_path: Path) -> None:
    with witnessing(tmp_path, "--ready-file", "ready") as (process, url, vkey):
        assert (tmp_path / "ready").read_text() == url + "\n"
        assert (tmp_path / "witness.db.key").stat().st_mode & 0o777 == 0o600
        with asking(url, vkey) as client:
            assert len(client.cosign(LOG.note(9), lambda old: LOG.proof(old, 9))) == 1
        process.kill()
    with witnessing(tmp_path) as (process, url, again):
        assert again == vkey
        with asking(url, vkey) as client:
            with pytest.raises(WitnessAhead):
                client.cosign(LOG.note(7), lambda old: LOG.proof(old, 7))
            assert client.cosign(LOG.note(12), lambda old: LOG.proof(old, 12))
        process.terminate()
        done = finish(process)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err


def test_witness_signs_with_the_algorithms_that_it_began_with(tmp_path: Path) -> None:
    chosen = ("--algorithm", "ml-dsa-44", "--algorithm", "ed25519")
    with witnessing(tmp_path, *chosen) as (_, url, words):
        vkeys = words.split()
        assert [parse_vkey(vkey).signature_type for vkey in vkeys] == [0x06, 0x04]
        with asking(url, *vkeys) as client:
            assert len(client.cosign(LOG.note(9), lambda old: LOG.proof(old, 9))) == 2
        with asking(url, vkeys[0]) as client:
            (line,) = client.cosign(LOG.note(9), lambda old: LOG.proof(old, 9))
            assert len(line.signature) == 8 + 2_420
    with witnessing(tmp_path) as (_, _, again):
        assert again == words


def test_start_that_fails_leaves_no_key_behind(program: Program, tmp_path: Path) -> None:
    """A key without a memory would be taken for a witness that forgot."""
    for wrong in (("--ledger", VKEY), ("--name", "two words")):
        assert program(*WORDS, *wrong, "--database", tmp_path / "w.db").complaint
        assert list(tmp_path.iterdir()) == []


def test_witness_keeps_its_algorithms(program: Program, tmp_path: Path) -> None:
    database, key = tmp_path / "w.db", tmp_path / "w.db.key"
    make_key(key)
    database.write_bytes(b"")
    said = program(*WORDS, "--database", database, "--algorithm", "ml-dsa-44").complaint
    assert said.startswith(f"{key} holds keys of ed25519, and a witness keeps its keys")


def test_without_ml_dsa_a_witness_of_it_does_not_start(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    monkeypatch.delattr(asymmetric, "mldsa", raising=False)
    words = ("--database", tmp_path / "w.db", "--algorithm", "ml-dsa-44")
    said = program(*WORDS, *words).complaint
    assert said == "ML-DSA-44 needs a newer release of cryptography"
    assert list(tmp_path.iterdir()) == []


def test_witness_that_lost_its_memory_is_refused(program: Program, tmp_path: Path) -> None:
    make_key(tmp_path / "w.key")
    words = (*WORDS, "--database", tmp_path / "w.db", "--key", tmp_path / "w.key")
    said = program(*words).complaint
    assert said.startswith(f"the memory {tmp_path / 'w.db'} is missing; a witness that forgot")
    assert not (tmp_path / "w.db").exists()


def test_key_made_elsewhere_begins_with_new(tmp_path: Path) -> None:
    make_key(tmp_path / "w.key")
    expected = Cosigner(NAME, read_key(tmp_path / "w.key")).vkey.encode()
    with witnessing(tmp_path, "--key", "w.key", "--new") as (_, _, vkey):
        assert vkey == expected


def test_memory_without_its_key_is_refused(program: Program, tmp_path: Path) -> None:
    (tmp_path / "w.db").write_bytes(b"")
    said = program(*WORDS, "--database", tmp_path / "w.db").complaint
    assert said == f"{tmp_path / 'w.db'}.key is missing; restore it, or name it with --key"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ledger", "log.example"], "--ledger takes a ledger's vkey"),
        (["--ledger", VKEY], "has the same key twice"),
        (["--name", "two words"], "no spaces"),
        (["--algorithm", "rsa"], "Invalid value for '--algorithm'"),
        (["--database", "postgresql://127.0.0.1:1/x"], "name the file of the witness's key"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
)
def test_witness_that_cannot_start_is_one_line(
    program: Program, words: list[str], said: str
) -> None:
    assert said in program(*WORDS, *words).complaint
