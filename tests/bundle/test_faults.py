"""Ledgers that lie, and files that somebody changed: each fault is called by its name.

Where a test changes what an honest ledger shows, the proofs are those of the honest log. Where the
ledger itself lies, everything is signed and proves; then only what the chip's life means tells.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.bundle.build import Chain, Stored
from ledger.bundle.findings import Fault
from ledger.bundle.format import Bundle, Entry, Own
from ledger.bundle.redact import of_kinds, redact
from ledger.log.chain import Link, encode_leaf
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner, add_signatures
from ledger.log.headsmap import ROW_SIZE
from ledger.log.merkle import leaf_hash
from ledger.log.note import NoteSigner, parse_note
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.registry.records import chip_subject, party_subject
from ledger.values import SubjectKind, sha256, subject_key
from tests.bundle.double import (
    LEDGER,
    ORIGIN,
    VERIFIER,
    WITNESSES,
    Double,
    check,
    founded,
    installed,
    trust,
)
from tests.world import SINGAPORE, Chip, World, seed, signer

THIEF = signer("thief")
Rows = list[Entry]
Change = Callable[[Rows], Rows]


def lived() -> tuple[Double, Chip]:
    """An hourly life with a hold, a release and a report behind it."""
    made = founded()
    (chip,) = installed(made)
    for place in (None, SINGAPORE, None, None):
        made.beat(chip, **({} if place is None else {"place": place}))
    made.release(chip)
    made.beat(chip)
    made.tick()
    return made, chip


def shown(made: Double, chip: Chip) -> Bundle:
    return Bundle.decode(made.show(chip))


def names(bundle: Bundle, made: Double, **options: Any) -> list[str]:
    report = check(bundle.encode(), made.now_ms, **options)
    assert not report.accepted
    return report.names()


def changed(bundle: Bundle, change: Change) -> Bundle:
    """The bundle with other entries under the same head."""
    return Bundle.of(bundle.head, change(list(bundle.entries())))


def ours(rows: Rows) -> list[int]:
    """Places of the chip's entries."""
    return [at for at, row in enumerate(rows) if any(_is_ours(link) for link in row.links)]


def _is_ours(link: Any) -> bool:
    return isinstance(link, Own) and link.chain == 0


def renumbered(rows: Rows) -> Rows:
    """The chip's entries count up again, so that no number tells what was done."""
    seq = 0
    made = []
    for row in rows:
        links = []
        for link in row.links:
            links.append(Own(0, seq) if _is_ours(link) else link)
            seq += _is_ours(link)
        made.append(row._replace(links=tuple(links)))
    return made


def without(which: Callable[[Entry], bool]) -> Change:
    return lambda rows: [row for row in rows if not which(row)]


def is_decision(row: Entry) -> bool:
    return row.kind == Kind.DECISION


def last_report(row: Entry) -> bool:
    return row.kind == Kind.HEARTBEAT and row.links == (Own(0, 10),)


def test_the_bundle_that_is_changed_here_is_sound_before():
    made, chip = lived()
    report = check(shown(made, chip).encode(), made.now_ms)
    assert report.accepted, report.faults
    assert report.entries == 11
    assert sum(event.kind == Kind.DECISION for event in report.life) == 2


# -- omitted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [is_decision, last_report, lambda row: row.kind == Kind.SHIP])
@pytest.mark.parametrize("again", [lambda rows: rows, renumbered])
def test_an_entry_that_is_not_shown_is_omitted(which: Callable[[Entry], bool], again: Change):
    made, chip = lived()
    bundle = changed(shown(made, chip), lambda rows: again(without(which)(rows)))
    assert names(bundle, made) == ["omitted"]


def test_a_history_hidden_altogether_is_omitted():
    made, chip = lived()
    bundle = changed(
        shown(made, chip), lambda rows: [r for r in rows if not any(map(_is_ours, r.links))]
    )
    assert names(bundle, made) == ["omitted"]


def test_a_policy_that_is_not_shown_is_omitted_from_the_authority():
    made, chip = lived()
    made.put(made.world.policy(version=2, title="stricter"))
    made.beat(chip)
    full = shown(made, chip)
    assert names(changed(full, without(lambda row: row.kind == Kind.POLICY)), made) == ["omitted"]


def test_an_epoch_that_is_not_shown_is_omitted():
    made, chip = lived()
    epochs = [row.index for row in shown(made, chip).entries() if row.kind == Kind.EPOCH]
    bundle = changed(shown(made, chip), without(lambda row: row.index == epochs[2]))
    assert names(bundle, made) == ["omitted"]


def test_an_entry_that_a_receipt_promises_and_the_ledger_hides_is_omitted():
    """The ledger gave a receipt and then lost the entry, map and all."""
    made, chip = lived()
    hidden = replace_log(made, lambda: made.beat(chip))
    report = check(made.show(chip), made.now_ms, receipts=[leaf_hash(hidden.leaf)])
    assert report.names() == ["omitted"]


def replace_log(made: Double, step: Callable[[], None]) -> Any:
    """What ``step`` files is forgotten again; returns the last entry of it."""
    log, chains = list(made.log), {key: list(chain) for key, chain in made.chains.items()}
    epochs, now_ms = list(made.registry.epochs), made.now_ms
    step()
    last = made.log[-1]
    made.log, made.chains, made.registry.epochs = log, chains, epochs
    made.world.now_ms = now_ms
    return last


# -- reordered, inserted, altered ------------------------------------------------------------


def swapped(first: int, second: int) -> Change:
    def change(rows: Rows) -> Rows:
        places = ours(rows)
        a, b = places[first], places[second]
        rows[a], rows[b] = rows[b], rows[a]
        return rows

    return change


def test_entries_in_another_order_are_reordered():
    made, chip = lived()
    bundle = changed(shown(made, chip), swapped(6, 7))
    assert names(bundle, made) == ["reordered"]


def test_entries_in_another_order_with_new_numbers_and_indices_are_reordered():
    made, chip = lived()

    def change(rows: Rows) -> Rows:
        indices = [row.index for row in rows]
        rows = renumbered(swapped(4, 7)(rows))
        return [row._replace(index=index) for row, index in zip(rows, indices, strict=True)]

    assert names(changed(shown(made, chip), change), made) == ["reordered"]


def test_reports_of_one_moment_in_another_order_are_reordered_by_the_chips_own_counter():
    made = founded()
    (chip,) = installed(made)
    made.tick()
    made.put(*(chip.heartbeat(made.epoch, made.now_ms) for _ in range(3)))
    made.tick()

    def change(rows: Rows) -> Rows:
        indices = [row.index for row in rows]
        rows = renumbered(swapped(4, 5)(rows))
        return [row._replace(index=index) for row, index in zip(rows, indices, strict=True)]

    assert names(changed(shown(made, chip), change), made) == ["reordered"]


def test_an_entry_shown_twice_is_inserted():
    made, chip = lived()

    def change(rows: Rows) -> Rows:
        at = ours(rows)[-1]
        return [*rows[: at + 1], rows[at]._replace(index=rows[at].index + 1), *rows[at + 1 :]]

    found = names(changed(shown(made, chip), change), made)
    assert found[0] == "reordered" or "inserted" in found
    assert "inserted" in found


@pytest.mark.parametrize("at_end", [True, False])
def test_an_entry_that_the_log_does_not_have_is_inserted(at_end: bool):
    made, chip = lived()
    token = chip.heartbeat(made.epoch, made.now_ms)

    def change(rows: Rows) -> Rows:
        place = ours(rows)[-1 if at_end else -2] + 1
        before = rows[place - 1]
        row = before._replace(index=before.index, body=token, kind="heartbeat", links=(Own(0, 0),))
        rows = [*rows[:place], row, *rows[place:]]
        return renumbered([row._replace(index=n) if n else row for n, row in enumerate(rows)])

    found = names(changed(shown(made, chip), change), made)
    assert "inserted" in found


def test_an_entry_of_another_chip_is_inserted():
    made = founded()
    chip, other = installed(made, 1, 2)
    made.beat(chip)
    made.tick()
    token = other.heartbeat(made.epoch, made.now_ms)
    made.file(token, Kind.HEARTBEAT, [chip_subject(chip.ueid)])
    assert names(shown(made, chip), made) == ["inserted"]


def test_an_entry_with_another_statement_is_altered():
    made, chip = lived()

    def change(rows: Rows) -> Rows:
        at = ours(rows)[4]
        forged = st.sign(st.decode(rows[at].body or b"").body, THIEF)
        rows[at] = rows[at]._replace(body=forged)
        return rows

    found = names(changed(shown(made, chip), change), made)
    assert found == ["altered", "swapped-key"]


def test_an_entry_with_another_time_is_altered():
    made, chip = lived()

    def change(rows: Rows) -> Rows:
        at = ours(rows)[-1]
        rows[at] = rows[at]._replace(received_ms=rows[at].received_ms + 1)
        return rows

    assert names(changed(shown(made, chip), change), made) == ["altered"]


def test_a_withheld_statement_with_another_digest_is_altered():
    made, chip = lived()
    bundle = redact(shown(made, chip), of_kinds(["heartbeat"])).bundle

    def change(rows: Rows) -> Rows:
        at = ours(rows)[-1]
        rows[at] = rows[at]._replace(digest=seed("another"))
        return rows

    assert names(changed(bundle, change), made) == ["altered"]


# -- the heads map ---------------------------------------------------------------------------


def test_a_row_that_stands_twice_is_duplicated():
    made, chip = lived()
    full = shown(made, chip)
    content = next(bucket for bucket in full.head.buckets if len(bucket) == ROW_SIZE)
    buckets = tuple(b + b if b == content else b for b in full.head.buckets)
    found = names(Bundle(replace(full.head, buckets=buckets), full.pieces), made)
    assert "duplicated" in found


def test_a_map_with_a_second_row_is_duplicated_even_where_the_ledger_committed_to_it():
    made, chip = lived()
    key = subject_key(SubjectKind.CHIP, chip.ueid)

    class Twice(Double):
        def buckets(self) -> list[bytes]:
            found = super().buckets()
            row = key + (1).to_bytes(8) + made.chains[key][0].leaf[:32]
            return [b + row if key in b else b for b in found]

    made.__class__ = Twice
    assert names(shown(made, chip), made) == ["duplicated"]


def test_a_map_of_an_earlier_moment_shows_too_much_inserted():
    """The index-root commits to the chip's head of some time ago; the bundle shows it all."""
    made, chip = lived()
    old = made.rows()
    made.beat(chip)
    made.publish(old)
    assert names(made.bundle(chip.ueid), made) == ["inserted"]


def test_a_map_of_an_earlier_moment_and_a_history_to_match_need_a_receipt_to_be_noticed():
    made, chip = lived()
    old = made.rows()
    made.beat(chip)
    receipt = leaf_hash(made.log[-1].leaf)
    made.publish(old)
    made.chains[subject_key(SubjectKind.CHIP, chip.ueid)].pop()
    bundle = made.bundle(chip.ueid)
    assert check(bundle.encode(), made.now_ms).accepted
    assert names(bundle, made, receipts=[receipt]) == ["omitted"]


def test_an_index_root_that_is_not_the_last_entry_is_stale():
    made, chip = lived()
    made.publish()
    made.put(chip.heartbeat(made.epoch, made.now_ms))
    made.sign()
    key = subject_key(SubjectKind.CHIP, chip.ueid)
    made.chains[key].pop()
    assert names(made.bundle(chip.ueid), made) == ["stale"]


def test_an_index_root_that_covers_fewer_entries_is_stale():
    made, chip = lived()
    made.publish(size=len(made.log) - 1)
    assert names(made.bundle(chip.ueid), made) == ["stale"]


def test_buckets_and_proofs_of_another_moment_are_unproven():
    made, chip = lived()
    early = shown(made, chip)
    made.beat(chip)
    full = shown(made, chip)
    for changes in (
        {"map_proof": early.head.map_proof[:-32] + bytes(32)},
        {"map_proof": early.head.map_proof[:-32]},
        {"log_proof": early.head.log_proof},
        {"log_proof": b""},
        {"buckets": early.head.buckets[:1]},
    ):
        found = names(Bundle(replace(full.head, **changes), full.pieces), made)
        assert found == ["unproven"], changes


def test_another_number_of_buckets_than_the_genesis_fixes_is_unfounded():
    made, chip = lived()
    made.publish(bucket_bits=9)
    assert "unfounded" in names(made.bundle(chip.ueid), made)


# -- forked, rolled back, stale --------------------------------------------------------------


def test_two_checkpoints_of_one_size_are_a_fork():
    made, _ = lived()
    made.publish()
    other, chip = lived()
    other.world.now_ms += 1
    other.publish()
    assert len(other.log) == len(made.log)
    assert names(other.bundle(chip.ueid), other, remembered=[made.notes[-1]]) == ["forked"]


def test_a_log_that_does_not_extend_what_was_seen_has_forked():
    made, chip = lived()
    kept = made.show(chip) and made.notes[-1]
    size = len(made.log)
    other, same = lived()
    other.world.now_ms += 1
    other.publish()
    other.beat(same)
    other.publish()
    bundle = other.bundle(same.ueid, since=[size])
    assert names(bundle, other, remembered=[kept]) == ["forked"]


def test_a_smaller_log_than_was_seen_is_rolled_back():
    made, chip = lived()
    early = shown(made, chip)
    made.beat(chip)
    made.publish()
    assert names(early, made, remembered=[made.notes[-1]]) == ["rolled-back"]


def test_a_checkpoint_older_than_the_reader_takes_is_stale():
    made, chip = lived()
    early = shown(made, chip)
    made.tick(30)
    assert names(early, made, max_age_s=86_400) == ["stale"]
    assert check(early.encode(), made.now_ms, max_age_s=200_000).accepted


# -- keys and signatures ---------------------------------------------------------------------


def test_a_heartbeat_by_another_key_is_a_swapped_key():
    made, chip = lived()
    thief = replace(chip, signer=THIEF)
    made.tick()
    token = thief.heartbeat(made.epoch, made.now_ms)
    made.append(token, Kind.HEARTBEAT, [chip_subject(chip.ueid)])
    made.tick()
    assert names(shown(made, chip), made) == ["swapped-key"]


def test_a_birth_with_another_key_that_its_device_never_bound_is_a_bad_signature():
    made = founded()
    chip = made.world.chip(1)
    body = st.decode(made.world.birth(chip)).body
    forged = body.model_copy(update={"key": THIEF.public.to_cose_key()})
    token = st.sign(forged, made.world.maker)
    made.append(token, Kind.BIRTH, [chip_subject(chip.ueid), party_subject("maker")])
    assert names(shown(made, chip), made) == ["bad-signature"]


def test_a_decision_that_names_another_key_is_a_swapped_key():
    made, chip = lived()
    record = made.registry.chip(chip.ueid)
    token = made.world.release(
        chip,
        record.decision_sequence + 1,
        record.decision_digest,
        key=THIEF.public.thumbprint,
        action="release",
    )
    made.append(token, Kind.DECISION, [chip_subject(chip.ueid), party_subject("officer")])
    assert names(shown(made, chip), made) == ["swapped-key"]


def test_a_checkpoint_by_another_key_than_the_genesis_names_is_a_swapped_key():
    made, chip = lived()
    made.publish()
    text = parse_note(made.notes[-1]).text
    made.notes[-1] = sign_checkpoint(Checkpoint.decode(text), [NoteSigner(ORIGIN, THIEF)])
    bundle = made.bundle(chip.ueid)
    assert names(bundle, made, trust=None) == ["swapped-key"]
    believer = trust(logs=[NoteSigner(ORIGIN, THIEF).vkey])
    assert "swapped-key" in names(bundle, made, trust=believer)


def test_a_log_key_that_the_policy_does_not_have_is_a_swapped_key():
    made, chip = lived()
    other = trust(logs=[NoteSigner(ORIGIN, THIEF).vkey])
    assert names(shown(made, chip), made, trust=other) == ["swapped-key"]


def test_a_log_that_the_policy_does_not_name_is_untrusted():
    made, chip = lived()
    other = trust(logs=[NoteSigner("other.example", LEDGER).vkey])
    assert names(shown(made, chip), made, trust=other) == ["untrusted"]


def test_a_signature_of_a_statement_that_does_not_verify_is_bad():
    made, chip = lived()
    made.tick()
    token = chip.heartbeat(made.epoch, made.now_ms)
    made.append(token[:-1] + bytes([token[-1] ^ 1]), Kind.HEARTBEAT, [chip_subject(chip.ueid)])
    made.tick()
    assert names(shown(made, chip), made) == ["bad-signature"]


def test_a_signature_of_the_checkpoint_or_of_a_witness_that_does_not_verify_is_bad():
    made, chip = lived()
    made.publish()
    note = parse_note(made.notes[-1])
    for place in (0, 2):
        lines = list(note.signatures)
        line = lines[place]
        lines[place] = replace(line, signature=line.signature[:-1] + b"\x00")
        made.notes.append(replace(note, signatures=tuple(lines)).encode())
        assert set(names(made.bundle(chip.ueid), made)) == {"bad-signature"}


def test_too_few_cosignatures_are_no_quorum():
    made, chip = lived()
    data = made.show(chip)
    note = parse_note(made.notes[-1])
    made.notes.append(replace(note, signatures=note.signatures[:2]).encode())
    report = check(made.bundle(chip.ueid).encode(), made.now_ms)
    assert report.names() == ["no-quorum"]
    assert check(made.bundle(chip.ueid).encode(), made.now_ms, trust=trust(quorum="1")).accepted
    assert check(data, made.now_ms).accepted


def test_witnesses_that_the_policy_does_not_name_make_no_quorum():
    made, chip = lived()
    made.publish()
    note = parse_note(made.notes[-1])
    lone = replace(note, signatures=note.signatures[:1]).encode()
    strangers = [Cosigner(w.vkey.name, signer(f"stranger {n}")) for n, w in enumerate(WITNESSES)]
    lines = [stranger.cosign(note.text, made.world.iat) for stranger in strangers]
    made.notes.append(add_signatures(lone, lines))
    assert names(made.bundle(chip.ueid), made) == ["no-quorum"]


# -- decisions -------------------------------------------------------------------------------


def diverted(**policy: Any) -> tuple[Double, Chip]:
    """A ledger that hides the hold of a chip that reports from elsewhere."""
    made = founded(**policy)
    made.hides = ("hold",)
    (chip,) = installed(made)
    for _ in range(3):
        made.beat(chip, place=SINGAPORE)
    made.tick()
    return made, chip


def test_a_hidden_hold_is_a_missing_decision():
    made, chip = diverted()
    assert len(made.drafts) == 1
    report = check(made.show(chip), made.now_ms)
    assert report.names() == ["missing-decision"]
    (finding,) = report.faults
    assert finding.index == report.life[5].index
    assert "hold" in finding.detail


def test_a_hidden_hold_for_silence_is_a_missing_decision():
    made = founded(silence_after_h=1, silence_hold_after_h=2)
    made.hides = ("hold",)
    (chip,) = installed(made)
    made.beat(chip)
    made.tick(4)
    assert names(shown(made, chip), made) == ["missing-decision"]


def test_a_hold_that_was_hidden_for_some_time_and_filed_late_is_there():
    made, chip = diverted()
    made.put(st.sign(made.drafts[0], VERIFIER))
    assert check(made.show(chip), made.now_ms).accepted


def test_a_release_of_a_hold_that_is_hidden_is_a_missing_decision():
    made, chip = diverted()
    draft = made.drafts[0]
    digest = st.decode(st.sign(draft, VERIFIER)).digest
    token = made.world.release(chip, 2, digest)
    made.append(token, Kind.DECISION, [chip_subject(chip.ueid), party_subject("officer")])
    assert names(shown(made, chip), made) == ["missing-decision"]


def test_a_decision_other_than_the_one_due_is_missing_one_and_unfounded():
    made, chip = diverted()
    milder = made.drafts[0].model_copy(update={"reasons": ["nothing to see"]})
    made.put(st.sign(milder, VERIFIER))
    assert names(shown(made, chip), made) == ["missing-decision", "unfounded"]


def test_a_hold_without_any_ground_is_unfounded():
    made, chip = lived()
    record = made.registry.chip(chip.ueid)
    body = st.decode(
        made.world.release(
            chip, record.decision_sequence + 1, record.decision_digest, action="hold"
        )
    ).body
    made.put(st.sign(body, VERIFIER))
    assert names(shown(made, chip), made) == ["unfounded"]


# -- entries that admission would not have taken ---------------------------------------------


def filed(made: Double, chip: Chip, token: bytes, kind: str, *parties: str) -> list[str]:
    """What is found where the ledger files a statement as it should not."""
    made.append(token, kind, [chip_subject(chip.ueid), *map(party_subject, parties)])
    made.tick()
    return names(shown(made, chip), made)


def test_a_shipment_by_somebody_who_does_not_hold_the_chip_is_unfounded():
    made, chip = lived()
    token = made.world.ship(chip, by=made.world.reseller, to="holder", licence=None)
    assert filed(made, chip, token, Kind.SHIP, "reseller", "holder") == ["unfounded"]


def test_a_statement_filed_as_a_conflict_without_contradicting_anything_is_unfounded():
    made, chip = lived()
    made.tick()
    token = chip.heartbeat(made.epoch, made.now_ms)
    assert filed(made, chip, token, Kind.CONFLICT) == ["unfounded"]


def test_a_rollback_filed_as_a_heartbeat_is_unfounded():
    made, chip = lived()
    made.tick()
    token = replace(chip, counter=1, previous=seed("x")).heartbeat(made.epoch, made.now_ms)
    assert filed(made, chip, token, Kind.HEARTBEAT) == ["unfounded"]


def test_a_heartbeat_with_an_old_nonce_is_unfounded():
    made, chip = lived()
    old = made.epoch
    made.tick(3)
    token = chip.heartbeat(old, made.now_ms)
    assert filed(made, chip, token, Kind.HEARTBEAT) == ["unfounded"]


def test_an_entry_filed_under_fewer_than_it_names_is_unfounded():
    made, chip = lived()
    token = made.world.install(chip)
    assert filed(made, chip, token, Kind.INSTALL, "holder") == ["unfounded"]


def test_an_entry_filed_as_another_kind_is_unfounded():
    made, chip = lived()
    assert filed(made, chip, made.world.install(chip), Kind.RETIRE, "holder") == ["unfounded"]


def test_bytes_that_are_no_statement_are_unfounded():
    made, chip = lived()
    key = subject_key(SubjectKind.CHIP, chip.ueid)
    link = Link(key, *made.head(key))
    leaf = encode_leaf(Kind.HEARTBEAT, made.now_ms, (link,), sha256(b"junk"))
    made.log.append(Stored(len(made.log), leaf, b"junk"))
    made.chains[key].append(made.log[-1])
    assert names(shown(made, chip), made) == ["unfounded"]


# -- what a life refers to -------------------------------------------------------------------


@pytest.mark.parametrize("ident", [b"maker", b"holder", b"L-1", b"ledger"])
def test_what_a_life_refers_to_and_is_not_shown_is_unproven(ident: bytes):
    made, chip = lived()

    def less(chains: list[Chain]) -> list[Chain]:
        return [chain for chain in chains if chain.ident != ident]

    report = check(made.show(chip, chains=less), made.now_ms)
    assert set(report.names()) == {"unproven"}


def test_a_registration_that_the_log_does_not_have_is_unproven():
    """The thief's key under the holder's name, in a bundle with all other proofs."""
    made, chip = lived()
    body = st.decode(made.registration(SubjectKind.PARTY, b"holder").entries[0].body or b"").body
    forged = st.sign(
        body.model_copy(update={"key": THIEF.public.to_cose_key()}), made.world.authority
    )

    def change(rows: Rows) -> Rows:
        return [
            row._replace(body=forged)
            if row.kind == Kind.PARTY and st.decode(row.body or b"").body.id == "holder"
            else row
            for row in rows
        ]

    assert "unproven" in names(changed(shown(made, chip), change), made)


def test_a_second_registration_shown_in_place_of_the_first_is_a_swapped_key():
    """The authority signs a new key for the holder; the bundle shows only that one."""
    made, chip = lived()
    body = st.decode(made.registration(SubjectKind.PARTY, b"holder").entries[0].body or b"").body
    second = body.model_copy(update={"key": THIEF.public.to_cose_key()})
    made.append(st.sign(second, made.world.authority), Kind.PARTY, [party_subject("holder")])
    holder = made.chain(SubjectKind.PARTY, b"holder", whole=False)

    def later(chains: list[Chain]) -> list[Chain]:
        run = replace(holder, entries=holder.entries[-1:])
        return [run if chain.ident == b"holder" else chain for chain in chains]

    report = check(made.show(chip, chains=later), made.now_ms)
    assert "swapped-key" in report.names()


def test_a_registration_by_somebody_else_than_the_authority_is_not_taken():
    made = Double()
    world = World()
    made.world = world
    made.put(world.genesis(LEDGER.public.to_cose_key(), VERIFIER.public.to_cose_key()))
    body = st.decode(world.parties()[1]).body
    made.append(st.sign(body, THIEF), Kind.PARTY, [party_subject("holder")])
    made.tick()

    def with_holder(chains: list[Chain]) -> list[Chain]:
        return [*chains, made.registration(SubjectKind.PARTY, b"holder")]

    data = made.show(b"\x01" + bytes(16), chains=with_holder)
    assert check(data, made.now_ms).names() == ["unproven"]


def test_findings_without_end_are_counted_and_not_kept():
    made, chip = lived()
    for _ in range(130):
        made.tick()
        token = chip.heartbeat(made.epoch, made.now_ms)
        made.append(token[:-1] + bytes([token[-1] ^ 1]), Kind.HEARTBEAT, [chip_subject(chip.ueid)])
    report = check(made.show(chip), made.now_ms)
    assert report.names() == ["bad-signature"]
    assert (len(report.faults), report.more_faults) == (100, 30)


def test_every_fault_is_found_by_some_test_here():
    text = Path(__file__).read_text()
    assert [fault for fault in Fault if f'"{fault.value}"' not in text] == []
