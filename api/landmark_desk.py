"""What a landmark does with each datagram: sessions of many chips, within fixed bounds.

No socket and no clock: the caller hands in datagrams, their senders and the time, and sends what
comes back. Nobody is trusted with anything: no answer is larger than its question, whoever floods
the desk with new sessions pushes out other new ones but none that has shown that it gets our
datagrams, and all memory is bounded.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from ledger.errors import Reason, Refused
from ledger.protocol import ranging
from ledger.protocol.landmarks import MAX_ROWS, RangingRow
from ledger.protocol.ranging import Commit, Measured, Opening, Reply, Result, Session

NS_PER_S = 1_000_000_000
_NEW_SESSION_NS = 2 * ranging.MAX_ROUND_TRIP_US * 1_000
_IPV6_NETWORK_BITS = 64

Source = tuple[str, int]
"""Address and port of a sender."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a desk. ``rate`` and ``burst`` are datagrams per address (IPv6: per /64)."""

    new_sessions: int = 4_096
    sessions: int = 4_096
    closed: int = 8_192
    sources: int = 8_192
    rate: int = 100
    burst: int = 200
    chips: int = 65_536


class Ready(NamedTuple):
    """An opening that is to be checked, which takes the chip's key; then ``Desk.close`` it."""

    source: Source
    session: Session
    opening: Opening
    received_ns: int
    size: int


class Desk:
    """Not for use by several threads. ``epochs`` are the ids that commitments may name."""

    def __init__(
        self,
        landmark: str,
        draw: Callable[[int], bytes],
        clock: Callable[[], int],
        limits: Limits | None = None,
    ) -> None:
        """``draw`` gives so many unforeseeable bytes; ``clock`` is read when a nonce goes out."""
        self.landmark = landmark
        self.epochs: frozenset[bytes] = frozenset()
        self.counts: Counter[str] = Counter()
        """What became of datagrams: ``accepted``, a reason code, ``flood``, ``unasked``."""
        self._draw = draw
        self._clock = clock
        self._limits = limits or Limits()
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._new: OrderedDict[tuple[Source, bytes], tuple[Session, int]] = OrderedDict()
        self._timed: OrderedDict[tuple[Source, bytes], tuple[Session, int]] = OrderedDict()
        self._closed: OrderedDict[tuple[Source, bytes], bytes | None] = OrderedDict()

    @property
    def held(self) -> int:
        """Sessions, remembered ends of sessions, and addresses in memory."""
        tables = (self._new, self._timed, self._closed, self._buckets)
        return sum(len(table) for table in tables)

    def receive(self, datagram: bytes, source: Source, received_ns: int) -> bytes | Ready | None:
        """The answer to send at once, an opening to check, or None for silence."""
        if not self._allows(source, received_ns):
            self.counts["flood"] += 1
            return None
        self._forget(received_ns)
        try:
            message = ranging.decode(datagram)
        except Refused as refusal:
            self.counts[refusal.reason.value] += 1
            return None  # not even the session's id can be trusted
        match message:
            case Commit():
                return self._commit(message, source, len(datagram), received_ns)
            case Opening():
                return self._opening(message, source, len(datagram), received_ns)
            case Reply():
                self._reply(message, source, received_ns)
            case _:
                self.counts["unasked"] += 1
        return None

    def close(self, ready: Ready, outcome: Measured | Refused) -> bytes | None:
        """The answer to an opening that was checked; remembered, should it be asked for again."""
        if isinstance(outcome, Refused):
            result = Result(ready.opening.session, outcome.reason.value)
        else:
            result = Result(
                ready.opening.session, ranging.ACCEPTED, outcome.round_trip_us, outcome.probes
            )
        answer = self._answer(result, ready.size)
        self._remember((ready.source, ready.opening.session), answer)
        return answer

    # -- messages ------------------------------------------------------------------------------

    def _commit(self, message: Commit, source: Source, size: int, received_ns: int) -> bytes | None:
        try:
            return self._bounded(self._challenge(message, source, received_ns), size)
        except Refused as refusal:
            return self._answer(Result(message.session, refusal.reason.value), size)

    def _challenge(self, message: Commit, source: Source, received_ns: int) -> bytes:
        if message.epoch not in self.epochs:
            raise Refused(Reason.EPOCH_UNKNOWN, "neither the current nor the previous epoch")
        key = (source, message.session)
        if key in self._closed:
            raise Refused(Reason.RANGING_REPLAYED, "the session is over")
        found = self._timed.get(key) or self._new.get(key)
        if found is None:
            while len(self._new) >= self._limits.new_sessions:
                self._new.popitem(last=False)
            found = Session(self.landmark, message, received_ns), received_ns
            self._new[key] = found
        nonce = self._draw(ranging.NONCE_SIZE)
        return found[0].challenge(message, nonce, self._clock())

    def _reply(self, message: Reply, source: Source, received_ns: int) -> None:
        key = (source, message.session)
        found = self._timed.get(key) or self._new.get(key)
        if found is None:
            self.counts[Reason.RANGING_SESSION.value] += 1
            return
        try:
            if key in self._new and len(self._timed) >= self._limits.sessions:
                raise Refused(Reason.BUSY, "too many sessions are open")
            found[0].reply(message, received_ns)
        except Refused as refusal:
            self.counts[refusal.reason.value] += 1
            return
        if self._new.pop(key, None) is not None:
            self._timed[key] = found

    def _opening(
        self, message: Opening, source: Source, size: int, received_ns: int
    ) -> bytes | Ready | None:
        key = (source, message.session)
        if key in self._closed:
            return self._bounded(self._closed[key], size)
        found = self._timed.pop(key, None) or self._new.pop(key, None)
        if found is None:
            return self._answer(Result(message.session, Reason.RANGING_SESSION.value), size)
        self._remember(key, None)
        return Ready(source, found[0], message, received_ns, size)

    # -- bounds --------------------------------------------------------------------------------

    def _answer(self, result: Result, size: int) -> bytes | None:
        self.counts[result.word] += 1
        return self._bounded(ranging.encode(result), size)

    @staticmethod
    def _bounded(answer: bytes | None, size: int) -> bytes | None:
        """No answer is larger than its question: a forged sender gains nothing by us."""
        return None if answer is None or len(answer) > size else answer

    def _remember(self, key: tuple[Source, bytes], answer: bytes | None) -> None:
        self._closed[key] = answer
        self._closed.move_to_end(key)
        while len(self._closed) > self._limits.closed:
            self._closed.popitem(last=False)

    def _forget(self, now_ns: int) -> None:
        """Drop sessions whose time is over; the oldest stand in front."""
        for table, limit_ns in (
            (self._new, _NEW_SESSION_NS),
            (self._timed, ranging.MAX_OPENING_NS),
        ):
            while table:
                _, begun_ns = next(iter(table.values()))
                if now_ns - begun_ns <= limit_ns:
                    break
                table.popitem(last=False)

    def _allows(self, source: Source, now_ns: int) -> bool:
        network = _network(source[0])
        left, last_ns = self._buckets.pop(network, (float(self._limits.burst), now_ns))
        gained = max(0, now_ns - last_ns) / NS_PER_S * self._limits.rate
        left = min(float(self._limits.burst), left + gained)
        allowed = left >= 1.0
        self._buckets[network] = (left - 1.0 if allowed else left, now_ns)
        while len(self._buckets) > self._limits.sources:
            self._buckets.popitem(last=False)
        return allowed


class Collector:
    """Measured sessions until they are reported: the least of each chip in each epoch."""

    def __init__(self, limit: int) -> None:
        """``limit``: most chips in each of the two newest epochs; of others, nothing is kept."""
        self._limit = limit
        self._epochs: OrderedDict[bytes, dict[bytes, RangingRow]] = OrderedDict()

    def add(self, measured: Measured) -> None:
        """Keep what was measured, where it is less than what is there."""
        row = RangingRow(
            ueid=measured.ueid,
            round_trip_us=measured.round_trip_us,
            probes=measured.probes,
            transcript=measured.digest,
        )
        self.put(measured.epoch, [row])

    def put(self, epoch: bytes, rows: list[RangingRow]) -> None:
        """Keep rows of an epoch, as ``add`` does; also those that could not be sent."""
        if epoch not in self._epochs and len(self._epochs) == 2:
            self._epochs.popitem(last=False)
        kept = self._epochs.setdefault(epoch, {})
        for row in rows:
            before = kept.get(row.ueid)
            if before is None and len(kept) >= self._limit:
                continue
            if before is None or row.round_trip_us < before.round_trip_us:
                kept[row.ueid] = row

    def take(self) -> list[tuple[bytes, list[RangingRow]]]:
        """Everything in batches that fit a report, oldest epoch first; nothing is kept."""
        batches = []
        while self._epochs:
            epoch, kept = self._epochs.popitem(last=False)
            rows = list(kept.values())
            batches += [(epoch, rows[at : at + MAX_ROWS]) for at in range(0, len(rows), MAX_ROWS)]
        return batches

    def __len__(self) -> int:
        return sum(map(len, self._epochs.values()))


def _network(host: str) -> str:
    """The part of an address that one customer has: all of IPv4, the first half of IPv6."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is None:
        return str(int(address) >> (128 - _IPV6_NETWORK_BITS))
    return host
