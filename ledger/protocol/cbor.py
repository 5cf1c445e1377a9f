"""Deterministic CBOR (RFC 8949, 4.2.1), strict in both directions.

``encode`` sorts map keys bytewise by their encoding and writes shortest forms. ``decode`` takes
exactly the bytes that ``encode`` would write and refuses everything else, so that one value has
one encoding and a digest or a signature speaks about one value only.

The codec proper is cbor2. What it does not do is done here: its canonical mode sorts keys by
length first (RFC 7049), its decoder ignores trailing bytes, and it turns tags into objects
(big numbers, dates, regular expressions) that no statement of ours needs.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from types import NoneType
from typing import Any, NoReturn

import cbor2

from ledger.errors import Reason, Refused

MAX_DEPTH = 8
"""Deepest nesting of arrays and maps that any message of ours has, with room to spare."""

_UINT64_MAX = (1 << 64) - 1
_LEAVES = frozenset((int, bytes, str, bool, NoneType))
_COPIED = _LEAVES - {int}
_AFTER_INTEGERS = 1 << 65
_BEFORE_TEXTS = (-1, b"")
_FLOAT16, _FLOAT32, _FLOAT64 = struct.Struct(">e"), struct.Struct(">f"), struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A CBOR tag (major type 6) and the item it marks."""

    tag: int
    value: Any


class _TagFoundError(Exception):
    """Raised inside cbor2's decoder, and so found as the cause of its error."""


class _TagDecoders(dict[int, Callable[..., Any]]):
    """Takes over every tag from cbor2: the allowed ones become ``Tagged``, others are refused.

    Left to cbor2, a few bytes of tag 4 or 5 (decimal fraction, bigfloat) cost gigabytes, and
    tags 2 and 3 make integers that look like plain ones afterwards.
    """

    def __init__(self, allowed: frozenset[int]) -> None:
        super().__init__((tag, _tag_keeper(tag)) for tag in allowed)

    def __missing__(self, tag: int) -> Callable[..., Any]:
        return _refuse_tag


def _refuse_tag(*_: object) -> NoReturn:
    raise _TagFoundError


def _tag_keeper(tag: int) -> Callable[..., Tagged]:
    # cbor2 passes the decoded content and whether it has to be immutable.
    return lambda content, *_: Tagged(tag, content)


class _AnyTag(dict[int, Callable[..., Any]]):
    def __missing__(self, tag: int) -> Callable[..., Any]:
        return lambda *_: None


_NO_TAGS = _TagDecoders(frozenset())
_ANY_TAG = _AnyTag()


# --- Encoding -------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """The one deterministic encoding of ``value``.

    Takes int (64 bits and sign), bytes, str, bool, None, float, list or tuple, dict with int or
    str keys, and ``Tagged``. Raises TypeError or ValueError for anything else: the caller made
    it, so it is a programming error and not a refusal.
    """
    shorter: list[float] = []
    ordered = _order(value, shorter)
    return _dump(ordered, bool(shorter))


def _dump(ordered: Any, shrinks: bool) -> bytes:
    # A hook per float costs several microseconds, and cbor2 writes 64-bit floats by itself:
    # so the hook is used only where some float has a shorter form.
    if shrinks:
        return cbor2.dumps(ordered, encoders={float: _write_float})
    return cbor2.dumps(ordered)


def _write_float(encoder: cbor2.CBOREncoder, number: float) -> None:
    encoder.write(_float_bytes(number))


def _float_bytes(number: float) -> bytes:
    """Shortest encoding that keeps the value; a NaN is always f97e00 (RFC 8949, 4.2.2)."""
    if number != number:
        return b"\xf9\x7e\x00"
    for head, form in ((b"\xf9", _FLOAT16), (b"\xfa", _FLOAT32)):
        try:
            packed = form.pack(number)
        except OverflowError:
            continue
        if form.unpack(packed)[0] == number:
            return head + packed
    return b"\xfb" + _FLOAT64.pack(number)


def _shrinks(number: float) -> bool:
    """Whether a float fits 32 bits or fewer. (A NaN does not: cbor2 writes f97e00 by itself.)"""
    try:
        return bool(_FLOAT32.unpack(_FLOAT32.pack(number))[0] == number)
    except OverflowError:
        return False


def _order(value: Any, shorter: list[float]) -> Any:
    """A copy of ``value`` with sorted maps and plain types; collects floats that shrink."""
    kind = type(value)
    if kind in _COPIED:
        return value
    if kind is int:
        return _in_range(value)
    if kind is dict:
        return {
            key: item if type(item := value[key]) in _COPIED else _order(item, shorter)
            for key in _sorted_keys(value)
        }
    if kind is list or kind is tuple:
        return [item if type(item) in _COPIED else _order(item, shorter) for item in value]
    if kind is float:
        if _shrinks(value):
            shorter.append(value)
        return value
    if kind is Tagged:
        return cbor2.CBORTag(value.tag, _order(value.value, shorter))
    for plain in (int, str):  # an IntEnum or StrEnum member
        if isinstance(value, plain):
            return _order(plain(value), shorter)
    raise TypeError(f"a {kind.__name__} has no place in our CBOR")


def _sorted_keys(value: dict[Any, Any]) -> list[Any]:
    """Keys in the bytewise order of their encodings: unsigned, negative, text by length."""
    kinds = set(map(type, value))
    if not kinds <= {int, str}:
        raise TypeError("a map key is neither an int nor a str")
    if str not in kinds:
        return _sorted_ints(list(value))
    integers = [key for key in value if type(key) is int]
    texts = [key for key in value if type(key) is str]
    return _sorted_ints(integers) + sorted(texts, key=_text_rank)


def _sorted_ints(keys: list[int]) -> list[int]:
    keys.sort()
    if not keys or (keys[0] >= 0 and keys[-1] <= _UINT64_MAX):
        return keys
    _in_range(keys[0])
    _in_range(keys[-1])
    zero = bisect_left(keys, 0)
    return keys[zero:] + keys[:zero][::-1]


def _in_range(value: int) -> int:
    if not -_UINT64_MAX - 1 <= value <= _UINT64_MAX:
        raise ValueError("an integer is outside CBOR's range of 64 bits and sign")
    return value


def _text_rank(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw


# --- Decoding -------------------------------------------------------------------------------


def decode(
    data: bytes,
    *,
    max_size: int,
    max_depth: int = MAX_DEPTH,
    allow_tags: frozenset[int] = frozenset(),
) -> Any:
    """The value of exactly one deterministically encoded item.

    ``max_size`` is in bytes; ``max_depth`` counts nested arrays and maps. Tags outside
    ``allow_tags`` are refused, allowed ones come as ``Tagged``. Values are int, bytes, str, bool,
    None, float, list and dict (keys int or str), so that ``encode(decode(x)) == x``.

    Raises only ``Refused``, in order of cost: size, well-formedness (with depth, tags, definite
    lengths, duplicate keys), types and key order, and equality with the re-encoding.
    """
    value = _loads(data, max_size, max_depth, allow_tags)
    shrinks = _check(value)
    encoded = encode(value) if allow_tags else _dump(value, shrinks)
    if encoded != data:
        raise _not_the_same(data, encoded)
    return value


def decode_unchecked(data: bytes, *, max_size: int, max_depth: int = MAX_DEPTH) -> Any:
    """:func:`decode` for long arrays of which the caller checks every member's type.

    What it gives was written as ``encode`` would write it where it consists of arrays, integers,
    byte strings and texts; that nothing else is in it (no map, no float) is for the caller to see.
    """
    value = _loads(data, max_size, max_depth, frozenset())
    encoded = cbor2.dumps(value)
    if encoded != data:
        raise _not_the_same(data, encoded)
    return value


def split_sequence(data: bytes, *, max_items: int, max_item_size: int) -> list[bytes]:
    """The items of a CBOR sequence (RFC 8742) as slices of ``data``, in order.

    Finds only where items end: each slice is still to be decoded strictly. Refuses an empty
    sequence, more than ``max_items`` items, an item over ``max_item_size`` bytes, and a last item
    that is cut short.
    """
    if not data:
        raise Refused(Reason.SEQUENCE_EMPTY, "there is no item")
    if len(data) > max_items * max_item_size:
        raise Refused(Reason.TOO_LARGE, f"{len(data)} bytes for at most {max_items} items")
    stream = BytesIO(data)
    # Nothing is kept of what a tag contains, so every tag may stand.
    decoder = cbor2.CBORDecoder(
        stream, semantic_decoders=_ANY_TAG, max_depth=MAX_DEPTH, allow_indefinite=False
    )
    items: list[bytes] = []
    start = 0
    while start < len(data):
        if len(items) == max_items:
            raise Refused(Reason.SEQUENCE_TOO_LONG, f"more than {max_items} items")
        try:
            decoder.decode()
        except cbor2.CBORError as error:
            raise _refusal(error) from error
        end = stream.tell()
        if end - start > max_item_size:
            raise Refused(
                Reason.TOO_LARGE,
                f"item {len(items)} has {end - start} bytes, {max_item_size} allowed",
            )
        items.append(data[start:end])
        start = end
    return items


def _loads(data: bytes, max_size: int, max_depth: int, allow_tags: frozenset[int]) -> Any:
    """The value of one well-formed item within the limits; bytes may follow it."""
    if len(data) > max_size:
        raise Refused(Reason.TOO_LARGE, f"{len(data)} bytes, {max_size} allowed")
    try:
        return cbor2.loads(
            data,
            semantic_decoders=_TagDecoders(allow_tags) if allow_tags else _NO_TAGS,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except cbor2.CBORError as error:
        raise _refusal(error) from error


def _check(value: Any) -> bool:
    """Refuse types and key orders that are not ours; tell whether some float shrinks."""
    kind = type(value)
    if kind is dict:
        return _check_map(value)
    if kind is list:
        shrinks = False
        for item in value:
            if type(item) not in _LEAVES and _check(item):
                shrinks = True
        return shrinks
    if kind is float:
        return _shrinks(value)
    if kind is Tagged:
        return _check(value.value)
    if kind not in _LEAVES:
        raise Refused(Reason.CBOR_MALFORMED, "undefined and other simple values are not allowed")
    return False


def _check_map(value: dict[Any, Any]) -> bool:
    shrinks = False
    last = -1
    last_text = _BEFORE_TEXTS
    for key, item in value.items():
        if type(key) is int:
            rank = key if key >= 0 else _UINT64_MAX - key
            if rank <= last:
                raise Refused(Reason.CBOR_NOT_DETERMINISTIC, "map keys are not in order")
            last = rank
        elif type(key) is str:
            text = _text_rank(key)
            if text <= last_text:
                raise Refused(Reason.CBOR_NOT_DETERMINISTIC, "map keys are not in order")
            last, last_text = _AFTER_INTEGERS, text
        else:
            raise Refused(Reason.CBOR_MALFORMED, "a map key is neither an integer nor a text")
        if type(item) not in _LEAVES and _check(item):
            shrinks = True
    return shrinks


def _refusal(error: BaseException) -> Refused:
    if isinstance(error.__cause__, _TagFoundError):
        return Refused(Reason.CBOR_TAG, "a tag stands where none is allowed")
    text = str(error)
    if "nesting depth" in text:
        return Refused(Reason.CBOR_TOO_DEEP, "arrays and maps are nested too deeply")
    if "Duplicate map key" in text:
        return Refused(Reason.CBOR_DUPLICATE_KEY, "a map has the same key twice")
    if "indefinite length" in text:
        return Refused(Reason.CBOR_NOT_DETERMINISTIC, "an item has indefinite length")
    return Refused(Reason.CBOR_MALFORMED, "the bytes are not one well-formed item")


def _not_the_same(data: bytes, encoded: bytes) -> Refused:
    if data.startswith(encoded):
        extra = len(data) - len(encoded)
        return Refused(Reason.CBOR_TRAILING_BYTES, f"{extra} bytes follow the item")
    return Refused(Reason.CBOR_NOT_DETERMINISTIC, "a number or a length is not in shortest form")
