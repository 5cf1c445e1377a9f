"""A registry in memory that takes statements as a ledger does, without log and database."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

import pytest

from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.keys import Ed25519Signer
from ledger.protocol.statements import Message
from ledger.registry.apply import apply
from ledger.registry.judge import judge
from ledger.registry.records import Chip as Record
from ledger.registry.records import Registry, Verdict
from tests.world import Chip, World, signer

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LEDGER, VERIFIER = signer("ledger"), signer("verifier")
PARTIES: tuple[tuple[str, list[str], str], ...] = (
    ("carrier", ["carrier"], "NL"),
    ("rival", ["custodian"], "DE"),
    ("mixed", ["carrier", "custodian"], "DE"),
    ("beacon", ["landmark"], "DE"),
)


@dataclass
class Bench:
    """World and registry. Each ``take`` authenticates, judges and applies."""

    world: World = field(default_factory=World)
    registry: Registry = field(default_factory=Registry)
    epoch: bytes = b""
    careful: bool = True
    """Look each time whether judging has left everything as it was."""

    @property
    def now_ms(self) -> int:
        """The present."""
        return self.world.now_ms

    def judge(self, token: bytes) -> tuple[Message, Verdict]:
        """What the registry says, which has to leave it as it is."""
        message = st.decode(token)
        message.verify(self.registry.key_for(message))
        if not self.careful:
            return message, judge(self.registry, message, self.now_ms)
        before = state_of(self.registry)
        try:
            return message, judge(self.registry, message, self.now_ms)
        finally:
            assert state_of(self.registry) == before

    def put(self, token: bytes) -> Verdict:
        """Judge and apply."""
        message, verdict = self.judge(token)
        apply(self.registry, message, verdict, self.now_ms)
        return verdict

    def take(self, *tokens: bytes) -> None:
        """Tokens that all have to be accepted."""
        for token in tokens:
            assert self.put(token).conflict is None

    def conflict(self, token: bytes, reason: Reason) -> Verdict:
        """A token that has to go on record as a conflict, and to change nothing but the tally."""
        before = state_of(self.registry)
        verdict = self.put(token)
        assert verdict.conflict is reason
        assert state_of(self.registry, tallies=False) == without_tallies(before)
        return verdict

    def tick(self, hours: float = 1) -> bytes:
        """Let time pass and open the next epoch."""
        self.world.now_ms += int(hours * HOUR_MS)
        self.take(self.epoch_token())
        return self.epoch

    def epoch_token(self, by: Ed25519Signer = LEDGER, **changes: Any) -> bytes:
        """The next epoch, an hour from now on."""
        last = self.registry.epoch
        counter = 0 if last is None else last.counter + 1
        self.epoch = changes.get("id", sha256(b"epoch %d" % counter).digest()[:16])
        fields: dict[str, Any] = {
            "iat": self.world.iat,
            "id": self.epoch,
            "counter": counter,
            "not_before_ms": self.now_ms,
            "not_after_ms": self.now_ms + HOUR_MS,
        }
        return st.sign(st.Epoch(**fields | changes), by)

    def party(self, name: str, roles: list[str], country: str = "DE", **changes: Any) -> bytes:
        """A party whose key derives from its id."""
        fields: dict[str, Any] = {
            "iat": self.world.iat,
            "id": name,
            "name": name.title(),
            "roles": roles,
            "country": country,
            "key": signer(name).public.to_cose_key(),
        }
        return st.sign(st.PartyStatement(**fields | changes), self.world.authority)

    def directory(self, **changes: Any) -> bytes:
        """Version 1 of the landmark directory: beacon, in Frankfurt."""
        return self.world.directory(**changes)

    def report(self, *chips: Chip, by: Ed25519Signer | None = None, **changes: Any) -> bytes:
        """What beacon measured of chips in the newest epoch."""
        return self.world.report(changes.pop("epoch", self.epoch), *chips, by=by, **changes)

    def retire(self, *chips: Chip, by: Ed25519Signer | None = None) -> bytes:
        """By the holder."""
        body = st.Retire(iat=self.world.iat, chips=[chip.ueid for chip in chips], cause="worn out")
        return st.sign(body, by or self.world.holder)

    def decision(self, chip: Chip, action: str, **changes: Any) -> bytes:
        """The chip's next decision, by whoever may take it."""
        record = self.record(chip)
        by = changes.pop("by", None) or (self.world.officer if action == "release" else VERIFIER)
        fields: dict[str, Any] = {
            "iat": self.world.iat,
            "action": action,
            "ueid": chip.ueid,
            "key": chip.signer.public.thumbprint,
            "sequence": record.decision_sequence + 1,
            "previous": record.decision_digest,
            "rules": [],
            "reasons": ["a reason"],
            "evidence": [],
            "policy": self.registry.policy_digest,
            "issued_ms": self.now_ms,
            "effective_ms": self.now_ms,
            "appeal": "to authority",
        }
        return st.sign(st.Decision(**fields | changes), by)

    def beat(self, chip: Chip, **changes: Any) -> bytes:
        """The chip's next heartbeat in the newest epoch."""
        return chip.heartbeat(changes.pop("epoch", self.epoch), self.now_ms, **changes)

    def record(self, chip: Chip) -> Record:
        """The chip's record."""
        return self.registry.chip(chip.ueid)


def founded() -> Bench:
    """A bench with genesis, parties, policy, licence L-1 and the first epoch."""
    bench = Bench()
    for token in founding():
        bench.take(token)
    bench.epoch = bench.registry.epochs[-1].id
    return bench


@cache
def founding(**policy: Any) -> tuple[bytes, ...]:
    """The statements that make a ledger ready for its first birth."""
    bench = Bench()
    world = bench.world
    return (
        world.genesis(LEDGER.public.to_cose_key(), VERIFIER.public.to_cose_key()),
        *world.parties(),
        *(bench.party(*row) for row in PARTIES),
        world.policy(**policy),
        world.licence(),
        bench.epoch_token(),
    )


def born(bench: Bench, number: int = 1) -> Chip:
    """A chip that its maker has registered."""
    chip = bench.world.chip(number)
    bench.take(bench.world.birth(chip))
    return chip


def installed(bench: Bench, number: int = 1) -> Chip:
    """A chip in service with the holder, in Frankfurt under L-1."""
    chip, world = born(bench, number), bench.world
    bench.take(world.ship(chip), world.receive(chip), world.install(chip))
    return chip


def state_of(registry: Registry, tallies: bool = True) -> dict[str, Any]:
    """Everything that a registry knows, as a value of its own."""
    state = {name: deepcopy(value) for name, value in vars(registry).items()}
    return state if tallies else without_tallies(state)


def without_tallies(state: dict[str, Any]) -> dict[str, Any]:
    """A state with all conflict tallies at zero."""
    state = deepcopy(state)
    for record in [*state["parties"].values(), *state["chips"].values()]:
        record.conflicts, record.conflict_epoch = 0, -1
    for chip in state["chips"].values():
        chip.forks = 0
    return state


@contextmanager
def refuses(reason: Reason, field: str | None = None) -> Iterator[None]:
    """Expect a refusal for this reason."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.reason is reason
    if field is not None:
        assert caught.value.field == field
