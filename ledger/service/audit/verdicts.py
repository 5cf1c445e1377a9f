"""The verifier's side of a check: does the log hold the decisions that it makes due?

The appraiser is run again over the entries. Its drafts have to turn up as the verifier's decisions,
in order and byte for byte. A draft may be missing for one reason only: before it reached the log,
somebody else's decision took its sequence number or changed the chip's state.
"""

from collections import deque

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.protocol import statements as st
from ledger.protocol.statements import Action, Kind
from ledger.registry.records import Registry, state_after
from ledger.service.audit.report import CheckReport, FaultFound


class VerdictCheck:
    """Runs the appraiser along with the check."""

    def __init__(self, appraiser: Appraiser, report: CheckReport) -> None:
        self.appraiser = appraiser
        self._report = report
        self._due: deque[tuple[int, st.Decision]] = deque()

    def before(self, entry: LoggedEntry, registry: Registry) -> None:
        """Compare a verifier's decision with what is due; ``registry`` is as before the entry."""
        message = entry.message
        if message.kind is not Kind.DECISION or entry.conflict:
            return
        owner = registry.find_owner(message.kid)
        genesis = registry.genesis
        if owner is None or genesis is None or owner.ident.decode() != genesis.verifier.id:
            return
        while self._due:
            cause, draft = self._due.popleft()
            if draft == message.body:
                self._report.decisions += 1
                return
            if not _overtaken(registry, draft):
                raise FaultFound(
                    f"entry {entry.index}",
                    f"the verifier should have decided on entry {cause} first: {_short(draft)}",
                )
        raise FaultFound(
            f"entry {entry.index}", f"the log gives no ground for it: {_short(message.body)}"
        )

    def after(self, entry: LoggedEntry) -> None:
        """Let the appraiser read the entry."""
        self._due += [(entry.index, draft) for draft in self.appraiser.feed(entry)]

    def finish(self, registry: Registry, position: int) -> None:
        """Every decision due from what the verifier had read at its last save has to be there.

        What was due before its newest decision on the log ``before`` has demanded already.
        """
        for cause, draft in self._due:
            if cause < position and not _overtaken(registry, draft):
                raise FaultFound(
                    f"entry {cause}", f"the decision that it makes due is missing: {_short(draft)}"
                )


def _overtaken(registry: Registry, draft: st.Decision) -> bool:
    chip = registry.chip(draft.ueid)
    taken = chip.decision_sequence >= draft.sequence
    return taken or state_after(chip.state, Action(draft.action)) is None


def _short(decision: st.Decision) -> str:
    return f"{decision.action} of {decision.ueid.hex()} ({', '.join(decision.rules)})"
