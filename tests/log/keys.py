"""A note key for tests: a PyNaCl key in the shape that NoteSigner wants."""

from dataclasses import dataclass

from nacl.signing import SigningKey


@dataclass(frozen=True)
class Raw:
    raw: bytes


class TestKey:
    """Deterministic Ed25519 key number ``number``."""

    __test__ = False

    def __init__(self, number: int) -> None:
        self.seed = bytes([number]) * 32
        self._key = SigningKey(self.seed)
        self.public = Raw(bytes(self._key.verify_key))

    def sign(self, message: bytes, /) -> bytes:
        return self._key.sign(message).signature
