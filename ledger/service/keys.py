"""The two keys that a node holds: the ledger's and the verifier's, in files of mode 0600."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import ConfigurationError
from ledger.protocol.keys import Ed25519Signer, signer_from_pem
from ledger.service.files import sync_folder

LEDGER_KEY, VERIFIER_KEY = "ledger.key", "verifier.key"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Signing keys of a node."""

    ledger: Ed25519Signer
    verifier: Ed25519Signer


def load_or_make_keys(folder: Path, *, may_make: bool) -> NodeKeys:
    """Read both keys; where one is missing and ``may_make`` holds, make it.

    For a ledger that has entries none is ever made: a new key would not fit the genesis.
    """
    paths = [folder / name for name in (LEDGER_KEY, VERIFIER_KEY)]
    for path in paths:
        if path.exists():
            continue
        if not may_make:
            raise ConfigurationError(
                f"{path} is missing; restore it, or name its folder with --keys"
            )
        write_key(path, secrets.token_bytes(32))
    ledger, verifier = (read_key(path) for path in paths)
    return NodeKeys(ledger, verifier)


def write_keys(folder: Path, ledger_seed: bytes, verifier_seed: bytes) -> None:
    """Write both keys made from 32-byte seeds; never over an existing file."""
    write_key(folder / LEDGER_KEY, ledger_seed)
    write_key(folder / VERIFIER_KEY, verifier_seed)


def make_key(path: Path) -> Ed25519Signer:
    """A fresh key in a file of its own; never over an existing one."""
    write_key(path, secrets.token_bytes(32))
    return read_key(path)


def write_key(path: Path, seed: bytes) -> None:
    """Write the key made from a 32-byte seed; never over an existing file."""
    write_private(path, Ed25519Signer.from_seed(seed).to_pem())


def write_private(path: Path, pem: bytes) -> None:
    """Write private keys to a file of mode 0600, whole, durably; never over an existing one."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # somebody was stopped here
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            _name(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"cannot write keys to {path.parent}: {error.strerror}") from error


def _name(fresh: Path, path: Path) -> None:
    """Give a finished file its name; FileExistsError where another has it."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise
        fresh.rename(path)


def read_key(path: Path) -> Ed25519Signer:
    """The Ed25519 key in a file that only its owner may read; ConfigurationError."""
    pem = read_private(path)
    try:
        signer = signer_from_pem(pem)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} holds no usable key: {error}") from error
    if not isinstance(signer, Ed25519Signer):
        raise ConfigurationError(f"{path} has to hold an Ed25519 key")
    return signer


def read_private(path: Path) -> bytes:
    """Content of a file that only its owner may read; ConfigurationError."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} is open to others; run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
