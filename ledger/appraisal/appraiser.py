"""The verifier: entries in, decisions out.

``Appraiser`` reads the log in order and drafts decisions. It is a pure machine: its only clock is
the entries' received time, so the same log gives the same drafts on any machine. It keeps a
registry of its own, built from the entries it has read, and one case per chip.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.appraisal.case import Case
from ledger.appraisal.places import Places
from ledger.appraisal.rules import (
    Context,
    Finding,
    Tier,
    appraise,
    fix_from,
    licence_finding,
    seen_from,
)
from ledger.errors import IntegrityError, Reason
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.policy import Policy
from ledger.protocol.statements import Action, Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import contradiction
from ledger.registry.records import Chip, ChipState, Registry, Verdict, state_after
from ledger.values import MILLIS_PER_DAY, MILLIS_PER_HOUR, SubjectKind

MAX_REASON = 500
MAX_EVIDENCE = 32
"""What a decision has room for (``Decision.reasons``, ``Decision.evidence``)."""


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """One entry as the verifier reads it; ``conflict``: it was filed as a contradiction."""

    index: int
    leaf_hash: bytes
    received_ms: int
    message: Message
    conflict: bool = False


class Appraiser:
    """State of the verifier after some prefix of the log.

    To go on after a restart it takes the registry and the cases as they stood after the last entry
    it was fed, and that entry's received time: silences due by then have been dealt with.
    """

    def __init__(
        self,
        registry: Registry,
        places: Places,
        cases: Iterable[Case] = (),
        *,
        now_ms: int = 0,
    ) -> None:
        self.registry = registry
        self.cases: dict[bytes, Case] = {case.ueid: case for case in cases}
        self.dirty: set[bytes] = set()
        """UEIDs whose case or record has changed since the caller last cleared this."""
        self._places = places
        self._timers: list[tuple[int, bytes]] = []
        self._armed: dict[bytes, int] = {}
        for case in self.cases.values():
            self._arm(case, after_ms=now_ms)

    def feed(self, entry: LoggedEntry) -> list[st.Decision]:
        """Take one entry; returns the decisions that it makes due, silence before the entry."""
        drafts = self._silences(entry.received_ms)
        message = entry.message
        if entry.conflict:
            drafts += self._on_conflict(entry)
        elif message.kind is Kind.HEARTBEAT:
            drafts += self._on_heartbeat(entry)
        else:
            apply(self.registry, message, _ACCEPTED, entry.received_ms)
            if message.kind is Kind.DECISION:
                self._on_decision(entry)
            elif message.kind in _CUSTODY:
                drafts += self._on_custody(entry)
            elif message.kind is Kind.BIRTH:
                self.dirty.add(message.body.ueid)
            elif message.kind is Kind.POLICY:
                drafts += self._rearm(entry.received_ms)
        return drafts

    def advance(self, now_ms: int) -> list[st.Decision]:
        """The decisions that silence makes due by ``now_ms``; for who reads one chip's entries.

        In the whole log any entry moves the time on.
        """
        return self._silences(now_ms)

    @property
    def next_ms(self) -> int:
        """Ledger time before which silence changes nothing; far ahead where none is watched."""
        return self._timers[0][0] if self._timers else _NEVER_MS

    # -- entries ----------------------------------------------------------------------------

    def _on_heartbeat(self, entry: LoggedEntry) -> list[st.Decision]:
        body = entry.message.body
        chip = self.registry.chip(body.ueid)
        case = self._case(chip.ueid)
        claim = body.location
        context = Context(
            body,
            entry.received_ms,
            chip,
            case,
            self._policy,
            self.registry,
            self._places(claim.latitude, claim.longitude, claim.accuracy_m),
        )
        findings = appraise(context)
        apply(self.registry, entry.message, _ACCEPTED, entry.received_ms)
        case.seen = seen_from(context, entry.leaf_hash)
        case.fix = fix_from(context) or case.fix
        case.silent = case.owes_report = False
        owes_next = chip.consignee is None and not chip.retired
        case.expected_since_ms = entry.received_ms if owes_next else 0
        self._arm(case)
        self._take(case, findings, entry)
        return self._decide(chip, case, entry.received_ms)

    def _on_conflict(self, entry: LoggedEntry) -> list[st.Decision]:
        """Authentic contradictions: of a chip's own counter, or of what others filed about it."""
        verdict = contradiction(self.registry, entry.message, entry.received_ms)
        if verdict.conflict is None:
            raise IntegrityError(f"entry {entry.index} is filed as a conflict and is none")
        apply(self.registry, entry.message, verdict, entry.received_ms)
        if entry.message.kind is Kind.HEARTBEAT:
            words = f"{verdict.conflict}: {verdict.detail}"
            chip = self.registry.chip(entry.message.body.ueid)
            case = self._case(chip.ueid)
            if _proves_two(chip, verdict.conflict, entry.message.body, self.registry.epochs):
                case.record_fork(entry.leaf_hash)
            case.clean_run = 0
            case.tiers["continuity"] = int(Tier.CONTRAINDICATED)
            case.record("continuity", entry.leaf_hash, words[:MAX_REASON])
            return self._decide(chip, case, entry.received_ms)
        for kind, ident in verdict.subjects:
            if kind is SubjectKind.CHIP and self.registry.find_chip(ident) is not None:
                # What others claim about a chip makes it suspect; it never convicts it, and
                # never softens or words what its own heartbeats say.
                case = self._case(ident)
                rule = "identity" if entry.message.kind is Kind.BIRTH else "custody-place"
                case.tiers[rule] = max(case.tiers.get(rule, 0), int(Tier.WARNING))
                case.suspect = True
        return []

    def _on_custody(self, entry: LoggedEntry) -> list[st.Decision]:
        drafts = []
        for ueid in entry.message.body.chips:
            chip = self.registry.chip(ueid)
            case = self._case(ueid)
            self._expect(chip, case, entry)
            finding = licence_finding(self.registry, chip, entry.received_ms)
            if finding is not None and entry.message.kind in (Kind.RECEIVE, Kind.INSTALL):
                self._note(case, finding, entry.leaf_hash)
                drafts += self._decide(chip, case, entry.received_ms)
        return drafts

    def _on_decision(self, entry: LoggedEntry) -> None:
        body: st.Decision = entry.message.body
        case = self._case(body.ueid)
        case.pending = 0
        action = Action(body.action)
        if action is Action.HOLD:
            case.held_rules, case.held_ms = tuple(body.rules), entry.received_ms
        elif action is Action.RELEASE:
            case.release()
            if case.expected_since_ms:
                case.expected_since_ms = entry.received_ms
                self._arm(case)

    def _expect(self, chip: Chip, case: Case, entry: LoggedEntry) -> None:
        """Papers that start or stop the clock of silence.

        An installed chip owes heartbeats; on its way or retired it owes none. Papers alone never
        win time: a second installation does not start the clock anew, and a shipment stops it only
        for a chip that has reported since it was installed.
        """
        kind = entry.message.kind
        if kind is Kind.INSTALL:
            case.owes_report = True
            if not case.expected_since_ms:
                case.expected_since_ms = entry.received_ms
                self._arm(case)
        elif chip.retired or (kind is Kind.SHIP and not case.owes_report and not case.silent):
            case.expected_since_ms = 0

    # -- judgement --------------------------------------------------------------------------

    def _take(self, case: Case, findings: list[Finding], entry: LoggedEntry) -> None:
        """Count what a heartbeat's findings mean for the chip.

        A heartbeat is clean if no rule is contraindicated and none that has failed before only
        warns: "cannot tell" must not wipe out what was told.
        """
        case.tiers = {finding.rule: int(finding.tier) for finding in findings}
        failed = doubtful = False
        for finding in findings:
            if finding.tier is Tier.CONTRAINDICATED:
                failed = True
                case.record(finding.rule, entry.leaf_hash, finding.words[:MAX_REASON])
            elif finding.tier is Tier.WARNING and finding.rule in case.failures:
                doubtful = True
            if finding.rule == "location-claim":
                self._take_place(case, finding, entry.received_ms)
        if failed:
            case.clean_run = 0
        elif not doubtful:
            case.clean_run += 1
        if case.clean_run >= self._policy.clear_after and (case.failures or case.suspect):
            case.clear()

    @staticmethod
    def _take_place(case: Case, finding: Finding, received_ms: int) -> None:
        """Follow how long the claims have been unclear, or outside."""
        case.unclear_run = case.unclear_run + 1 if finding.unclear else 0
        if finding.tier is Tier.AFFIRMING:
            case.outside_since_ms = 0
        elif not finding.unclear:
            case.outside_since_ms = case.outside_since_ms or received_ms

    def _note(self, case: Case, finding: Finding, leaf_hash: bytes) -> None:
        case.tiers[finding.rule] = int(finding.tier)
        if finding.tier is Tier.CONTRAINDICATED:
            case.clean_run = 0
            case.record(finding.rule, leaf_hash, finding.words[:MAX_REASON])

    def _decide(self, chip: Chip, case: Case, at_ms: int) -> list[st.Decision]:
        """Hold or revoke where the policy's conditions are met and nothing is pending."""
        policy = self._policy
        if case.pending:
            return []
        if 0 < policy.revoke_after_forks <= case.forks and _allows(chip, Action.REVOKE):
            words = f"continuity: {case.forks} recorded conflicts prove that its key lives twice"
            case.evidence["continuity"] = list(case.fork_evidence)
            return [self._draft(chip, case, Action.REVOKE, ["continuity"], [words], at_ms)]
        days = self._days_held_outside(chip, case)
        if 0 < policy.revoke_after_held_d <= days:
            words = f"location-claim: for {days} days held and still {case.words['location-claim']}"
            words_list = [words[:MAX_REASON]]
            return [self._draft(chip, case, Action.REVOKE, ["location-claim"], words_list, at_ms)]
        rules = [
            rule
            for rule, count in sorted(case.failures.items())
            if 0 < policy.hold_after.get(rule, 0) <= count  # type: ignore[call-overload]
        ]
        if rules and _allows(chip, Action.HOLD):
            words_list = [f"{rule}: {case.words[rule]}"[:MAX_REASON] for rule in rules]
            return [self._draft(chip, case, Action.HOLD, rules, words_list, at_ms)]
        return []

    @staticmethod
    def _days_held_outside(chip: Chip, case: Case) -> int:
        """Days from the hold for its place to the last report, all from outside; else 0.

        Unclear claims neither prove nor end it; one claim inside starts the count anew.
        """
        outside = case.tiers.get("location-claim") == Tier.CONTRAINDICATED and not case.unclear_run
        if chip.state is not ChipState.HELD or "location-claim" not in case.held_rules:
            return 0
        if case.seen is None or not case.outside_since_ms or not outside:
            return 0
        since_ms = max(case.held_ms, case.outside_since_ms)
        return max(case.seen.received_ms - since_ms, 0) // MILLIS_PER_DAY

    def _draft(
        self,
        chip: Chip,
        case: Case,
        action: Action,
        rules: list[str],
        reasons: list[str],
        at_ms: int,
    ) -> st.Decision:
        share = MAX_EVIDENCE // len(rules)
        evidence = [leaf for rule in rules for leaf in case.evidence.get(rule, [])[-share:]]
        case.pending = chip.decision_sequence + 1
        self.dirty.add(chip.ueid)
        genesis = self.registry.genesis
        authority = "" if genesis is None else genesis.authority.id
        return st.Decision(
            iat=at_ms // 1000,
            action=action.value,
            ueid=chip.ueid,
            key=chip.key.thumbprint,
            sequence=case.pending,
            previous=chip.decision_digest,
            rules=rules,  # type: ignore[arg-type]
            reasons=reasons,
            evidence=list(dict.fromkeys(evidence)),
            policy=self.registry.policy_digest,
            issued_ms=at_ms,
            effective_ms=at_ms,
            appeal=f"to {authority}, quoting {chip.ueid.hex()}/{case.pending}",
        )

    # -- silence ----------------------------------------------------------------------------

    def _silences(self, now_ms: int, not_before_ms: int = 0) -> list[st.Decision]:
        """Set flags and draft holds for every silence limit that lies at or before ``now_ms``.

        Nothing is decided as of a time before ``not_before_ms``.
        """
        drafts = []
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, ueid = heapq.heappop(self._timers)
            if self._armed.get(ueid) != due_ms:
                continue
            del self._armed[ueid]
            case = self.cases[ueid]
            chip = self.registry.find_chip(ueid)
            if chip is not None and case.expected_since_ms:
                drafts += self._silence_due(chip, case, max(due_ms, not_before_ms))
                self._arm(case, after_ms=due_ms)
        return drafts

    def _silence_due(self, chip: Chip, case: Case, due_ms: int) -> list[st.Decision]:
        flag_ms, hold_ms = self._limits(case)
        if flag_ms and due_ms >= flag_ms and not case.silent:
            case.silent = True
            case.tiers["silence"] = int(Tier.WARNING)
            self.dirty.add(chip.ueid)
        if hold_ms and due_ms >= hold_ms and _allows(chip, Action.HOLD) and not case.pending:
            hours = (due_ms - case.expected_since_ms) // MILLIS_PER_HOUR
            words = f"silence: no heartbeat for {hours} h"
            leaf = case.seen.leaf_hash if case.seen is not None else None
            case.evidence["silence"] = [] if leaf is None else [leaf]
            case.tiers["silence"] = int(Tier.CONTRAINDICATED)
            return [self._draft(chip, case, Action.HOLD, ["silence"], [words], due_ms)]
        return []

    def _limits(self, case: Case) -> tuple[int, int]:
        """Ledger times at which the case is flagged silent and held for it; 0 for never."""
        policy, since = self._policy, case.expected_since_ms
        flag_h, hold_h = policy.silence_after_h, policy.silence_hold_after_h
        return (
            since + flag_h * MILLIS_PER_HOUR if flag_h else 0,
            since + hold_h * MILLIS_PER_HOUR if hold_h else 0,
        )

    def _arm(self, case: Case, after_ms: int = 0) -> None:
        """See to it that the case is looked at when its next limit after ``after_ms`` is due.

        One timer a chip: a heartbeat only moves the limits on, so that the timer set before it
        rings early, finds nothing due and is set again.
        """
        if not case.expected_since_ms:
            return
        due_ms = min((limit for limit in self._limits(case) if limit > after_ms), default=0)
        armed_ms = self._armed.get(case.ueid)
        if due_ms and (armed_ms is None or due_ms < armed_ms):
            heapq.heappush(self._timers, (due_ms, case.ueid))
            self._armed[case.ueid] = due_ms

    def _rearm(self, now_ms: int) -> list[st.Decision]:
        """A new policy may have moved every limit; those already passed fall due at once."""
        self._timers.clear()
        self._armed.clear()
        for case in self.cases.values():
            self._arm(case)
        return self._silences(now_ms, not_before_ms=now_ms)

    # -- records ----------------------------------------------------------------------------

    @property
    def _policy(self) -> Policy:
        return self.registry.policy or _NO_POLICY

    def _case(self, ueid: bytes) -> Case:
        self.dirty.add(ueid)
        case = self.cases.get(ueid)
        if case is None:
            case = self.cases[ueid] = Case(ueid)
        return case


def _proves_two(chip: Chip, reason: Reason, body: Heartbeat, epochs: list[st.Epoch]) -> bool:
    """Whether a heartbeat conflict proves two holders of one key.

    Two heartbeats with one counter do, and so does one that names another predecessor than the one
    on record. A counter further back may be a late arrival, unless its nonce was not known yet when
    the last heartbeat came in: then it was made after one with a higher counter.
    """
    if reason is Reason.HEARTBEAT_FORK or body.counter == chip.counter:
        return True
    return any(
        epoch.id == body.epoch and epoch.not_before_ms > chip.heartbeat_ms for epoch in epochs
    )


def _allows(chip: Chip, action: Action) -> bool:
    return state_after(chip.state, action) is not None


_ACCEPTED = Verdict(())
_NEVER_MS = 1 << 63
_CUSTODY = (Kind.SHIP, Kind.RECEIVE, Kind.INSTALL, Kind.RETIRE)
_NO_POLICY = Policy.model_validate(
    {"iat": 0, "version": 1, "title": "no policy on the ledger: nothing is decided"}
)
"""Before the first policy the verifier appraises, flags and holds nothing (no ``hold_after``)."""
