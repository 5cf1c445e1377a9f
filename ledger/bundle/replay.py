"""A chip's life lived again: who had to sign, what admission had to say, what was to be decided.

The bundle shows one chip and what its life refers to, not the whole log. So what an entry does to
other chips is left out, and what depends on other chips (a licence's quota, a conflict that lies in
another chip of the same statement) is not judged; ``limits`` says where that was so.
"""

from collections import deque
from typing import Any, NamedTuple, cast

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.places import Places
from ledger.bundle.findings import Fault, Findings
from ledger.bundle.steady import Steady
from ledger.bundle.twins import Opened, Report
from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.keys import PublicKey
from ledger.protocol.statements import Action, Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import MAX_STATEMENT_SKEW_MS, check_freshness, contradiction
from ledger.registry.records import (
    Registry,
    Subject,
    Verdict,
    chip_subject,
    state_after,
    subject_idents,
)
from ledger.values import MILLIS_PER_SECOND, SubjectKind

CUSTODY = (Kind.SHIP, Kind.RECEIVE, Kind.INSTALL, Kind.RETIRE)
_RECORDS = (
    Kind.GENESIS,
    Kind.PARTY,
    Kind.LICENCE,
    Kind.POLICY,
    Kind.LANDMARK_DIRECTORY,
    Kind.EPOCH,
    Kind.BIRTH,
)
"""Kinds whose judgement does not rest on a chip's past; they go on where that is withheld."""
_NOT_SHOWN = frozenset(
    (
        Reason.PARTY_UNKNOWN,
        Reason.LICENCE_UNKNOWN,
        Reason.CHIP_UNKNOWN,
        Reason.EPOCH_UNKNOWN,
        Reason.KEY_UNKNOWN,
    )
)
"""Refusals that mean: the bundle does not show what the entry refers to."""
_NO_VERDICT = Verdict(())


class Taken(NamedTuple):
    """One entry as the replay takes it. ``message`` is None where it is withheld."""

    index: int  # type: ignore[assignment]  # nobody asks a row for tuple.index
    received_ms: int
    kind: str
    leaf_hash: bytes
    message: Message | None


class Replay:
    """Feeds entries in the log's order. Findings go to ``findings``."""

    def __init__(self, ueid: bytes, places: Places | None, findings: Findings) -> None:
        self.ueid = ueid
        self.judging = True
        """False once something is not shown that later judgements rest on."""
        self.appraising = places is not None
        self.decisions = 0
        self.registry = Registry()
        self.appraiser = Appraiser(self.registry, places or _nowhere)
        self.steady = Steady(self.appraiser)
        self.findings = findings
        self.limits: list[str] = []
        self._ledger = b""
        self._due: deque[tuple[int, st.Decision]] = deque()

    # -- keys --------------------------------------------------------------------------------

    def key_for(self, entry: Taken) -> PublicKey | None:
        """The key that has to have signed; None where it is not shown, which is noted."""
        message = entry.message
        assert message is not None  # noqa: S101 - the caller looked
        try:
            return self.registry.key_for(message)
        except Refused as refusal:
            self._note_key(entry, refusal)
            return None

    def _note_key(self, entry: Taken, refusal: Refused) -> None:
        message = entry.message
        assert message is not None  # noqa: S101 - the caller looked
        chip = self.registry.find_chip(self.ueid)
        if refusal.reason is Reason.COSE_KEY_MISMATCH or (
            message.kind is Kind.HEARTBEAT and chip is not None
        ):
            detail = "the heartbeat is signed with another key than the birth statement names"
            self.findings.add(Fault.SWAPPED_KEY, detail, entry.index)
        elif refusal.reason is not Reason.KEY_UNKNOWN:
            self.findings.add(Fault.UNFOUNDED, refusal.detail, entry.index)
        else:
            detail = f"the bundle does not show whose key {message.kid.hex()} is"
            self._note_unshown(detail, entry)

    # -- entries -----------------------------------------------------------------------------

    def take(self, entry: Taken) -> tuple[Verdict, list[Subject] | None]:
        """Judge an entry and let the verifier read it.

        Returns the verdict, and the subjects that the entry has to be filed under where that
        follows from it.
        """
        if entry.message is None or entry.message.kind is not Kind.EPOCH:
            self.steady.settle()
        if entry.message is None:
            self.judging = False
            return _NO_VERDICT, None
        message = self._own_part(entry.message)
        if not self.judging and message.kind not in _RECORDS:
            return _NO_VERDICT, None
        try:
            verdict = self._judge(message, entry)
        except Refused as refusal:
            self._note_refusal(entry, refusal)
            return _NO_VERDICT, None
        conflict = verdict.conflict is not None
        if conflict != (entry.kind == Kind.CONFLICT):
            return self._misfiled(entry, verdict), None
        filed = _subjects(entry.message, message, verdict)
        self._feed(entry, message, verdict)
        return verdict, filed

    def _judge(self, message: Message, entry: Taken) -> Verdict:
        if message.kind is Kind.EPOCH and not self.registry.epochs and message.body.counter:
            return Verdict(((SubjectKind.PARTY, st.LEDGER_PARTY.encode()),))
        return contradiction(self.registry, message, entry.received_ms)

    def _own_part(self, message: Message) -> Message:
        """A custody statement cut down to this chip: the bundle does not show the others."""
        if message.kind in CUSTODY and self.ueid in message.body.chips:
            body = message.body.model_copy(update={"chips": [self.ueid]})
            return message._replace(body=body)
        return message

    def _misfiled(self, entry: Taken, verdict: Verdict) -> Verdict:
        """It is on record as a conflict and contradicts nothing shown, or the other way round."""
        message = entry.message
        assert message is not None  # noqa: S101 - the caller looked
        if verdict.conflict is not None:
            detail = f"it is filed as {entry.kind} and contradicts the record ({verdict.conflict})"
            self.findings.add(Fault.UNFOUNDED, detail, entry.index)
        elif message.kind in CUSTODY and len(message.body.chips) > 1:
            self._limit("a conflict on record lies in another chip that its statement names")
        else:
            detail = "it is filed as a conflict and contradicts nothing"
            self.findings.add(Fault.UNFOUNDED, detail, entry.index)
        return _NO_VERDICT

    def _note_refusal(self, entry: Taken, refusal: Refused) -> None:
        if refusal.reason is Reason.DECISION_SEQUENCE:
            detail = f"a decision before this one is not shown: {refusal.detail}"
            self.findings.add(Fault.MISSING_DECISION, detail, entry.index)
        elif refusal.reason is Reason.COSE_KEY_MISMATCH:
            self.findings.add(Fault.SWAPPED_KEY, refusal.detail, entry.index)
        elif refusal.reason in (Reason.CERTIFICATE_INVALID, Reason.BINDING_INVALID):
            self.findings.add(Fault.BAD_SIGNATURE, refusal.detail, entry.index)
        elif refusal.reason in _NOT_SHOWN:
            self._note_unshown(refusal.detail, entry)
        else:
            detail = f"admission had to refuse it: {refusal.detail}"
            self.findings.add(Fault.UNFOUNDED, detail, entry.index)

    def _note_unshown(self, detail: str, entry: Taken) -> None:
        """Something referred to is not in the bundle; nothing after it can be judged."""
        if self.judging:  # else it may be among what is withheld
            self.findings.add(Fault.UNPROVEN, detail, entry.index)
        self.judging = False

    def _feed(self, entry: Taken, message: Message, verdict: Verdict) -> None:
        conflict = verdict.conflict is not None
        if not (self.judging and self.appraising) or message.kind is Kind.EPOCH:
            # An epoch moves the time on, as the next entry of the chip will.
            apply(self.registry, message, verdict, entry.received_ms)
            return
        logged = LoggedEntry(entry.index, entry.leaf_hash, entry.received_ms, message, conflict)
        if message.kind is Kind.DECISION and not conflict:
            self._advance(entry.index, entry.received_ms)
            self._compare(logged)
        self._due += [(entry.index, draft) for draft in self.appraiser.feed(logged)]
        if message.kind is Kind.HEARTBEAT and not conflict:
            self.steady.begin(message, entry.leaf_hash, entry.received_ms)

    # -- entries like those before -------------------------------------------------------------

    def take_steady(self, report: Report, leaf_hash: bytes, index: int, received_ms: int) -> bool:
        """Take a heartbeat that says what the one before said; False: ``take`` has to.

        Raises Refused where it is not fresh.
        """
        if not (self.judging and self.appraising):
            return False
        check_freshness(self.registry, report.body, received_ms)
        if received_ms >= self.appraiser.next_ms:
            self.steady.catch_up()
            self._advance(index, received_ms)
        return self.steady.take(report, leaf_hash, received_ms)

    def take_epoch(self, kid: bytes, body: Opened, received_ms: int) -> bool:
        """Take an epoch that follows the one before, as admission would; False: ``take`` has to."""
        registry = self.registry
        genesis = registry.genesis
        if not self.judging or not registry.epochs or genesis is None:
            return False
        earlier, last = registry.epochs[0], registry.epochs[-1]
        if (
            kid != self._ledger_kid()
            or body.counter != last.counter + 1
            or body.id in (earlier.id, last.id)
            or body.not_after_ms - body.not_before_ms > genesis.epoch_s * MILLIS_PER_SECOND
            or not body.not_before_ms <= received_ms < body.not_after_ms
            or abs(body.iat * MILLIS_PER_SECOND - received_ms) > MAX_STATEMENT_SKEW_MS
        ):
            return False
        registry.epochs = [last, cast(st.Epoch, body)]  # it has the members that anybody reads
        return True

    def _ledger_kid(self) -> bytes:
        if not self._ledger:
            party = self.registry.find_party(st.LEDGER_PARTY)
            self._ledger = b"" if party is None else party.key.kid
        return self._ledger

    # -- decisions ---------------------------------------------------------------------------

    def _compare(self, entry: LoggedEntry) -> None:
        """Hold a decision of the verifier against what is due; the registry is as before it."""
        registry, body = self.registry, entry.message.body
        owner, genesis = registry.find_owner(entry.message.kid), registry.genesis
        if owner is None or genesis is None or owner.ident.decode() != genesis.verifier.id:
            return
        while self._due:
            cause, draft = self._due.popleft()
            if draft == body:
                self.decisions += 1
                return
            if not self._overtaken(draft):
                self._missing(draft, cause)
        if self._quota_matters():
            self._limit("a decision may rest on a licence's quota, which other chips use up too")
            return
        detail = f"the chip's history gives no ground for it: {_short(body)}"
        self.findings.add(Fault.UNFOUNDED, detail, entry.index)

    def judge_root(self, entry: Taken) -> None:
        """The index-root: the ledger signed it, and its number of buckets is the genesis'."""
        assert entry.message is not None  # noqa: S101 - the caller looked
        try:
            contradiction(self.registry, entry.message, entry.received_ms)
        except Refused as refusal:
            self._note_refusal(entry, refusal)

    def finish(self, root: Taken, grace_ms: int) -> None:
        """At the index-root: what was due long enough before it has to be there."""
        if not (self.judging and self.appraising):
            return
        self.steady.settle()
        self._advance(root.index, root.received_ms)
        for cause, draft in self._due:
            if self._overtaken(draft):
                continue
            if draft.issued_ms + grace_ms < root.received_ms:
                self._missing(draft, cause)
            else:
                self._limit(f"due, and not on record yet: {_short(draft)}")

    def _advance(self, index: int, received_ms: int) -> None:
        """Let time pass up to an entry; what falls due on the way is due from there."""
        drafts = self.appraiser.advance(received_ms)
        self._due += [(index, draft) for draft in drafts]

    def _missing(self, draft: st.Decision, cause: int) -> None:
        detail = f"the {_short(draft)} that this entry makes due is not there"
        self.findings.add(Fault.MISSING_DECISION, detail, cause)

    def _overtaken(self, draft: st.Decision) -> bool:
        chip = self.registry.chip(draft.ueid)
        taken = chip.decision_sequence >= draft.sequence
        return taken or state_after(chip.state, Action(draft.action)) is None

    def _quota_matters(self) -> bool:
        chip = self.registry.find_chip(self.ueid)
        licence = None
        if chip is not None and chip.licence is not None:
            licence = self.registry.find_licence(chip.licence)
        return licence is not None and licence.body.quota_per_year is not None

    def _limit(self, text: str) -> None:
        if text not in self.limits:
            self.limits.append(text)


def _subjects(whole: Message, own: Message, verdict: Verdict) -> list[Subject]:
    """What the entry has to be filed under: the verdict's subjects, with the other chips again."""
    if whole is own:
        return list(verdict.subjects)
    chips = [chip_subject(ueid) for ueid in whole.body.chips]
    return subject_idents([*chips, *verdict.subjects])


def _short(decision: st.Decision) -> str:
    rules = ", ".join(decision.rules)
    return f"{decision.action} (decision {decision.sequence}{f', {rules}' if rules else ''})"


def _nowhere(*_: Any) -> frozenset[str]:
    return frozenset()
