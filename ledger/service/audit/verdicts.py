"""The verifier's side of a check: does the log hold the decisions that it makes due?

The appraiser is run again over the entries. Its drafts have to turn up as the verifier's decisions,
in order and byte for byte. A draft may be missing for one reason only: before it reached the log,
somebody else's decision took its sequence number or changed the chip's state.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.protocol import statements as st
from ledger.protocol.statements import Action, Kind
from ledger.registry.records import Registry, state_after
from ledger.service.audit.report import FaultFound, Tally


class Due(NamedTuple):
    """A decision that is due, and the entry with which it fell due: index and received time."""

    cause: int
    received_ms: int
    draft: st.Decision


class VerdictCheck:
    """Runs the appraiser along with the replay."""

    def __init__(self, appraiser: Appraiser, tally: Tally, due: Iterable[Due] = ()) -> None:
        self.appraiser = appraiser
        self.due: deque[Due] = deque(due)
        """Decisions that are not on the log yet, oldest first."""
        self._tally = tally

    def before(self, entry: LoggedEntry, registry: Registry) -> None:
        """Compare a verifier's decision with what is due; ``registry`` is as before the entry."""
        message = entry.message
        if message.kind is not Kind.DECISION or entry.conflict:
            return
        owner = registry.find_owner(message.kid)
        genesis = registry.genesis
        if owner is None or genesis is None or owner.ident.decode() != genesis.verifier.id:
            return
        while self.due:
            cause, _, draft = self.due.popleft()
            if draft == message.body:
                self._tally.decisions += 1
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
        drafts = self.appraiser.feed(entry)
        self.due += [Due(entry.index, entry.received_ms, draft) for draft in drafts]

    def finish(self, registry: Registry, has_to_be_there: Callable[[Due], bool]) -> int:
        """Every due decision of which that holds has to be on the log; gives how many are not.

        What was due before the verifier's newest decision ``before`` has demanded already.
        """
        waiting = [due for due in self.due if not _overtaken(registry, due.draft)]
        for due in filter(has_to_be_there, waiting):
            raise FaultFound(
                f"entry {due.cause}",
                f"the decision that it makes due is missing: {_short(due.draft)}",
            )
        return len(waiting)


def _overtaken(registry: Registry, draft: st.Decision) -> bool:
    chip = registry.chip(draft.ueid)
    taken = chip.decision_sequence >= draft.sequence
    return taken or state_after(chip.state, Action(draft.action)) is None


def _short(decision: st.Decision) -> str:
    return f"{decision.action} of {decision.ueid.hex()} ({', '.join(decision.rules)})"
