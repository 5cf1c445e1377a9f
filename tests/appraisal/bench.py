"""A ledger in memory with its verifier: what is put on the log, the verifier reads at once."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.case import Case, decode_case
from ledger.appraisal.rules import Context, Finding, appraise
from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.policy import Policy
from ledger.registry.records import Registry, Verdict
from tests.registry.bench import VERIFIER, Bench, founding
from tests.world import FRANKFURT, KUALA_LUMPUR, SINGAPORE, Chip

PARIS = (48.8566, 2.3522)
STRASBOURG = (48.5734, 7.7521)
BASEL = (47.5596, 7.5886)
NORTH_SEA = (54.5, 5.0)
TOKYO = (35.68, 139.69)
TABLE = {
    FRANKFURT: {"DE"},
    PARIS: {"FR"},
    STRASBOURG: {"DE", "FR"},
    BASEL: {"CH", "DE", "FR"},
    NORTH_SEA: {"DE", "NL", "DK"},
    SINGAPORE: {"SG"},
    KUALA_LUMPUR: {"MY"},
    TOKYO: {"JP"},
}
ANYWHERE = frozenset({"CN", "DE", "FR", "JP", "MY", "SG"})
NOWHERE_M = 10_000_000.0
"""An accuracy that says nothing."""


def places(latitude: float, longitude: float, accuracy_m: float) -> frozenset[str]:
    """Borders of a small world."""
    if accuracy_m > 1_000_000:
        return ANYWHERE
    return frozenset(TABLE[(latitude, longitude)])


@dataclass
class Court(Bench):
    """``drafts`` wait until ``file`` puts them on the log, at once where ``prompt`` is set."""

    verifier: Appraiser = field(default_factory=lambda: Appraiser(Registry(), places))
    log: list[LoggedEntry] = field(default_factory=list)
    drafts: list[st.Decision] = field(default_factory=list)
    outcome: list[list[st.Decision]] = field(default_factory=list)
    """What the verifier drafted on each entry."""
    prompt: bool = True
    careful: bool = False

    def put(self, token: bytes) -> Verdict:
        verdict = super().put(token)
        message = st.decode(token)
        leaf = sha256(b"leaf %d" % len(self.log)).digest()
        conflict = verdict.conflict is not None
        entry = LoggedEntry(len(self.log), leaf, self.now_ms, message, conflict)
        self.log.append(entry)
        made = self.verifier.feed(entry)
        self.outcome.append(made)
        self.drafts += made
        if self.prompt:
            self.file()
        return verdict

    def conflict(self, token: bytes, reason: Reason) -> Verdict:
        prompt, self.prompt = self.prompt, False
        verdict = super().conflict(token, reason)
        self.prompt = prompt
        if prompt:
            self.file()
        return verdict

    def file(self) -> list[st.Decision]:
        """Put the drafts on the log; those that the record has overtaken are dropped."""
        filed = []
        while self.drafts:
            draft = self.drafts.pop(0)
            try:
                self.put(st.sign(draft, VERIFIER))
                filed.append(draft)
            except Refused as refusal:
                if refusal.reason not in (Reason.DECISION_SEQUENCE, Reason.DECISION_TRANSITION):
                    raise
        return filed

    def hour(self, *chips: Chip, **changes: Any) -> list[st.Decision]:
        """An hour later these chips send a heartbeat; the decisions that follow."""
        return self.during(lambda: self._hour(*chips, **changes))

    def _hour(self, *chips: Chip, **changes: Any) -> None:
        self.tick()
        for chip in chips:
            self.put(self.beat(chip, **changes))

    def hours(self, count: int, *chips: Chip, **changes: Any) -> list[st.Decision]:
        """``hour`` again and again."""
        return [draft for _ in range(count) for draft in self.hour(*chips, **changes)]

    def during(self, step: Callable[[], object]) -> list[st.Decision]:
        """The drafts made during ``step``."""
        before = len(self.outcome)
        step()
        return [draft for drafts in self.outcome[before:] for draft in drafts]

    def release(self, chip: Chip) -> None:
        """An officer lets it go."""
        self.take(self.decision(chip, "release"))

    def amend(self, **changes: Any) -> list[st.Decision]:
        """The next policy: the last one with changes."""
        policy = self.registry.policy
        assert policy is not None
        fields = policy.model_dump() | {"version": policy.version + 1, "iat": self.world.iat}
        token = st.sign(Policy.model_validate(fields | changes), self.world.authority)
        return self.during(lambda: self.put(token))

    def case(self, chip: Chip) -> Case:
        """The verifier's file."""
        return self.verifier.cases[chip.ueid]

    def state(self, chip: Chip) -> str:
        """The chip's state on record, the same with the verifier."""
        state = self.record(chip).state
        assert self.verifier.registry.chip(chip.ueid).state is state
        return state.value

    def look(self, chip: Chip, **changes: Any) -> dict[str, Finding]:
        """What the rules would say about a heartbeat that is not sent."""
        kept = replace(chip)
        token = self.beat(chip, **changes)
        vars(chip).update(vars(kept))
        body = st.decode(token).body
        claim = body.location
        registry = self.verifier.registry
        assert registry.policy is not None
        context = Context(
            body,
            self.now_ms,
            registry.chip(chip.ueid),
            self.verifier.cases.get(chip.ueid) or Case(chip.ueid),
            registry.policy,
            registry,
            places(claim.latitude, claim.longitude, claim.accuracy_m),
        )
        return {finding.rule: finding for finding in appraise(context)}

    def restarted(self) -> Appraiser:
        """The verifier as it would be after a restart from what it stores."""
        cases = [decode_case(case.encode()) for case in self.verifier.cases.values()]
        return Appraiser(deepcopy(self.verifier.registry), places, cases, now_ms=self.now_ms)


def court(**policy: Any) -> Court:
    """A founded ledger and its verifier; ``policy`` changes the policy's members."""
    made = Court()
    for token in founding():
        made.take(token)
    made.epoch = made.registry.epochs[-1].id
    if policy:
        made.amend(**policy)
    return made


def installed(made: Court, number: int = 1) -> Chip:
    """A chip in service with the holder, in Frankfurt under L-1."""
    chip, world = made.world.chip(number), made.world
    made.take(world.birth(chip), world.ship(chip), world.receive(chip), world.install(chip))
    return chip
