"""Checking a bundle offline: bytes and what the reader trusts in, a report out."""

from collections.abc import Collection, Sequence
from concurrent.futures import Executor

from ledger.appraisal.places import Places
from ledger.bundle import multiproof
from ledger.bundle.findings import Fault, Findings, Report
from ledger.bundle.format import MAX_BUNDLE_BYTES, Bundle
from ledger.bundle.leaves import ChainWalk
from ledger.bundle.walk import CHIP, Walk
from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint, open_checkpoint
from ledger.log.headsmap import (
    COUNT_END,
    ROW_SIZE,
    bucket_of,
    find,
    verify_bucket,
)
from ledger.log.merkle import HASH_SIZE, leaf_hash, split_hashes
from ledger.log.note import NoteVerifier, parse_note
from ledger.log.proofs import verify_consistency
from ledger.log.quorum import Endorsement, evaluate
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import ED25519, Vkey
from ledger.protocol.keys import PublicKey
from ledger.values import MILLIS_PER_SECOND

DECISION_GRACE_MS = 60_000
"""A decision due so shortly before the checkpoint may still be on its way to the log."""
CLOCK_TOLERANCE_S = 300
"""A cosignature dated so far ahead of the reader's clock still counts."""

_EXPLAINS = frozenset((Fault.OMITTED, Fault.REORDERED, Fault.INSERTED, Fault.ALTERED))
"""With a chain that is not as it was, what its entries then mean is a consequence, no finding."""
_STANDS_ALONE = frozenset((Fault.SWAPPED_KEY, Fault.BAD_SIGNATURE))


def verify(
    data: bytes,
    *,
    trust: TrustPolicy | None,
    now_ms: int,
    places: Places | None,
    max_age_s: int | None = None,
    remembered: Sequence[bytes] = (),
    receipts: Collection[bytes] = (),
    grace_ms: int = DECISION_GRACE_MS,
    executor: Executor | None = None,
    max_size: int = MAX_BUNDLE_BYTES,
) -> Report:
    """Check a bundle and say what it establishes.

    1. It has its form. Refused (BUNDLE_MALFORMED, CBOR_*, NOTE_MALFORMED, TOO_LARGE) where not;
       everything else is a finding.
    2. Entries in order: leaves are made again, each chain's numbers count up, statements are
       decoded and judged as at admission, and the verifier's decisions are derived again with
       ``places`` (without it they are not). What is due and not there is missing, unless it fell
       due within ``grace_ms`` before the index-root.
    3. Signatures, by ``executor`` where one is given.
    4. The checkpoint is signed by the key in the genesis; entry 0, the index-root (the last entry)
       and what the chip's life refers to are in its tree; the heads map has the rows of the chip
       and of the authority, and these are the chains shown.
    5. ``trust``: a log of the policy signed, and its quorum is met by cosignatures until
       ``now_ms``. Without a policy nobody vouches for the keys, and ``report.vouched`` is False.
    6. Age, where ``max_age_s`` is given; earlier checkpoints of the log that the reader keeps
       (``remembered``, whole notes): the present one has to extend them. ``receipts``: leaf hashes
       of entries of the chip that the reader was promised; each has to be there.

    Pure: ``now_ms`` is the reader's present, and nothing is fetched. The work is bounded by the
    size of ``data``.
    """
    bundle = Bundle.decode(data, max_size=max_size)
    checkpoint = Checkpoint.decode(parse_note(bundle.head.checkpoint).text)
    walk = Walk(bundle, places, executor, frozenset(receipts))
    walk.run(grace_ms)
    found = walk.structure
    report = Report(bundle.head.ueid, origin=checkpoint.origin, size=checkpoint.size)
    _check_chains(walk, _check_map(bundle, walk, found), found)
    _check_tree(bundle, checkpoint, walk, found)
    _take_meaning(walk, found)
    for owed in sorted(walk.owed):
        found.add(Fault.OMITTED, f"a receipt names entry {owed.hex()}, which is not there")
    _tell(report, checkpoint, walk)
    key = _check_signature(bundle, walk, found)
    _check_trust(report, bundle, key, trust, now_ms, found)
    _check_remembered(bundle, checkpoint, key, remembered, found)
    _check_age(report, now_ms, max_age_s, found)
    report.faults, report.more_faults = found.faults, found.more
    report.remarks = found.remarks
    return report


# -- the log's tree and the heads map --------------------------------------------------------


def _check_tree(bundle: Bundle, checkpoint: Checkpoint, walk: Walk, found: Findings) -> None:
    entry, message = walk.root_entry, walk.root_message
    assert entry is not None and message is not None  # noqa: S101, PT018 - the walk demands them
    if entry.index != checkpoint.size - 1:
        detail = f"the heads map is as of this entry, the checkpoint of size {checkpoint.size}"
        found.add(Fault.STALE, detail, entry.index)
    if message.body.size != entry.index:
        detail = f"the heads map covers {message.body.size} entries, not those before it"
        found.add(Fault.STALE, detail, entry.index)
    try:
        led_to = multiproof.root(walk.included, checkpoint.size, bundle.head.log_proof)
    except Refused as refusal:
        found.add(Fault.UNPROVEN, f"inclusion in the log: {refusal.detail}")
        return
    # A run with a hole has another last leaf, which has been said.
    if led_to != checkpoint.root and all(chain.sound or chain.whole for chain in walk.chains):
        detail = "genesis, index-root and what is referred to are not in the checkpoint's tree"
        found.add(Fault.UNPROVEN, detail)


def _check_map(bundle: Bundle, walk: Walk, found: Findings) -> dict[int, bytes] | None:
    """Contents of the buckets by their numbers; None where they are not those asked for."""
    message = walk.root_message
    assert message is not None  # noqa: S101 - the walk demands it
    bits = message.body.bucket_bits
    numbers = sorted({bucket_of(chain.key, bits) for chain in walk.chains if chain.whole})
    if len(bundle.head.buckets) != len(numbers):
        found.add(Fault.UNPROVEN, "there is one bucket for each whole chain")
        return None
    contents = dict(zip(numbers, bundle.head.buckets, strict=True))
    for number, content in contents.items():
        try:
            verify_bucket(content, number, bits)
        except Refused as refusal:
            twice = _stands_twice(content)
            name = Fault.DUPLICATED if twice else Fault.UNPROVEN
            detail = "a subject has two rows" if twice else refusal.detail
            found.add(name, f"bucket {number} of the heads map: {detail}")
            return None
    leaves = {number: leaf_hash(content) for number, content in contents.items()}
    try:
        led_to = multiproof.root(leaves, 1 << bits, bundle.head.map_proof)
    except Refused as refusal:
        found.add(Fault.UNPROVEN, f"heads map: {refusal.detail}")
        return contents
    if led_to != message.body.root:
        found.add(Fault.UNPROVEN, "the buckets are not those of the heads map committed to")
    return contents


def _stands_twice(content: bytes) -> bool:
    keys = [content[at : at + HASH_SIZE] for at in range(0, len(content), ROW_SIZE)]
    return len(set(keys)) != len(keys)


def _check_chains(walk: Walk, buckets: dict[int, bytes] | None, found: Findings) -> None:
    message = walk.root_message
    assert message is not None  # noqa: S101 - the walk demands it
    for number, chain in enumerate(walk.chains):
        if not chain.sound:
            _name_disorder(chain, found)
        elif chain.whole and buckets is not None:
            content = buckets[bucket_of(chain.key, message.body.bucket_bits)]
            _compare(chain, content, number == CHIP and walk.backwards, found)


def _name_disorder(chain: ChainWalk, found: Findings) -> None:
    missing, twice, descends = chain.disorder()
    if missing:
        numbers = ", ".join(map(str, missing))
        found.add(Fault.OMITTED, f"{chain.name}: number {numbers} of its entries is not there")
    if twice:
        numbers = ", ".join(map(str, twice))
        found.add(Fault.INSERTED, f"{chain.name}: number {numbers} of its entries stands twice")
    if descends:
        found.add(Fault.REORDERED, f"{chain.name}: its entries do not stand in their order")


def _compare(chain: ChainWalk, content: bytes, backwards: bool, found: Findings) -> None:
    """Hold a chain against its row in the heads map."""
    at, present = find(content, chain.key)
    count = head = None
    if present:
        count = int.from_bytes(content[at + HASH_SIZE : at + COUNT_END])
        head = content[at + COUNT_END : at + ROW_SIZE]
    if not present:
        if chain.count:
            detail = f"{chain.name}: the heads map knows no entry of it, {chain.count} are shown"
            found.add(Fault.INSERTED, detail)
    elif chain.count < (count or 0):
        found.add(Fault.OMITTED, f"{chain.name}: {chain.count} of {count} entries are shown")
    elif chain.count > (count or 0):
        found.add(Fault.INSERTED, f"{chain.name}: {chain.count} entries are shown, it has {count}")
    elif chain.head != head:
        if backwards:
            found.add(Fault.REORDERED, f"{chain.name}: the chip's own counter goes back")
        else:
            detail = f"{chain.name}: an entry is not the one that the heads map commits to"
            found.add(Fault.ALTERED, detail)


def _take_meaning(walk: Walk, found: Findings) -> None:
    """Add what the entries mean, but for consequences of a chain that is not as it was."""
    disturbed = any(finding.fault in _EXPLAINS for finding in found.faults)
    found.extend(
        finding
        for finding in walk.meaning.faults
        if not disturbed or finding.fault in _STANDS_ALONE
    )
    found.more += walk.meaning.more
    for text in walk.replay.limits:
        found.remark(text)


def _tell(report: Report, checkpoint: Checkpoint, walk: Walk) -> None:
    assert walk.genesis is not None and walk.root_entry is not None  # noqa: S101, PT018
    chain = walk.chains[CHIP]
    replay = walk.replay
    report.root = checkpoint.root
    report.genesis, report.clock = walk.genesis_digest, walk.genesis.clock
    report.published_ms = walk.root_entry.received_ms
    report.entries = chain.count
    report.head_index = chain.last_index if chain.count else None
    report.life, report.withheld = walk.life, walk.withheld
    report.signatures, report.unchecked = walk.signatures, walk.unchecked
    report.decisions = replay.decisions
    report.decisions_checked = replay.judging and replay.appraising
    chip = replay.registry.find_chip(report.ueid)
    if chip is not None and replay.judging:
        report.state = chip.state.value


# -- who vouches, and since when -------------------------------------------------------------


def _check_signature(bundle: Bundle, walk: Walk, found: Findings) -> Vkey:
    """The checkpoint is signed by the key that the genesis names; returns that key."""
    assert walk.genesis is not None  # noqa: S101 - the walk demands it
    origin = walk.genesis.origin
    vkey = Vkey(origin, ED25519, PublicKey.from_cose_key(walk.genesis.ledger).raw)
    try:
        open_checkpoint(bundle.head.checkpoint, origin, [NoteVerifier(vkey)])
    except Refused as refusal:
        lines = parse_note(bundle.head.checkpoint).signatures
        by_name = [line.key_id for line in lines if line.name == origin]
        if by_name and vkey.key_id not in by_name:
            detail = "the checkpoint is signed with another key than the genesis names"
            found.add(Fault.SWAPPED_KEY, detail)
        else:
            found.add(Fault.BAD_SIGNATURE, f"the checkpoint: {refusal.detail}")
    return vkey


def _check_trust(
    report: Report,
    bundle: Bundle,
    key: Vkey,
    trust: TrustPolicy | None,
    now_ms: int,
    found: Findings,
) -> None:
    if trust is None:
        found.remark("no trust policy was given: nobody vouches for the keys in this bundle")
        return
    report.policy_given = True
    listed = [log.vkey for log in trust.logs if log.vkey.name == key.name]
    if not listed:
        found.add(Fault.UNTRUSTED, f"the trust policy has no log {key.name}")
        return
    latest_s = now_ms // MILLIS_PER_SECOND + CLOCK_TOLERANCE_S
    try:
        endorsement = evaluate(trust, bundle.head.checkpoint, origin=key.name, latest_s=latest_s)
    except Refused as refusal:
        signed = {line.key_id for line in parse_note(bundle.head.checkpoint).signatures}
        if signed.isdisjoint(vkey.key_id for vkey in listed):
            detail = f"no key that the trust policy has for {key.name} signed the checkpoint"
            found.add(Fault.SWAPPED_KEY, detail)
        else:
            found.add(Fault.BAD_SIGNATURE, f"the checkpoint: {refusal.detail}")
        return
    _take_endorsement(report, endorsement, now_ms, found)


def _take_endorsement(
    report: Report, endorsement: Endorsement, now_ms: int, found: Findings
) -> None:
    report.logs = tuple(vkey.encode() for vkey in endorsement.logs)
    report.vouchers = endorsement.vouchers
    report.vouched = endorsement.quorum_met
    report.age_s = endorsement.age_s(now_ms // MILLIS_PER_SECOND)
    if not endorsement.quorum_met:
        names = ", ".join(voucher.witness for voucher in endorsement.vouchers) or "nobody"
        found.add(Fault.NO_QUORUM, f"the quorum of the trust policy is not met: {names} cosigned")
    for voucher in endorsement.ignored:
        found.remark(f"the cosignature of {voucher.witness} is from the future and does not count")


def _check_age(report: Report, now_ms: int, max_age_s: int | None, found: Findings) -> None:
    if report.age_s is None:
        report.age_s = max(0, now_ms - report.published_ms) // MILLIS_PER_SECOND
    if max_age_s is not None and report.age_s > max_age_s:
        detail = f"the checkpoint is {report.age_s} s old, {max_age_s} s are allowed"
        found.add(Fault.STALE, detail)


def _check_remembered(
    bundle: Bundle, checkpoint: Checkpoint, key: Vkey, notes: Sequence[bytes], found: Findings
) -> None:
    """Hold the checkpoint against earlier ones of this log."""
    for note in notes:
        origin = Checkpoint.decode(parse_note(note).text).origin
        if origin != key.name:
            detail = f"a checkpoint that was kept is of another log, {origin}"
            raise Refused(Reason.NOTE_MALFORMED, detail, field="remembered")
        try:
            old, _ = open_checkpoint(note, key.name, [NoteVerifier(key)])
        except Refused:
            detail = "a checkpoint of this log that was kept is signed with another key"
            found.add(Fault.SWAPPED_KEY, detail)
            continue
        _check_extends(bundle, checkpoint, old, found)


def _check_extends(
    bundle: Bundle, checkpoint: Checkpoint, old: Checkpoint, found: Findings
) -> None:
    if old.size > checkpoint.size:
        detail = f"the log had {old.size} entries already, this checkpoint has {checkpoint.size}"
        found.add(Fault.ROLLED_BACK, detail)
        return
    proof = bundle.head.consistency.get(old.size)
    if proof is None and 0 < old.size < checkpoint.size:
        found.remark(
            f"not compared with the checkpoint of size {old.size} that was kept: the bundle has no"
            " proof from there"
        )
        return
    try:
        verify_consistency(
            old.size, checkpoint.size, old.root, checkpoint.root, split_hashes(proof or b"")
        )
    except Refused as refusal:
        detail = f"not an extension of the checkpoint of size {old.size}: {refusal.detail}"
        found.add(Fault.FORKED, detail)
