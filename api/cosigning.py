"""Asks witnesses to cosign each checkpoint: beside the ledger's work, and never in its way.

Each witness has a thread of its own, so a slow one keeps nobody waiting, and is asked about the
newest checkpoint only: while it thinks, checkpoints may be published that it is never asked about.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from api.witness_client import WitnessAhead, WitnessClient, WitnessContradicts, WitnessError
from ledger.errors import ChipPassportError, ConfigurationError, IntegrityError, Refused
from ledger.log.cosignature import CosignatureVerifier, parse_vkey
from ledger.log.note import MAX_SIGNATURES
from ledger.log.vkey import Vkey
from ledger.service.cosigned import Published
from ledger.service.node import Node

START_S = 3.0
"""How long a start waits for the first answer of every witness; see ``Cosigning.start``."""
RETRY_S = 5.0
RENEW_S = 3_600.0
"""A checkpoint that stays the newest is cosigned again: its age says how fresh it is."""

_log = structlog.get_logger("api.cosigning")


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness's key and its submission prefix."""

    vkey: Vkey
    url: str

    @classmethod
    def parse(cls, text: str) -> "WitnessAddress":
        """From ``VKEY@URL``; ConfigurationError. A key's name may hold an @, its base64 never."""
        name, _, rest = text.partition("+")
        key, _, url = rest.partition("@")
        try:
            vkey = parse_vkey(f"{name}+{key}")
            CosignatureVerifier(vkey)
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
        except Refused as error:
            raise ConfigurationError(
                f"a witness is VKEY@URL, and its key one that cosigns: {error.detail}"
            ) from error
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError("a witness is VKEY@URL, with a URL of http or https")
        return cls(vkey, url)


def clients_of(witnesses: Sequence[WitnessAddress]) -> list[WitnessClient]:
    """A client for each URL; a witness with several keys answers with several signatures."""
    vkeys = [witness.vkey for witness in witnesses]
    if len({vkey.public_key for vkey in vkeys}) != len(vkeys):
        raise ConfigurationError("two witnesses have the same key")
    if len(vkeys) >= MAX_SIGNATURES:
        raise ConfigurationError(f"a checkpoint has room for {MAX_SIGNATURES - 1} witnesses")
    keys: dict[str, list[CosignatureVerifier]] = {}
    for witness in witnesses:
        url = witness.url.rstrip("/")
        keys.setdefault(url, []).append(CosignatureVerifier(witness.vkey))
    return [WitnessClient(url, verifiers) for url, verifiers in keys.items()]


def auditors_of(vkeys: Sequence[str], witnesses: int = 0) -> list[CosignatureVerifier]:
    """Auditors whose cosignatures are taken, by their keys, beside so many witnesses' keys.

    ConfigurationError, also where a checkpoint has no room for all.
    """
    try:
        found = [CosignatureVerifier(parse_vkey(text)) for text in vkeys]
    except Refused as error:
        raise ConfigurationError(
            f"an auditor is named by its key, one that cosigns: {error.detail}"
        ) from error
    if len({auditor.vkey.public_key for auditor in found}) != len(found):
        raise ConfigurationError("two auditors have the same key")
    if found and len(found) + witnesses >= MAX_SIGNATURES:
        room = MAX_SIGNATURES - 1
        raise ConfigurationError(f"a checkpoint has room for {room} witnesses and auditors")
    return found


class _Stopped(Exception):
    """There is no ledger to work for any more."""


class Cosigning:
    """The witnesses of one ledger."""

    def __init__(
        self,
        node: Node,
        clients: Sequence[WitnessClient],
        on_fatal: Callable[[BaseException], None],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        """``on_fatal`` is told once the ledger must not go on; ``stop`` closes the clients."""
        self._node = node
        self._on_fatal = on_fatal
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._using = threading.Lock()
        """Held while a witness's thread uses the node, so that none does once ``stop`` is over."""
        self._news = 0
        self._running = self._stopping = False
        self._fault: IntegrityError | None = None
        self._waiting = len(clients)
        """Witnesses that have not been asked yet."""
        self._clients = clients
        self._threads = [
            threading.Thread(target=self._loop, args=(client,), name="witness", daemon=True)
            for client in clients
        ]

    def start(self, wait_s: float = START_S) -> None:
        """Begin, and wait a little until every witness was asked once about the last checkpoint.

        A ledger that was put back from an old backup has to learn it before it signs anything: so
        this comes before the first checkpoint. Raises ConfigurationError where a witness knows
        more than the ledger. A witness that does not answer in time is no reason not to start.
        """
        self._node.on_checkpoint(self.wake)
        for thread in self._threads:
            thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._fault or not self._waiting, wait_s)
            fault = self._fault
            self._running = fault is None
        if fault is not None:
            self.stop()
            raise ConfigurationError(str(fault)) from fault

    def wake(self) -> None:
        """There is a new checkpoint."""
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End. A request under way is not waited for, and its answer is no longer looked at."""
        with self._using, self._changed:
            self._stopping = True
            self._changed.notify_all()
        for client in self._clients:
            client.close()

    def _loop(self, client: WitnessClient) -> None:
        state: str | None = None
        first = True
        while not self._stopping:
            with self._changed:
                news = self._news
            try:
                wait_s, said = self._ask(client)
            except _Stopped:
                return
            except IntegrityError as error:
                self._stop_for(error)
                return
            except Exception as error:
                shown = str(error) if isinstance(error, ChipPassportError) else ""
                wait_s, said = self._retry_s, f"{type(error).__name__}: {shown}"
            with self._changed:
                self._waiting -= first
                first = False
                if said != state and not self._stopping:
                    state = said
                    tell = _log.warning if said else _log.info
                    tell("witness", url=client.url, state=said or "cosigns")
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopping or self._news != news, wait_s)  # noqa: B023

    def _ask(self, client: WitnessClient) -> tuple[float, str]:
        """Ask about the newest checkpoint; how long to wait for the next, and what is wrong."""
        with self._node_in_use() as node:
            published = node.published()
        if published is None:
            return RENEW_S, ""
        prove = functools.partial(self._prove, published)
        try:
            lines = client.cosign(published.note, prove)
        except (WitnessAhead, WitnessContradicts) as error:
            with self._node_in_use() as node:
                newest = node.published() or published
                if isinstance(error, WitnessAhead) and error.witness_size <= newest.size:
                    return 0.0, ""  # another process of the ledger was quicker
                raise node.contradicted(client.url, str(error)) from error
        except WitnessError as error:
            return self._retry_s, str(error)
        vkeys = {(key.name, key.key_id): key.vkey.encode() for key in client.keys}
        signatures = {vkeys[line.name, line.key_id]: line.signature for line in lines}
        with self._node_in_use() as node:
            node.keep_cosignatures(published.size, signatures)
        return RENEW_S, ""

    def _prove(self, published: Published, old_size: int) -> list[bytes]:
        with self._node_in_use() as node:
            return node.extension_proof(old_size, published.size)

    @contextlib.contextmanager
    def _node_in_use(self) -> Iterator[Node]:
        """The node, which stays open meanwhile."""
        with self._using:
            if self._stopping:
                raise _Stopped
            yield self._node

    def _stop_for(self, error: IntegrityError) -> None:
        with self._changed:
            self._fault = error
            tells = self._running and not self._stopping  # else ``start`` raises it
            self._changed.notify_all()
        if tells:
            self._on_fatal(error)
