"""Distance bounding between a chip and a landmark: the messages, and both sides of a session.

A session is a few probes and one opening. In each probe the chip commits to a random secret, the
landmark sends a nonce that nobody could foresee and times the reply, which is the exclusive or of
both; at the end the chip opens its secrets and signs all of it. So no signature lies in the timed
round trip, and a reply that fits cannot have been made before the nonce was there. What the
method proves and what it does not is in ``docs/ranging.md``, with the messages to the byte.

Nothing here reads a clock, draws a number or opens a socket: the caller hands in times (of a clock
that never runs fast or slow on purpose, in nanoseconds), secrets, nonces and datagrams.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, cose
from ledger.protocol.keys import PublicKey, SigningKey
from ledger.values import check_ueid

SESSION_SIZE = SECRET_SIZE = NONCE_SIZE = EPOCH_SIZE = 16
COMMITMENT_SIZE = 32
MAX_PROBES = 8
"""Probes in a session. Their opening, for the longest names and keys, fits one datagram."""
MAX_DATAGRAM = 1_232
"""What every IPv6 path carries in one piece: 1,280 bytes less both headers."""
MAX_ROUND_TRIP_US = 1_000_000
"""A reply after this is late. Half round the Earth in fibre and back takes a fifth of it."""
MAX_OPENING_NS = 30_000_000_000
"""A session is opened within this of its first commitment."""
CLOCK_ERROR_PPM = 200
"""Added to what was measured: a quartz that is not disciplined runs slow by less."""
ACCEPTED = "accepted"
TYP = "application/chip-passport.ranging-transcript+cbor"

_LABEL = "chip-passport ranging commitment v1"
_NS_PER_US = 1_000
_MILLION = 1_000_000
_MAX_DEPTH = 4
_MAX_WORD = 40
_MEMBERS = ("ueid", "epoch", "probes", "session", "landmark")


class MessageType(IntEnum):
    """First member of every datagram."""

    COMMIT = 1
    CHALLENGE = 2
    REPLY = 3
    OPENING = 4
    RESULT = 5


class Commit(NamedTuple):
    """Chip to landmark: begins a probe. ``commitment`` binds the secret (see ``commitment``)."""

    session: bytes
    probe: int
    epoch: bytes
    ueid: bytes
    commitment: bytes


class Challenge(NamedTuple):
    """Landmark to chip: the nonce; the landmark's clock runs from here."""

    session: bytes
    probe: int
    nonce: bytes


class Reply(NamedTuple):
    """Chip to landmark: nonce XOR secret; the landmark's clock stops here."""

    session: bytes
    probe: int
    answer: bytes


class Opening(NamedTuple):
    """Chip to landmark: the signed transcript (a COSE_Sign1 by the chip's heartbeat key)."""

    session: bytes
    token: bytes


class Result(NamedTuple):
    """Landmark to chip: ``accepted`` or a reason code, and what was measured (0 if nothing was)."""

    session: bytes
    word: str
    round_trip_us: int = 0
    probes: int = 0


Datagram = Commit | Challenge | Reply | Opening | Result


class Probe(NamedTuple):
    """One probe as the chip saw it."""

    number: int
    commitment: bytes
    nonce: bytes
    secret: bytes


class Transcript(NamedTuple):
    """What the chip signs at the end of a session."""

    ueid: bytes
    epoch: bytes
    landmark: str
    session: bytes
    probes: tuple[Probe, ...]

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(self._asdict() | {"probes": [list(probe) for probe in self.probes]})


class Measured(NamedTuple):
    """An accepted session: the least round trip of its probes, in µs, rounded up."""

    ueid: bytes
    epoch: bytes
    round_trip_us: int
    probes: int
    token: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed transcript, 32 bytes."""
        return sha256(self.token).digest()


def commitment(
    secret: bytes, ueid: bytes, epoch: bytes, landmark: str, session: bytes, probe: int
) -> bytes:
    """SHA-256 over the secret and everything that it may be used for, 32 bytes."""
    return sha256(cbor.encode([_LABEL, secret, ueid, epoch, landmark, session, probe])).digest()


def xor(first: bytes, second: bytes) -> bytes:
    """Exclusive or of two byte strings of one length."""
    return bytes(a ^ b for a, b in zip(first, second, strict=True))


def round_trip_us(sent_ns: int, received_ns: int) -> int:
    """Time between two readings of the landmark's clock, in µs.

    Rounded up, after adding what the clock may have lost: too long a round trip only leaves more
    places possible, too short a one would exclude the true place.
    """
    if received_ns <= sent_ns:
        raise Refused(Reason.TIME_IMPLAUSIBLE, "the landmark's clock did not move on")
    return -(-(received_ns - sent_ns) * (_MILLION + CLOCK_ERROR_PPM) // (_NS_PER_US * _MILLION))


# --- Datagrams ------------------------------------------------------------------------------


def encode(message: Datagram) -> bytes:
    """A message as a datagram: a deterministic CBOR array, the type first."""
    return cbor.encode([_TYPES[type(message)], *message])


def decode(datagram: bytes) -> Datagram:
    """Parse a datagram strictly. Raises only ``Refused``: the codes of CBOR, RANGING_MALFORMED."""
    parts = cbor.decode(datagram, max_size=MAX_DATAGRAM, max_depth=1)
    if not isinstance(parts, list) or not parts or type(parts[0]) is not int:
        raise _malformed("a datagram is an array that begins with its type")
    found = _FORMS.get(parts[0])
    if found is None:
        raise _malformed(f"no message has type {parts[0]}")
    model, checks = found
    if len(parts) != len(checks) + 1:
        raise _malformed(f"a {model.__name__.lower()} has {len(checks)} members after its type")
    for name, check, part in zip(model._fields, checks, parts[1:], strict=True):
        if not check(part):
            raise _malformed("wrong type or size", name)
    if model is Commit:
        check_ueid(parts[4])
    message: Datagram = model(*parts[1:])
    return message


def _malformed(detail: str, field: str | None = None) -> Refused:
    return Refused(Reason.RANGING_MALFORMED, detail, field=field)


def _bytes(size: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and len(value) == size


def _up_to(limit: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 <= value <= limit


def _is_bytes(value: Any) -> bool:
    return isinstance(value, bytes)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_WORD and value.isascii()


_SESSION, _NUMBER, _SECRET = _bytes(SESSION_SIZE), _up_to(MAX_PROBES - 1), _bytes(SECRET_SIZE)
_COMMIT = (_SESSION, _NUMBER, _bytes(EPOCH_SIZE), _is_bytes, _bytes(COMMITMENT_SIZE))
_FORMS: dict[int, tuple[Any, tuple[Callable[[Any], bool], ...]]] = {
    MessageType.COMMIT: (Commit, _COMMIT),
    MessageType.CHALLENGE: (Challenge, (_SESSION, _NUMBER, _bytes(NONCE_SIZE))),
    MessageType.REPLY: (Reply, (_SESSION, _NUMBER, _SECRET)),
    MessageType.OPENING: (Opening, (_SESSION, _is_bytes)),
    MessageType.RESULT: (
        Result,
        (_SESSION, _is_word, _up_to(2 * MAX_ROUND_TRIP_US), _up_to(MAX_PROBES)),
    ),
}
_TYPES = {model: kind for kind, (model, _) in _FORMS.items()}


def read_transcript(token: bytes) -> tuple[cose.Sign1, Transcript]:
    """Parse a signed transcript strictly; nothing in it is authentic yet."""
    sign1 = cose.decode_sign1(token, max_size=MAX_DATAGRAM)
    body = cbor.decode(sign1.payload, max_size=MAX_DATAGRAM, max_depth=_MAX_DEPTH)
    if not isinstance(body, dict) or set(body) != set(_MEMBERS):
        raise _malformed(f"a transcript has the members {', '.join(_MEMBERS)}")
    for name, check in (("epoch", _bytes(EPOCH_SIZE)), ("session", _SESSION)):
        if not check(body[name]):
            raise _malformed("wrong type or size", name)
    if not isinstance(body["ueid"], bytes) or not isinstance(body["landmark"], str):
        raise _malformed("a UEID is bytes and a landmark's id is text")
    check_ueid(body["ueid"])
    rows = body["probes"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_PROBES:
        raise _malformed(f"1 to {MAX_PROBES} probes", "probes")
    body["probes"] = probes = tuple(map(_probe, rows))
    numbers = [probe.number for probe in probes]
    if numbers != sorted(set(numbers)):
        raise Refused(Reason.RANGING_PROBE, "probes stand in order, each once", field="probes")
    return sign1, Transcript(**body)


def _probe(row: Any) -> Probe:
    checks = (_NUMBER, _bytes(COMMITMENT_SIZE), _bytes(NONCE_SIZE), _SECRET)
    if (
        not isinstance(row, list)
        or len(row) != len(checks)
        or not all(check(part) for check, part in zip(checks, row, strict=True))
    ):
        raise _malformed("a probe is [number, commitment, nonce, secret]", "probes")
    return Probe(*row)


# --- The chip's side ------------------------------------------------------------------------


class Prover:
    """The chip in one session with one landmark.

    Each secret answers one nonce and no other, and what is signed is the nonce that was answered.
    Both belong inside the chip: a host that could ask for a second answer, or learn a secret before
    its nonce, could answer the landmark from somewhere else.
    """

    def __init__(
        self, ueid: bytes, epoch: bytes, landmark: str, session: bytes, secrets: Sequence[bytes]
    ) -> None:
        """``session`` and each of 1 to ``MAX_PROBES`` ``secrets``: 16 fresh random bytes."""
        if not 0 < len(secrets) <= MAX_PROBES or set(map(len, secrets)) != {SECRET_SIZE}:
            raise ValueError(f"1 to {MAX_PROBES} secrets of {SECRET_SIZE} bytes")
        self._about = (ueid, epoch, landmark, session)
        self._secrets = tuple(secrets)
        self._nonces: dict[int, bytes] = {}

    def commit(self, probe: int) -> bytes:
        """The datagram that begins probe ``probe``, counted from 0."""
        ueid, epoch, _, session = self._about
        return encode(Commit(session, probe, epoch, ueid, self._commitment(probe)))

    def answer(self, challenge: Challenge) -> bytes:
        """The datagram to send at once. Refuses a foreign session and a second nonce."""
        if challenge.session != self._about[3] or challenge.probe >= len(self._secrets):
            raise Refused(Reason.RANGING_SESSION, "the challenge is for another session")
        if challenge.probe in self._nonces:
            raise Refused(Reason.RANGING_PROBE, f"probe {challenge.probe} is answered")
        self._nonces[challenge.probe] = challenge.nonce
        answer = xor(challenge.nonce, self._secrets[challenge.probe])
        return encode(Reply(challenge.session, challenge.probe, answer))

    def open(self, signer: SigningKey) -> bytes:
        """The datagram that opens every probe that was answered, signed by the chip's key."""
        probes = tuple(
            Probe(number, self._commitment(number), nonce, self._secrets[number])
            for number, nonce in sorted(self._nonces.items())
        )
        if not probes:
            raise Refused(Reason.RANGING_SESSION, "no probe was answered")
        token = cose.sign1(Transcript(*self._about, probes).encode(), signer, typ=TYP)
        return encode(Opening(self._about[3], token))

    def _commitment(self, probe: int) -> bytes:
        return commitment(self._secrets[probe], *self._about, probe)


# --- The landmark's side --------------------------------------------------------------------


class _Timed:
    """A probe as the landmark sees it."""

    __slots__ = ("answer", "commitment", "nonce", "round_trip_us", "sent_ns")

    def __init__(self, commitment: bytes, nonce: bytes, sent_ns: int) -> None:
        self.commitment, self.nonce, self.sent_ns = commitment, nonce, sent_ns
        self.answer: bytes | None = None
        self.round_trip_us = 0


class Session:
    """The landmark in one session with one chip, from the first commitment to the opening.

    It is open until ``open`` was called once, whatever came of it, or the time is over.
    """

    def __init__(self, landmark: str, first: Commit, now_ns: int) -> None:
        """``first`` fixes chip, epoch and session id; it is still to be given to ``challenge``."""
        self._landmark = landmark
        self._about = (first.ueid, first.epoch, first.session)
        self._begun_ns = now_ns
        self._probes: dict[int, _Timed] = {}

    def expired(self, now_ns: int) -> bool:
        """Whether it is too late to open."""
        return now_ns - self._begun_ns > MAX_OPENING_NS

    @property
    def timed(self) -> int:
        """How many probes have their reply: above 0, the sender has seen what was sent to it."""
        return sum(probe.answer is not None for probe in self._probes.values())

    def challenge(self, commit: Commit, nonce: bytes, now_ns: int) -> bytes:
        """The datagram with the nonce, to be sent after ``now_ns`` was read.

        ``nonce``: 16 bytes that nobody can foresee, used here and never again. Refuses a commitment
        of another chip or epoch, and a probe that has begun already.
        """
        if (commit.ueid, commit.epoch, commit.session) != self._about:
            raise Refused(Reason.RANGING_SESSION, "another chip or epoch than the session began")
        if commit.probe in self._probes:
            raise Refused(Reason.RANGING_PROBE, f"probe {commit.probe} has begun already")
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes")
        self._probes[commit.probe] = _Timed(commit.commitment, nonce, now_ns)
        return encode(Challenge(commit.session, commit.probe, nonce))

    def reply(self, reply: Reply, now_ns: int) -> None:
        """Stop a probe's clock; ``now_ns`` was read when the datagram came.

        Refuses a probe that never began, a second reply, and a reply that is late. Whether the
        answer fits the nonce shows only when the secret is opened.
        """
        probe = self._probes.get(reply.probe)
        if probe is None:
            raise Refused(Reason.RANGING_PROBE, f"probe {reply.probe} has not begun")
        if probe.answer is not None:
            raise Refused(Reason.RANGING_REPLAYED, f"probe {reply.probe} has its reply already")
        trip = round_trip_us(probe.sent_ns, now_ns)
        if trip > MAX_ROUND_TRIP_US:
            raise Refused(Reason.RANGING_LATE, f"the reply took over {MAX_ROUND_TRIP_US} µs")
        probe.answer, probe.round_trip_us = reply.answer, trip

    def open(
        self, opening: Opening, find_key: Callable[[bytes], PublicKey | None], now_ns: int
    ) -> Measured:
        """Check everything; the least round trip of the probes that were timed.

        Steps, in order of cost: 1. in time; 2. form; 3. landmark, session, chip and epoch are this
        session's; 4. every probe that was timed is opened, with its commitment, the nonce that was
        sent, a secret that fits the commitment and the reply that was timed; 5. the key of the
        chip (``find_key`` may ask a ledger) and its signature. One fault voids the session: the
        chip may not choose among its probes. A probe whose reply was lost may stand in the
        transcript; it is not counted.
        """
        if self.expired(now_ns):
            raise Refused(Reason.RANGING_LATE, "the session is over")
        sign1, said = read_transcript(opening.token)
        if said.landmark != self._landmark:
            raise Refused(
                Reason.RANGING_SESSION, f"it is for {said.landmark[:63]}", field="landmark"
            )
        ueid, epoch, session = self._about
        if (said.ueid, said.session, opening.session) != (ueid, session, session):
            raise Refused(Reason.RANGING_SESSION, "it is for another session", field="session")
        if said.epoch != epoch:
            raise Refused(Reason.EPOCH_UNKNOWN, "the session began in another", field="epoch")
        timed = {n: probe for n, probe in self._probes.items() if probe.answer is not None}
        opened = {probe.number: probe for probe in said.probes}
        if not timed:
            raise Refused(Reason.RANGING_PROBE, "no reply was timed", field="probes")
        for number, probe in timed.items():
            self._check(number, probe, opened.get(number))
        key = find_key(ueid)
        if key is None:
            raise Refused(Reason.CHIP_UNKNOWN, f"no chip {ueid.hex()}", field="ueid")
        cose.verify_sign1(sign1, key, typ=TYP)
        least = min(probe.round_trip_us for probe in timed.values())
        return Measured(ueid, epoch, least, len(timed), opening.token)

    def _check(self, number: int, timed: _Timed, opened: Probe | None) -> None:
        if opened is None:
            raise Refused(Reason.RANGING_OPENING, f"probe {number} was timed and is not opened")
        if opened.nonce != timed.nonce:
            raise Refused(Reason.RANGING_NONCE, f"probe {number} answers a nonce that was not sent")
        ueid, epoch, session = self._about
        made = commitment(opened.secret, ueid, epoch, self._landmark, session, number)
        if made != timed.commitment or opened.commitment != timed.commitment:
            raise Refused(Reason.RANGING_OPENING, f"probe {number} was committed to another secret")
        if timed.answer != xor(timed.nonce, opened.secret):
            raise Refused(Reason.RANGING_NONCE, f"probe {number}'s reply is to another nonce")
