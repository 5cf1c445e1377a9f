"""A ledger in memory on the client's interface: the real rules, the real verifier, no storage.

It answers truthfully: admission is ``ledger.registry``, judgement is ``ledger.appraisal``. Leaf
hashes are stand-ins (the SHA-256 of the token), since nobody here proves anything with them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from api.client import Directive as Order
from api.client import EpochInfo, Lease, RequestRefused, Result
from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.places import cached_places
from ledger.errors import Reason, Refused
from ledger.geo.borders import Borders
from ledger.protocol import statements as st
from ledger.protocol.keys import Ed25519Signer
from ledger.protocol.statements import Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import judge
from ledger.registry.records import Registry


class LedgerPeer:
    """One ledger, always at the moment that its clock shows."""

    def __init__(self, mode: str = "simulated", now_ms: int = 0) -> None:
        self.mode, self.now_ms = mode, now_ms
        self.registry = Registry()
        self.tokens: list[bytes] = []
        """Every heartbeat as it was sent, in order."""
        self.log: list[tuple[Message, int, bool]] = []
        """Entries: message, received time, whether it is on record as a conflict."""
        self.clock_moves: list[int] = []
        self.kinds: Counter[str] = Counter()
        self._ledger = Ed25519Signer.from_seed(sha256(b"peer ledger").digest())
        self._verifier = Ed25519Signer.from_seed(sha256(b"peer verifier").digest())
        self._appraiser = Appraiser(Registry(), cached_places(Borders.load()))
        self._followed = 0
        self._decisions: list[dict[str, Any]] = []

    # -- the client's interface -----------------------------------------------------------------

    def ledger(self) -> dict[str, Any]:
        genesis = self.registry.genesis
        return {
            "genesis": None if genesis is None else "ab" * 32,
            "clock": {"mode": self.mode, "now_ms": self.now_ms},
            "ledger_key": self._ledger.public.to_cose_key().hex(),
            "verifier_key": self._verifier.public.to_cose_key().hex(),
        }

    def set_clock(self, now_ms: int) -> None:
        assert now_ms >= self.now_ms
        self.clock_moves.append(now_ms)
        self._follow()
        self.now_ms = now_ms
        self._open_epoch()
        self._follow()

    def epoch(self) -> EpochInfo:
        epoch = self.registry.epoch
        assert epoch is not None
        return EpochInfo(epoch.id, epoch.counter, epoch.not_before_ms, epoch.not_after_ms, b"")

    def post_heartbeats(self, tokens: Sequence[bytes]) -> list[Result]:
        self.tokens += tokens
        return [self._take(token, Kind.HEARTBEAT) for token in tokens]

    def post_statements(self, tokens: Sequence[bytes]) -> list[Result]:
        results = [self._take(token, None) for token in tokens]
        self._open_epoch()
        return results

    def device(self, ueid: str) -> dict[str, Any]:
        chip = self.registry.find_chip(bytes.fromhex(ueid))
        if chip is None:
            raise RequestRefused("chip-unknown: no such chip", reason=Reason.CHIP_UNKNOWN)
        case = self._appraiser.cases.get(chip.ueid)
        return {
            "ueid": ueid,
            "key": chip.key.thumbprint.hex(),
            "state": chip.state.value,
            "flags": [] if case is None else case.flags,
        }

    def devices(self) -> Iterator[dict[str, Any]]:
        return (self.device(ueid.hex()) for ueid in sorted(self.registry.chips))

    def decisions(self, *, ueid: str | None = None) -> Iterator[dict[str, Any]]:
        return (item for item in self._decisions if ueid in (None, item["ueid"]))

    def checkpoint(self) -> bytes:
        return f"peer.example\n{len(self.log)}\ncm9vdA==\n\n— peer.example c2ln\n".encode()

    # -- behind it ------------------------------------------------------------------------------

    def _take(self, token: bytes, expect: Kind | None) -> Result:
        try:
            message = st.decode(token, expect=expect)
            message.verify(self.registry.key_for(message))
            verdict = judge(self.registry, message, self.now_ms)
        except Refused as refusal:
            return Result("refused", reason=refusal.reason, detail=refusal.detail)
        apply(self.registry, message, verdict, self.now_ms)
        self.log.append((message, self.now_ms, verdict.conflict is not None))
        self.kinds[message.kind] += 1
        if message.kind is Kind.DECISION:
            self._list(message)
        if verdict.conflict is not None:
            reason, order = verdict.conflict.value, self._order(message)
            return Result("recorded", reason=reason, detail=verdict.detail, directive=order)
        lease = Lease(sha256(token).digest()[:16], self.now_ms + 86_400_000)
        return Result("accepted", lease=lease, directive=self._order(message))

    def _order(self, message: Message) -> Order | None:
        if message.kind is not Kind.HEARTBEAT:
            return None
        mine = [item for item in self._decisions if item["ueid"] == message.body.ueid.hex()]
        if not mine:
            return None
        last = mine[-1]
        return Order(last["sequence"], last["action"], bytes.fromhex(last["digest"]))

    def _list(self, message: Message) -> None:
        item = message.body.model_dump()
        item |= {name: item[name].hex() for name in ("ueid", "policy", "previous", "key")}
        item |= {"digest": message.digest.hex(), "leaf_hash": message.digest.hex()}
        self._decisions.append(item)

    def _open_epoch(self) -> None:
        genesis, last = self.registry.genesis, self.registry.epoch
        if genesis is None or (last is not None and self.now_ms < last.not_after_ms):
            return
        counter, length_ms = (0 if last is None else last.counter + 1), genesis.epoch_s * 1000
        begin = self.now_ms - self.now_ms % length_ms
        body = st.Epoch(
            iat=self.now_ms // 1000,
            id=sha256(f"peer epoch {counter}".encode()).digest()[:16],
            counter=counter,
            not_before_ms=begin,
            not_after_ms=begin + length_ms,
        )
        assert self._take(st.sign(body, self._ledger), Kind.EPOCH).status == "accepted"

    def _follow(self) -> None:
        """Let the verifier read on, its own decisions included."""
        while self._followed < len(self.log):
            message, received_ms, conflict = self.log[self._followed]
            entry = LoggedEntry(
                self._followed, message.digest, received_ms, message, conflict=conflict
            )
            self._followed += 1
            for draft in self._appraiser.feed(entry):
                self._take(st.sign(draft, self._verifier), Kind.DECISION)
