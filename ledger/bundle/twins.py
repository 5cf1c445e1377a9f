"""Reading tokens that look like one that was read before, without taking them apart again.

A chip's heartbeats differ in a few numbers and byte strings of fixed size; so do a ledger's epochs.
Once one has been decoded strictly, its *shape* is known: which bytes are the same in all its twins,
and where the rest stands. A token of the same length with the same fixed bytes has the same CBOR
structure, so what is left to check are the values that may differ: an integer must still need the
width that it has, a float its 64 bits, and each must lie in its claim's range. Whatever does not
fit goes the long way. A test holds both ways against each other.
"""

from collections.abc import Iterable
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from ledger.bundle.format import MAX_MILLIS
from ledger.protocol import cbor
from ledger.protocol import heartbeat as hb
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat, Location
from ledger.protocol.statements import Kind, Message
from ledger.values import ZERO_DIGEST

SHAPES = 16
"""Shapes kept at most: a chip's counter and uptime change their width a few times in its life."""

_UINTS = {0x18: ("B", 24), 0x19: ("H", 1 << 8), 0x1A: ("I", 1 << 16)}
"""Head byte of an integer to its form and its least value; others are not taken for variable."""
_MILLIS = ("Q", 1 << 32)
_FLOAT32 = Struct(">f")


class Opened(NamedTuple):
    """An epoch's members, as ``statements.Epoch`` has them; its model takes long to make."""

    iat: int
    id: bytes
    counter: int
    not_before_ms: int
    not_after_ms: int


class Report(NamedTuple):
    """A decoded heartbeat: its body, what was signed, the signature, and both digests."""

    body: Heartbeat
    tbs: bytes
    signature: bytes
    digest: bytes
    content_digest: bytes
    kid: bytes
    alg_id: int


class Twins:
    """Decodes tokens like ``statements.decode``, and quicker where one is like another."""

    def __init__(self) -> None:
        self._heartbeats: list[_HeartbeatShape] = []
        self._epochs: list[_EpochShape] = []

    def heartbeat(self, token: bytes) -> Report:
        """A heartbeat's parts; refuses what ``statements.decode`` refuses."""
        for shape in self._heartbeats:
            report = shape.read(token)
            if report is not None:
                return report
        message = st.decode(token, expect=Kind.HEARTBEAT)
        made = _heartbeat_shape(message)
        if made is not None:
            self._heartbeats = [made, *self._heartbeats[: SHAPES - 1]]
        sign1 = message.sign1
        digests = message.digest, message.content_digest
        return Report(message.body, message.tbs, sign1.signature, *digests, sign1.kid, sign1.alg_id)

    def epoch(self, token: bytes) -> tuple[bytes, Opened]:
        """An epoch's key id and body; refuses what ``statements.decode`` refuses."""
        for shape in self._epochs:
            body = shape.read(token)
            if body is not None:
                return shape.kid, body
        message = st.decode(token, expect=Kind.EPOCH)
        made = _epoch_shape(message)
        if made is not None:
            self._epochs = [made, *self._epochs[: SHAPES - 1]]
        body = message.body
        values = body.iat, body.id, body.counter, body.not_before_ms, body.not_after_ms
        return message.kid, Opened(*values)


class _Frame:
    """Fixed and variable parts of a token: ``take`` gives the variable ones, or None."""

    def __init__(self, token: bytes, spans: Iterable[tuple[int, str]]) -> None:
        form, at = ">", 0
        for begin, code in spans:
            form += f"{begin - at}s{code}"
            at = begin + Struct(">" + code).size
        self._struct = Struct(f"{form}{len(token) - at}s")
        self._size = len(token)
        self._fixed = self._struct.unpack(token)[0::2]

    def take(self, token: bytes) -> tuple[Any, ...] | None:
        if len(token) != self._size:
            return None
        parts = self._struct.unpack(token)
        return parts[1::2] if parts[0::2] == self._fixed else None


class _Span(NamedTuple):
    """An item: where it begins, where it ends, and what one content of it looks like."""

    begin: int
    end: int


class _HeartbeatShape:
    def __init__(
        self, message: Message, frame: _Frame, least: tuple[int, ...], moves: bool, lease: bool
    ) -> None:
        sign1, body = message.sign1, message.body
        self._frame, self._least, self._moves, self._lease = frame, least, moves, lease
        self._body, self._kid, self._alg_id = body, sign1.kid, sign1.alg_id
        self._end = len(message.token) - len(sign1.signature) - 2
        self._begin = self._end - len(sign1.payload)
        self._tbs = message.tbs[: -len(sign1.payload)]
        self._place: tuple[float, float, float] = body.location[:3]

    def read(self, token: bytes) -> Report | None:
        """What it says, where the token is a twin."""
        values = self._frame.take(token)
        if values is None:
            return None
        if self._moves:
            iat, epoch, uptime, latitude, longitude, accuracy, at, counter, previous = values[:9]
            place = latitude, longitude, accuracy
            if place != self._place and not _is_place(*place):
                return None
            self._place = place
        else:
            iat, epoch, uptime, at, counter, previous = values[:6]
            latitude, longitude, accuracy = self._place
        least = self._least
        if iat < least[0] or uptime < least[1] or at < least[2] or counter < least[3]:
            return None
        if previous == ZERO_DIGEST:
            return None
        known = self._body
        body = Heartbeat(
            iat,
            epoch,
            known.ueid,
            known.oemid,
            known.model,
            uptime,
            known.debug_status,
            Location(latitude, longitude, accuracy, at),
            known.boot_count,
            known.boot_seed,
            known.measurement,
            counter,
            previous,
            known.directive_seen,
            values[-2] if self._lease else None,
        )
        tbs = self._tbs + token[self._begin : self._end]
        content = sha256(tbs).digest()
        return Report(
            body, tbs, values[-1], sha256(token).digest(), content, self._kid, self._alg_id
        )


class _EpochShape:
    def __init__(self, message: Message, frame: _Frame, least: tuple[int, ...]) -> None:
        self.kid = message.kid
        self._frame, self._least = frame, least

    def read(self, token: bytes) -> Opened | None:
        """The body, where the token is a twin."""
        values = self._frame.take(token)
        if values is None:
            return None
        ident, iat, counter, after, before, _ = values
        least = self._least
        if iat < least[0] or counter < least[1]:
            return None
        if not _MILLIS[1] <= before < after <= MAX_MILLIS:
            return None
        return Opened(iat, ident, counter, before, after)


# -- finding a shape -------------------------------------------------------------------------

_KEY = {
    name: cbor.encode(label)
    for name, label in (
        ("iat", hb.IAT),
        ("nonce", hb.NONCE),
        ("uptime", hb.UPTIME),
        ("location", hb.LOCATION),
        ("counter", hb.COUNTER),
        ("previous", hb.PREVIOUS),
        ("lease", hb.LEASE_ID),
    )
}
_PLACE = tuple(cbor.encode(label) for label in (1, 2, 4))
_TIMESTAMP = cbor.encode(8)
_EPOCH_KEYS = tuple(
    cbor.encode(name) for name in ("id", "iat", "counter", "not_after_ms", "not_before_ms")
)


def _heartbeat_shape(message: Message) -> _HeartbeatShape | None:
    """The shape of a decoded heartbeat; None where one of its numbers is no variable one."""
    token, start = message.token, _payload_start(message)
    claims = _members(token, start)
    place = _members(token, claims[_KEY["location"]].begin)
    numbers = (
        claims[_KEY["iat"]],
        claims[_KEY["uptime"]],
        place[_TIMESTAMP],
        claims[_KEY["counter"]],
    )
    spans: list[tuple[int, str]] = []
    least = _uints(token, numbers, spans)
    if least is None:
        return None
    for name in ("nonce", "previous", "lease"):
        if _KEY[name] in claims:
            spans.append(_content(token, claims[_KEY[name]]))
    moves = all(token[place[key].begin] == 0xFB for key in _PLACE)
    if moves:
        spans += [(place[key].begin + 1, "d") for key in _PLACE]
    size = len(message.sign1.signature)
    spans.append((len(token) - size, f"{size}s"))
    frame = _Frame(token, sorted(spans))
    return _HeartbeatShape(message, frame, least, moves, _KEY["lease"] in claims)


def _epoch_shape(message: Message) -> _EpochShape | None:
    token = message.token
    members = _members(token, _payload_start(message))
    ident, iat, counter, after, before = (members[key] for key in _EPOCH_KEYS)
    spans: list[tuple[int, str]] = [_content(token, ident)]
    least = _uints(token, (iat, counter), spans)
    if least is None or any(token[span.begin] != 0x1B for span in (after, before)):
        return None
    spans += [(span.begin + 1, "Q") for span in (after, before)]
    size = len(message.sign1.signature)
    spans.append((len(token) - size, f"{size}s"))
    return _EpochShape(message, _Frame(token, sorted(spans)), least)


def _payload_start(message: Message) -> int:
    """Where the payload's content begins: the signature ends the token, two bytes of head first."""
    sign1 = message.sign1
    return len(message.token) - len(sign1.signature) - 2 - len(sign1.payload)


def _uints(
    token: bytes, numbers: Iterable[_Span], spans: list[tuple[int, str]]
) -> tuple[int, ...] | None:
    """Add the spans of integers; returns the least value of each, None where one is too short."""
    least = []
    for span in numbers:
        form = _UINTS.get(token[span.begin])
        if form is None:
            return None
        spans.append((span.begin + 1, form[0]))
        least.append(form[1])
    return tuple(least)


def _content(token: bytes, span: _Span) -> tuple[int, str]:
    """Content of a byte string."""
    _, _, begin = _start(token, span.begin)
    return begin, f"{span.end - begin}s"


def _is_place(latitude: float, longitude: float, accuracy: float) -> bool:
    """Whether three floats are a place, each one that no shorter float holds."""
    return (
        -90 <= latitude <= 90
        and -180 <= longitude <= 180
        and 0 <= accuracy <= hb.MAX_ACCURACY_M
        and all(
            _FLOAT32.unpack(_FLOAT32.pack(value))[0] != value
            for value in (latitude, longitude, accuracy)
        )
    )


# A walk over CBOR that has been decoded strictly, so that only lengths matter here.


def _members(token: bytes, at: int) -> dict[bytes, _Span]:
    """Spans of a map's values, by their encoded keys."""
    _, count, at = _start(token, at)
    found = {}
    for _ in range(count):
        begin = _end(token, at)
        end = _end(token, begin)
        found[token[at:begin]] = _Span(begin, end)
        at = end
    return found


def _end(token: bytes, at: int) -> int:
    major, value, at = _start(token, at)
    if major in (2, 3):
        return at + value
    if major in (4, 5):
        for _ in range(value * (major - 3)):
            at = _end(token, at)
    return at


def _start(token: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument, and where what follows begins."""
    major, info = token[at] >> 5, token[at] & 31
    if info < 24:
        return major, info, at + 1
    end = at + 1 + (1 << info - 24)
    return major, int.from_bytes(token[at + 1 : end]), end
