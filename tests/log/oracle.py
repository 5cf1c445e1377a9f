"""RFC 6962, section 2.1, written down a second time, recursively and from the text alone."""

from hashlib import sha256


def leaves(count: int) -> list[bytes]:
    """Deterministic leaf hashes that all differ."""
    return [sha256(b"\x00leaf %d" % number).digest() for number in range(count)]


def _split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def root(hashes: list[bytes]) -> bytes:
    """MTH."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = _split(len(hashes))
    return sha256(b"\x01" + root(hashes[:k]) + root(hashes[k:])).digest()


def path(index: int, hashes: list[bytes]) -> list[bytes]:
    """PATH."""
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*path(index, hashes[:k]), root(hashes[k:])]
    return [*path(index - k, hashes[k:]), root(hashes[:k])]


def proof(size1: int, hashes: list[bytes]) -> list[bytes]:
    """PROOF."""
    return _subproof(size1, hashes, True)


def _subproof(size1: int, hashes: list[bytes], known: bool) -> list[bytes]:
    if size1 == len(hashes):
        return [] if known else [root(hashes)]
    k = _split(len(hashes))
    if size1 <= k:
        return [*_subproof(size1, hashes[:k], known), root(hashes[k:])]
    return [*_subproof(size1 - k, hashes[k:], False), root(hashes[:k])]
