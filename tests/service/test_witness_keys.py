"""A witness's keys in one file: made once, read strictly, and refused where they cannot work."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError
from ledger.log import cosignature
from ledger.log.cosignature import Cosigner
from ledger.protocol.keys import P384Signer
from ledger.service.clock import SimulatedClock
from ledger.service.keys import write_private
from ledger.service.witness import Witness, WitnessSettings
from ledger.service.witness_keys import WitnessAlgorithm, make_witness_keys, read_witness_keys
from tests.log.witnessed import GrowingLog

ED, ML = WitnessAlgorithm.ED25519, WitnessAlgorithm.ML_DSA_44
NAME = "witness.example/w1"


def vkeys(path: Path) -> list[str]:
    return [Cosigner(NAME, key).vkey.encode() for key in read_witness_keys(path).values()]


@pytest.mark.parametrize("algorithms", [[ED], [ML], [ED, ML], [ML, ED], [ED, ED]])
def test_keys_that_are_made_are_read_back_in_their_order(
    tmp_path: Path, algorithms: list[WitnessAlgorithm]
) -> None:
    path = tmp_path / "w.key"
    made = make_witness_keys(path, algorithms)
    assert list(made) == list(dict.fromkeys(algorithms))
    assert path.stat().st_mode & 0o777 == 0o600
    assert vkeys(path) == [Cosigner(NAME, key).vkey.encode() for key in made.values()]
    types = {ED: 0x04, ML: 0x06}
    assert [Cosigner(NAME, key).vkey.signature_type for key in made.values()] == [
        types[algorithm] for algorithm in made
    ]


def test_keys_of_two_files_may_stand_in_one(tmp_path: Path) -> None:
    """A witness that has cosigned with one gets the other beside it."""
    for name, algorithm in (("a", ED), ("b", ML)):
        make_witness_keys(tmp_path / name, [algorithm])
    both = b"".join((tmp_path / name).read_bytes() for name in "ab")
    write_private(tmp_path / "both", b"Comment\r\n" + both.replace(b"\n", b"\r\n"))
    assert vkeys(tmp_path / "both") == vkeys(tmp_path / "a") + vkeys(tmp_path / "b")


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "w.key"
    make_witness_keys(path, [ED])
    before = path.read_bytes()
    with pytest.raises(ConfigurationError):
        make_witness_keys(path, [ML])
    assert path.read_bytes() == before


def contents() -> dict[str, bytes]:
    ed = cosignature.MlDsa44Key.from_seed(bytes(32)).to_pem()
    return {
        "nothing": b"",
        "no PEM": b"key\n",
        "two of one algorithm": ed + ed,
        "cut in the second": ed + ed[:60],
        "another kind of key": P384Signer.from_seed(bytes([1]) * 32).to_pem(),
        "a public key": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "encrypted": P384Signer.from_seed(bytes([1]) * 32).to_pem(b"secret"),
        "no base64": b"-----BEGIN PRIVATE KEY-----\n====\n-----END PRIVATE KEY-----\n",
    }


@pytest.mark.parametrize("name", contents())
def test_file_that_holds_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    write_private(tmp_path / "w.key", contents()[name])
    with pytest.raises(ConfigurationError, match="holds") as caught:
        read_witness_keys(tmp_path / "w.key")
    assert "\n" not in str(caught.value)


def test_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_witness_keys(tmp_path / "w.key", [ML])
    (tmp_path / "w.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_witness_keys(tmp_path / "w.key")
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_witness_keys(tmp_path / "absent.key")


@given(st.binary(max_size=200) | st.from_regex(rb"-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n]*"))
def test_fuzzed_file_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "w.key"
    write_private(path, data)
    with pytest.raises(ConfigurationError):
        read_witness_keys(path)


class OldOpenSsl:
    """The module of a cryptography whose OpenSSL lacks ML-DSA."""

    class MLDSA44PrivateKey:
        @staticmethod
        def from_seed_bytes(_: bytes) -> Any:
            raise UnsupportedAlgorithm("ML-DSA-44 is not supported")


def test_without_ml_dsa_no_key_of_it_is_made_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosignature, "_mldsa", lambda: OldOpenSsl)
    with pytest.raises(ConfigurationError, match="has no ML-DSA-44"):
        make_witness_keys(tmp_path / "w.key", [ED, ML])
    assert list(tmp_path.iterdir()) == []
    assert list(make_witness_keys(tmp_path / "w.key", [ED])) == [ED]


def test_origin_that_ml_dsa_cannot_name_is_refused_at_the_start(tmp_path: Path) -> None:
    """Or the witness would remember checkpoints of it that it can never cosign."""
    fitting, long = GrowingLog("ä" * 127), GrowingLog("ä" * 128)
    keys = make_witness_keys(tmp_path / "w.key", [ED, ML])
    for log, algorithm, works in ((fitting, ML, True), (long, ED, True), (long, ML, False)):
        settings = WitnessSettings(
            str(tmp_path / f"{len(log.origin)}{algorithm}.db"),
            [Cosigner(NAME, keys[algorithm])],
            log.keys,
            SimulatedClock(1_700_000_000_000),
        )
        if not works:
            with pytest.raises(ConfigurationError, match="origin"):
                Witness.open(settings)
            continue
        witness = Witness.open(settings)
        assert isinstance(witness.add_checkpoint(log.request(0, 3)), bytes)
        witness.close()
