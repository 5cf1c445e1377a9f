"""Judging a checkpoint by a trust policy: which log signed it, who vouched, and how long ago."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import note_verifier, require_covered, split_timestamp
from ledger.log.note import NoteSignature, open_note, parse_note
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey


@dataclass(frozen=True, slots=True)
class Voucher:
    """A valid cosignature of a listed witness: its name in the policy, key, and time (seconds)."""

    witness: str
    vkey: Vkey
    timestamp_s: int


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A checkpoint that a listed log signed, and what the witnesses say of it.

    ``vouchers`` are all valid cosignatures that count, ``needed`` the names of the freshest set
    of witnesses that makes the quorum (empty where it is not met, or where none is asked for).
    """

    checkpoint: Checkpoint
    logs: tuple[Vkey, ...]
    vouchers: tuple[Voucher, ...]
    ignored: tuple[Voucher, ...]
    """Valid cosignatures that do not count, since they are from after the verifier's present."""
    quorum_met: bool
    needed: tuple[str, ...]

    @property
    def oldest_needed_s(self) -> int | None:
        """Time of the oldest cosignature in ``needed``; None where there is none.

        It is as late as any choice of witnesses allows. An ML-DSA-44 cosignature without a time
        counts as made in 1970.
        """
        times = [voucher.timestamp_s for voucher in self.vouchers if voucher.witness in self.needed]
        return min(times, default=None)

    def age_s(self, now_s: int) -> int | None:
        """Seconds since ``oldest_needed_s``, at least 0; None where nobody vouches."""
        oldest = self.oldest_needed_s
        return None if oldest is None else max(0, now_s - oldest)

    def require_quorum(self) -> None:
        """Refused(SIGNATURE_INVALID) where the witnesses do not suffice."""
        if not self.quorum_met:
            names = ", ".join(voucher.witness for voucher in self.vouchers) or "nobody"
            raise Refused(
                Reason.SIGNATURE_INVALID,
                f"the quorum of the policy is not met: {names} vouched",
                field="cosignatures",
            )


def evaluate(
    policy: TrustPolicy,
    note: bytes,
    *,
    origin: str | None = None,
    latest_s: int | None = None,
    extra_logs: Sequence[Vkey] = (),
) -> Endorsement:
    """Judge a signed checkpoint.

    1. It parses, and its origin is ``origin`` where one is given (NOTE_MALFORMED, TOO_LARGE).
    2. A log of the policy, or of ``extra_logs``, whose key name is the origin signed it; every
       signature of such a log or of a listed witness verifies (SIGNATURE_INVALID).
    3. Extension lines are covered by the log's signature (SIGNATURE_INVALID).
    4. Cosignatures made after ``latest_s`` (seconds; the verifier's present and some tolerance)
       do not count; without it every time is taken.
    5. The quorum is judged; it may be unmet, see ``require_quorum``.
    """
    claimed = Checkpoint.decode(parse_note(note).text)
    if origin is not None and claimed.origin != origin:
        raise Refused(Reason.NOTE_MALFORMED, "the checkpoint is of another log", field="origin")
    listed = [*(log.vkey for log in policy.logs), *extra_logs]
    logs = {(v.name, v.key_id): v for v in listed if v.name == claimed.origin}
    witnesses = {(w.vkey.name, w.vkey.key_id): w for w in policy.witnesses}
    if not logs or not logs.keys().isdisjoint(witnesses):
        raise Refused(
            Reason.SIGNATURE_INVALID, "the policy has no log key of its own for this origin"
        )
    keys = [*logs.values(), *(witness.vkey for witness in policy.witnesses)]
    text, signatures = open_note(note, [note_verifier(vkey) for vkey in keys])
    signers = tuple(logs[_identity(s)] for s in signatures if _identity(s) in logs)
    if not signers:
        raise Refused(Reason.SIGNATURE_INVALID, "no log of the policy has signed the checkpoint")
    checkpoint = Checkpoint.decode(text)
    require_covered(checkpoint, signers)
    found = [
        Voucher(witness.name, witness.vkey, split_timestamp(signature.signature)[0])
        for signature in signatures
        if (witness := witnesses.get(_identity(signature))) is not None
    ]
    in_time = tuple(v for v in found if latest_s is None or v.timestamp_s <= latest_s)
    met, needed = judge(policy, {v.witness: v.timestamp_s for v in in_time})
    late = tuple(voucher for voucher in found if voucher not in in_time)
    return Endorsement(checkpoint, signers, in_time, late, met, needed)


def judge(policy: TrustPolicy, times: dict[str, int]) -> tuple[bool, tuple[str, ...]]:
    """Whether witnesses with these cosignature times make the quorum, and the freshest that do.

    Each name is a member of one group at most, so taking the freshest ``threshold`` members in
    every group makes the oldest cosignature needed as fresh as it can be.
    """
    if policy.quorum is None:
        return True, ()
    freshness = {w.name: times[w.name] for w in policy.witnesses if w.name in times}
    chosen: dict[str, list[str]] = {}
    for group in policy.groups:
        present = sorted(
            (name for name in group.members if name in freshness),
            key=lambda name: freshness[name],
            reverse=True,
        )
        if len(present) >= group.threshold:
            chosen[group.name] = present[: group.threshold]
            freshness[group.name] = freshness[chosen[group.name][-1]]
    if policy.quorum not in freshness:
        return False, ()
    needed, waiting = set(), [policy.quorum]
    while waiting:
        name = waiting.pop()
        if name in chosen:
            waiting += chosen[name]
        else:
            needed.add(name)
    return True, tuple(w.name for w in policy.witnesses if w.name in needed)


def _identity(signature: NoteSignature) -> tuple[str, bytes]:
    return signature.name, signature.key_id
