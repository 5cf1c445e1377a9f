"""``witness serve`` in a process of its own: it cosigns, remembers, and never starts forgetful."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.witness_client import WitnessAhead, WitnessClient
from ledger.log.cosignature import CosignatureVerifier, Cosigner
from ledger.service.keys import make_key, read_key
from tests.cli.harness import Program, finish, start
from tests.log.witnessed import GrowingLog

NAME = "witness.example/w1"
LOG = GrowingLog()
VKEY = LOG.signer.vkey.encode()
WORDS = ("witness", "serve", "--port", "0", "--name", NAME, "--ledger", VKEY)


@contextlib.contextmanager
def witnessing(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """The process, its address and its key, taken from the line that it prints."""
    process = start(*WORDS, *words, cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), finish(process).err
        yield process, line.split()[2], line.split()[4].rstrip(")")
    finally:
        process.kill()
        finish(process)


def asking(url: str, vkey: str) -> WitnessClient:
    return WitnessClient(url, [CosignatureVerifier(vkey)])


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
        (["--database", "postgresql://127.0.0.1:1/x"], "name the file of the witness's key"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
)
def test_witness_that_cannot_start_is_one_line(
    program: Program, words: list[str], said: str
) -> None:
    assert said in program(*WORDS, *words).complaint
