"""The verifier's loop: read the log from where it stopped, appraise, append decisions.

Its state is stored every so often with the position it is as of. After a restart it reads some
entries a second time and drafts some decisions a second time; those carry the same sequence number
and are refused as already taken, so no decision is lost and none is doubled.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.places import Places
from ledger.errors import IntegrityError, Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.keys import SigningKey
from ledger.service.sequence import Candidate, Sequencer
from ledger.store.case_rows import load_verifier, save_verifier, verifier_time
from ledger.store.engine import reading, writing
from ledger.store.log_rows import entry_table, read_head

READ_AHEAD = 250
SAVE_EVERY = 5_000
"""Entries after which the verifier's state is stored; what a restart reads again at most."""

_STALE = (Reason.DECISION_SEQUENCE, Reason.DECISION_TRANSITION, Reason.DUPLICATE)
"""Refusals of a draft that mean: the chip's record has moved on since."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one turn of the loop did."""

    read: int
    decided: int
    position: int


class Follower:
    """The verifier of one ledger."""

    def __init__(
        self,
        sequencer: Sequencer,
        signer: SigningKey,
        places: Places,
    ) -> None:
        engine = self._engine = sequencer.engine
        self._sequencer = sequencer
        self._signer = signer
        self._places = places
        self._dirty: set[bytes] = set()
        with reading(engine) as connection:
            head = read_head(connection)
            now_ms = verifier_time(connection, head)
            registry, cases = load_verifier(connection, head.verifier_position)
        self.position = self.saved = head.verifier_position
        self.appraiser = Appraiser(registry, places, cases, now_ms=now_ms)

    def follow(self, now_ms: int) -> Progress:
        """Read up to ``READ_AHEAD`` entries and append the decisions that they make due."""
        entries = self._read()
        drafts = [draft for entry in entries for draft in self.appraiser.feed(entry)]
        self._dirty |= self.appraiser.dirty
        self.appraiser.dirty.clear()
        position = self.position + len(entries)
        decided = self._append(drafts, now_ms) if drafts else 0
        self.position = position
        if position - self.saved >= SAVE_EVERY:
            self.save()
        return Progress(len(entries), decided, position)

    def save(self) -> None:
        """Store state and position, unless another process's verifier has come further.

        The same entries make the same state, whoever reads them: what has changed here since this
        verifier last stored is all that differs from what an earlier position of any left.
        """
        if self.position <= self.saved:
            return
        registry = self.appraiser.registry
        with self._sequencer.turn, writing(self._engine) as connection:
            head = read_head(connection, lock=True)
            verifier_time(connection, head)
            if head.verifier_position < self.saved:
                raise IntegrityError("the verifier's stored position went back; an old backup?")
            if head.verifier_position >= self.position:
                self.saved = head.verifier_position
                return
            chips = [registry.chips[ueid] for ueid in sorted(self._dirty)]
            save_verifier(
                connection,
                self.position,
                chips,
                self.appraiser.cases,
                registry.licences.values(),
            )
        self._dirty.clear()
        self.saved = self.position

    def _append(self, drafts: list[st.Decision], now_ms: int) -> int:
        decided = 0
        with self._sequencer.batch(now_ms) as batch:
            for draft in drafts:
                message = st.decode(st.sign(draft, self._signer))
                result = batch.take(Candidate(message=message))
                if isinstance(result, Refused):
                    if result.reason not in _STALE:
                        raise IntegrityError(f"the verifier's own decision is refused: {result}")
                else:
                    decided += 1
        return decided

    def _read(self) -> list[LoggedEntry]:
        query = (
            select(
                entry_table.c.idx,
                entry_table.c.leaf_hash,
                entry_table.c.received_ms,
                entry_table.c.body,
                entry_table.c.conflict,
            )
            .where(entry_table.c.idx >= self.position)
            .order_by(entry_table.c.idx)
            .limit(READ_AHEAD)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return [self._logged_entry(row) for row in rows]

    def _logged_entry(self, row: Any) -> LoggedEntry:
        index, leaf_hash, received_ms, body, conflict = row
        if body is None:
            raise IntegrityError(f"entry {index}: the statement is withheld, no verdict on it")
        message = self._sequencer.recall(index)
        if message is None or message.token != body:
            try:
                message = st.decode(body)
            except Refused as error:
                raise IntegrityError(f"entry {index}: its statement is damaged: {error}") from error
        return LoggedEntry(index, leaf_hash, received_ms, message, conflict is not None)
