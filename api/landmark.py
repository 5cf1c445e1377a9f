"""A landmark over UDP: it ranges with chips and files what it measured as ranging reports.

One thread answers datagrams; another one asks the ledger and checks signatures, so that neither
adds to a round trip that is being timed. What they do add, wherever they stand in each other's
way, only lengthens it.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from api import client_errors
from api.client import AnswerInvalid, Client, ClientError, RequestRefused
from api.landmark_desk import NS_PER_S, Collector, Desk, Limits, Ready
from api.listening import STOP_SIGNALS
from ledger.errors import ConfigurationError, Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.keys import PublicKey, SigningKey
from ledger.protocol.landmarks import RangingRow
from ledger.protocol.ranging import Measured
from ledger.protocol.ranging_rows import make_report
from ledger.protocol.statements import Kind

REFRESH_S = 10.0
NEWS_S = 1.0
"""A chip that names an unknown epoch may be ahead of us: the ledger is asked then, this often."""
REPORT_S = 60.0
MAX_CHECKS = 256
"""Openings that may wait for their check; who comes on top is told to come again."""
CACHED_KEYS = 16_384
_KEEP = frozenset((Reason.DIRECTORY_VERSION.value, Reason.BUSY.value, Reason.STORAGE.value))
"""Refusals after which the same rows may still be taken in another report."""

_log = structlog.get_logger("api.landmark")


def raw_clock_ns() -> int:
    """A clock that nobody sets or slews, where the system has one: a slewed clock may run slow by
    percents for a while, and so make round trips shorter than they were."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    return time.perf_counter_ns() if raw is None else time.clock_gettime_ns(raw)


class Ledger(Protocol):
    """What a landmark needs of a ledger. Each may raise ClientError."""

    def refresh(self) -> tuple[frozenset[bytes], int | None]:
        """Ids of epochs that are ranged for; the directory's version, None if it is not in it."""

    def find_key(self, ueid: bytes) -> PublicKey | None:
        """The heartbeat key of a chip, or None for one that nobody registered."""

    def file(self, epoch: bytes, rows: list[RangingRow], directory: int) -> str | None:
        """File a report; None when it was taken, else the reason code."""


@dataclass(slots=True)
class LedgerLink:
    """A ledger behind its HTTP interface. Not for use by several threads at once.

    The client's access token has to let it see chips' birth statements (an auditor's does).
    """

    client: Client
    landmark: str
    signer: SigningKey
    _epochs: list[bytes] = field(default_factory=list)
    _keys: OrderedDict[bytes, PublicKey] = field(default_factory=OrderedDict)

    def refresh(self) -> tuple[frozenset[bytes], int | None]:
        """See ``Ledger``; the epoch before is one that was seen."""
        current = self.client.epoch().id
        if current not in self._epochs:
            self._epochs = [*self._epochs[-1:], current]
        return frozenset(self._epochs), self._directory()

    def _directory(self) -> int | None:
        try:
            found = self.client.landmarks()
        except RequestRefused as error:
            if error.reason != Reason.LANDMARK_UNKNOWN.value:
                raise
            return None
        with client_errors.reading():
            listed = {entry["id"]: entry["suspended"] for entry in found["landmarks"]}
            return int(found["version"]) if listed.get(self.landmark, "absent") is None else None

    def find_key(self, ueid: bytes) -> PublicKey | None:
        """See ``Ledger``. From the chip's first entry, which is its birth."""
        if ueid in self._keys:
            self._keys.move_to_end(ueid)
            return self._keys[ueid]
        try:
            first = next(self.client.history(ueid, page=1), None)
        except RequestRefused as error:
            if error.reason != Reason.CHIP_UNKNOWN.value:
                raise
            first = None
        if first is None:
            return None
        with client_errors.reading():
            index = int(first["index"])
        (token,) = self.client.statements(index, 1) or (None,)
        if token is None:
            raise ClientError(
                "the birth statement is not shown: it is not published yet, or the access token "
                "may not read it"
            )
        try:
            born: st.Birth = st.decode(token, expect=Kind.BIRTH).body
            key = PublicKey.from_cose_key(born.key)
        except Refused as error:
            raise AnswerInvalid(f"entry {index} is no birth statement: {error}") from error
        if born.ueid != ueid:
            raise AnswerInvalid(f"entry {index} is another chip's birth")
        self._keys[ueid] = key
        while len(self._keys) > CACHED_KEYS:
            self._keys.popitem(last=False)
        return key

    def file(self, epoch: bytes, rows: list[RangingRow], directory: int) -> str | None:
        """See ``Ledger``. Dated by the ledger's clock where that is simulated."""
        clock = self.client.clock()
        now_s = clock["now_ms"] // 1_000 if clock["mode"] == "simulated" else int(time.time())
        report = make_report(now_s, self.landmark, epoch, directory, rows, self.signer)
        (result,) = self.client.post_statements([st.sign(report, self.signer)])
        return None if result.accepted else result.reason or result.status


@dataclass(frozen=True, slots=True)
class TranscriptFolder:
    """Keeps what chips signed, one CBOR sequence (RFC 8742) for each epoch: ``<id>.cborseq``.

    A report has only their digests; whoever doubts a row is shown the transcript. Old files are
    for the operator to remove.
    """

    folder: Path

    def keep(self, measured: Measured) -> None:
        """Append one transcript; raises OSError."""
        with (self.folder / f"{measured.epoch.hex()}.cborseq").open("ab") as file:
            file.write(measured.token)


@dataclass(frozen=True, slots=True)
class LandmarkSettings:
    """How a landmark runs; times in seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    report_s: float = REPORT_S
    transcripts: TranscriptFolder | None = None
    refresh_s: float = REFRESH_S
    news_s: float = NEWS_S
    limits: Limits = field(default_factory=Limits)


class Landmark:
    """A landmark at work. ``run`` blocks until a signal or ``stop``."""

    def __init__(
        self,
        ident: str,
        ledger: Ledger,
        settings: LandmarkSettings,
        draw: Callable[[int], bytes],
        clock: Callable[[], int] = raw_clock_ns,
    ) -> None:
        """``draw`` gives unforeseeable bytes; ``clock`` nanoseconds that nobody adjusts."""
        self.desk = Desk(ident, draw, clock, settings.limits)
        self.collected = Collector(settings.limits.chips)
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._directory: int | None = None
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="landmark")
        self._checks = 0
        self._refreshed_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def run(self, on_ready: Callable[[str, int], None]) -> None:
        """Serve; ``on_ready`` is told address and port. Files what is left before it returns."""
        asyncio.run(self._run(on_ready))

    def stop(self) -> None:
        """End ``run`` from any thread."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _run(self, on_ready: Callable[[str, int], None]) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        host, port = self._settings.host, self._settings.port
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Endpoint(self), local_addr=(host, port)
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host} port {port}: {error.strerror or error}"
            ) from error
        for number in STOP_SIGNALS:
            with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, self._stopping.set)
        try:
            await self._refresh()
            on_ready(*transport.get_extra_info("sockname")[:2])
            async with asyncio.TaskGroup() as group:
                for seconds, step in (
                    (self._settings.refresh_s, self._refresh),
                    (self._settings.report_s, self.report),
                ):
                    group.create_task(_every(seconds, step, self._stopping))
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.report()
        finally:
            transport.close()
            for number in STOP_SIGNALS:
                with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
                    loop.remove_signal_handler(number)
            self._asker.shutdown()
            _log.info("stopped", datagrams=dict(self.desk.counts))

    async def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._asker, call, *arguments)

    async def _refresh(self) -> None:
        self._refreshed_ns = self._clock()
        try:
            self.desk.epochs, version = await self._ask(self._ledger.refresh)
        except ClientError as error:
            _log.warning("the ledger was not asked", detail=str(error))
            return
        if version is None and self._directory is not None:
            _log.warning("not in the landmark directory: nothing is filed")
        self._directory = version

    async def report(self) -> None:
        """File everything that was measured; what cannot be filed now is kept for the next time."""
        if self._directory is None:
            return
        for epoch, rows in self.collected.take():
            try:
                reason = await self._ask(self._ledger.file, epoch, rows, self._directory)
            except ClientError as error:
                _log.warning("a report was not filed", detail=str(error), rows=len(rows))
                self.collected.put(epoch, rows)
                continue
            if reason is None:
                _log.info("filed", epoch=epoch.hex(), rows=len(rows))
            elif reason in _KEEP:
                self.collected.put(epoch, rows)
                await self._refresh()
            else:
                _log.error("a report was refused", reason=reason, rows=len(rows))

    # -- openings ------------------------------------------------------------------------------

    def begin_check(self, ready: Ready, send: Callable[[bytes], None]) -> None:
        """Check an opening apart from the datagrams, then ``send`` its result."""
        if self._checks >= MAX_CHECKS:
            self._end(ready, Refused(Reason.BUSY, "too many openings wait"), send)
            return
        self._checks += 1
        self._start(self._check(ready, send))

    def _start(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, ready: Ready, send: Callable[[bytes], None]) -> None:
        try:
            outcome = await self._ask(self._open, ready)
        finally:
            self._checks -= 1
        if isinstance(outcome, Measured):
            self.collected.add(outcome)
        self._end(ready, outcome, send)

    def _open(self, ready: Ready) -> Measured | Refused:
        try:
            found = ready.session.open(ready.opening, self._ledger.find_key, ready.received_ns)
            if self._settings.transcripts is not None:
                self._settings.transcripts.keep(found)
            return found
        except Refused as refusal:
            return refusal
        except OSError as error:
            _log.error("a transcript was not kept, and so its session not either", why=str(error))
            return Refused(Reason.STORAGE, "the transcript was not kept")
        except ClientError as error:
            _log.warning("no key was found", detail=str(error))
            return Refused(Reason.BUSY, "the ledger does not answer")

    def _end(
        self, ready: Ready, outcome: Measured | Refused, send: Callable[[bytes], None]
    ) -> None:
        answer = self.desk.close(ready, outcome)
        if answer is not None:
            send(answer)

    def receive(self, datagram: bytes, address: Any, send: Callable[[bytes, Any], None]) -> None:
        """Take one datagram; the clock is read before anything else."""
        now_ns = self._clock()
        unknown = self.desk.counts[Reason.EPOCH_UNKNOWN.value]
        answer = self.desk.receive(datagram, (address[0], address[1]), now_ns)
        if isinstance(answer, bytes):
            send(answer, address)
        elif answer is not None:
            self.begin_check(answer, lambda wire: send(wire, address))
        if self.desk.counts[Reason.EPOCH_UNKNOWN.value] > unknown:
            self._look_for_news(now_ns)

    def _look_for_news(self, now_ns: int) -> None:
        if now_ns - self._refreshed_ns >= self._settings.news_s * NS_PER_S:
            self._refreshed_ns = now_ns
            self._start(self._refresh())


async def _every(seconds: float, step: Callable[[], Any], stopping: asyncio.Event) -> None:
    """Take a step time and again until ``stopping``; one that has begun is finished, since what a
    report has taken would be lost with it."""
    while not stopping.is_set():
        try:
            await asyncio.wait_for(stopping.wait(), seconds)
        except TimeoutError:
            await step()


class _Endpoint(asyncio.DatagramProtocol):
    """Hands datagrams to the landmark and takes answers back."""

    def __init__(self, landmark: Landmark) -> None:
        self._landmark = landmark
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._landmark.receive(data, addr, self._send)

    def error_received(self, exc: Exception) -> None:
        _log.debug("a datagram was not delivered", detail=str(exc))

    def _send(self, data: bytes, address: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)
