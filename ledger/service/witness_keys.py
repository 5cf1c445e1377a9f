"""A witness's keys: one private key for each algorithm, in one PEM file of mode 0600."""

import re
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger.errors import ConfigurationError
from ledger.log.cosignature import MlDsa44Key
from ledger.log.note import NoteKey
from ledger.protocol.keys import Ed25519Signer
from ledger.service.keys import read_private, write_private

SEED_SIZE = 32
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n]+-----END [A-Z ]+-----\n?")


class WitnessAlgorithm(StrEnum):
    """What a witness cosigns with (C2SP tlog-cosignature)."""

    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"


WitnessKeys = dict[WitnessAlgorithm, NoteKey]


def make_witness_keys(path: Path, algorithms: Sequence[WitnessAlgorithm]) -> WitnessKeys:
    """Fresh keys in a new file, one for each algorithm; never over an existing file.

    ConfigurationError, before anything is written, where the installed cryptography or its OpenSSL
    has no such algorithm.
    """
    pems = [_make(algorithm) for algorithm in dict.fromkeys(algorithms)]
    write_private(path, b"".join(pems))
    return read_witness_keys(path)


def read_witness_keys(path: Path) -> WitnessKeys:
    """The keys in a file, in its order. ConfigurationError where it holds anything else."""
    pem = read_private(path).replace(b"\r\n", b"\n")
    blocks = _BLOCK.findall(pem)
    if not blocks or len(blocks) != pem.count(b"-----BEGIN "):
        raise ConfigurationError(f"{path} holds no keys in PEM")
    keys: WitnessKeys = {}
    for block in blocks:
        algorithm, key = _read(path, block)
        if algorithm in keys:
            raise ConfigurationError(f"{path} holds two keys of {algorithm}")
        keys[algorithm] = key
    return keys


def _make(algorithm: WitnessAlgorithm) -> bytes:
    seed = secrets.token_bytes(SEED_SIZE)
    if algorithm is WitnessAlgorithm.ML_DSA_44:
        return MlDsa44Key.from_seed(seed).to_pem()
    return Ed25519Signer.from_seed(seed).to_pem()


def _read(path: Path, pem: bytes) -> tuple[WitnessAlgorithm, NoteKey]:
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} holds a key that cannot be read; one of {WitnessAlgorithm.ML_DSA_44} needs "
            "a recent release of cryptography"
        ) from error
    name = type(private).__name__
    if name == "MLDSA44PrivateKey":
        return WitnessAlgorithm.ML_DSA_44, MlDsa44Key(private)
    if name == "Ed25519PrivateKey":
        return WitnessAlgorithm.ED25519, Ed25519Signer.from_pem(pem)
    raise ConfigurationError(f"{path} holds a key that no witness cosigns with")
