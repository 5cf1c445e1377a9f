"""Bundles of honest ledgers: what is established, and for whom."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ledger.bundle.format import Bundle
from ledger.bundle.redact import before, everything, of_kinds, redact
from ledger.errors import Reason
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import leaf_hash
from ledger.log.note import parse_note
from ledger.protocol.statements import Kind
from ledger.values import SubjectKind
from tests.bundle.double import BITS, Double, check, founded, installed, trust
from tests.protocol.refusals import refused
from tests.world import KUALA_LUMPUR, SINGAPORE, Chip

HOUR_S = 3_600


def lived() -> tuple[Double, Chip]:
    """A chip that reports from home, is held for reporting from elsewhere, and is released."""
    made = founded()
    chip, _ = installed(made, 1, 2)
    for place in (None, None, SINGAPORE, SINGAPORE, None, None):
        made.beat(chip, **({} if place is None else {"place": place}))
    made.release(chip)
    made.beat(chip)
    made.tick()
    return made, chip


def test_an_honest_bundle_is_accepted_and_tells_the_life_in_order():
    made, chip = lived()
    report = check(made.show(chip), made.now_ms + 10_000)
    assert report.faults == []
    assert report.accepted
    kinds = [event.kind for event in report.life]
    assert kinds == [
        "birth",
        "ship",
        "receive",
        "install",
        *["heartbeat"] * 3,
        "decision",
        *["heartbeat"] * 3,
        "decision",
        "heartbeat",
    ]
    assert (
        [event.seq for event in report.life]
        == list(range(len(kinds)))
        == list(range(report.entries))
    )
    assert report.life[7].words.startswith("HOLD, decision 1")
    assert report.life[7].signer == "verifier"
    assert report.life[11].signer == "officer"
    assert report.life[-1].signer == "chip"
    assert (report.state, report.decisions, report.decisions_checked) == ("active", 1, True)
    assert (report.size, report.root) == (
        len(made.log),
        Checkpoint.decode(parse_note(made.notes[-1]).text).root,
    )
    assert report.head_index == report.life[-1].index
    assert report.published_ms == made.now_ms
    assert [voucher.witness for voucher in report.vouchers] == ["w0", "w1", "w2"]
    assert report.age_s == 10
    assert report.withheld == {}
    assert report.unchecked == 0


def test_without_a_trust_policy_all_else_is_checked_and_nobody_vouches():
    made, chip = lived()
    report = check(made.show(chip), made.now_ms, trust=None)
    assert report.sound
    assert not report.accepted
    assert not report.policy_given
    assert any("nobody vouches" in remark for remark in report.remarks)
    assert report.signatures > 10


def test_a_policy_without_quorum_is_enough_where_the_log_signed():
    made, chip = lived()
    policy = trust()
    lone = type(policy)(policy.logs, (), (), None)
    report = check(made.show(chip), made.now_ms + 5_000, trust=lone)
    assert report.accepted
    assert report.vouchers == ()
    assert report.age_s == 5


@pytest.mark.parametrize("number", range(4))
def test_a_ueid_without_entries_is_proved_to_have_none(number: int):
    made, _ = lived()
    ueid = b"\x01" + bytes([number]) * 16
    report = check(made.show(ueid), made.now_ms)
    assert report.accepted
    assert (report.entries, report.life, report.state, report.head_index) == (0, [], None, None)


def test_a_chip_without_heartbeats_and_one_that_was_just_born():
    made = founded()
    chip = made.world.chip(7)
    made.put(made.world.birth(chip))
    report = check(made.show(chip), made.now_ms)
    assert report.accepted
    assert report.state == "registered"


def test_signatures_may_be_checked_by_an_executor():
    made, chip = lived()
    data = made.show(chip)
    with ThreadPoolExecutor(1) as executor:
        report = check(data, made.now_ms, executor=executor)
    assert report == check(data, made.now_ms)
    assert report.signatures > 10


# -- decisions -------------------------------------------------------------------------------


def test_silence_is_judged_by_the_time_of_entries_that_the_bundle_does_not_show():
    made = founded(silence_after_h=2, silence_hold_after_h=4)
    chip, other = installed(made, 1, 2)
    made.beat(chip)
    for _ in range(6):
        made.beat(other)
    report = check(made.show(chip), made.now_ms)
    assert report.accepted, report.faults
    assert (report.state, report.decisions) == ("held", 1)


def test_a_conflict_on_record_is_told_with_what_it_contradicts():
    made = founded()
    chip, other = installed(made, 1, 2)
    made.beat(chip)
    chip.counter, chip.previous = 0, bytes(32)
    made.beat(chip)
    made.put(made.world.ship(chip, other, by=made.world.reseller))
    report = check(made.show(chip), made.now_ms)
    assert report.accepted, report.faults
    assert [event.conflict for event in report.life if event.kind == "conflict"] == [
        "counter-rollback",
        "not-custodian",
    ]


def test_a_conflict_that_lies_in_another_chip_is_a_remark():
    made = founded()
    chip, gone = installed(made, 1, 2)
    made.put(made.world.ship(gone, by=made.world.holder, to="reseller", destination="MY"))
    made.put(made.world.ship(chip, gone, by=made.world.holder, to="reseller", destination="MY"))
    report = check(made.show(chip), made.now_ms)
    assert report.accepted, report.faults
    assert any("another chip" in remark for remark in report.remarks)


def test_a_hold_for_a_quota_that_other_chips_used_up_is_a_remark():
    made = founded()
    world = made.world
    made.put(world.licence(id="L-2", quota_per_year=1))
    chips = [world.chip(1), world.chip(2)]
    made.put(*(world.birth(chip) for chip in chips))
    made.put(
        world.ship(*chips, licence="L-2"),
        world.receive(*chips),
        world.install(*chips, licence="L-2"),
    )
    for chip in chips:
        made.beat(chip)
    assert made.registry.chip(chips[1].ueid).state == "held"

    def with_licence(chains: list[Any]) -> list[Any]:
        return [*chains, made.registration(SubjectKind.LICENCE, b"L-2")]

    report = check(made.show(chips[1], chains=with_licence), made.now_ms)
    assert report.accepted, report.faults
    assert any("quota" in remark for remark in report.remarks)


def test_a_decision_that_fell_due_just_now_may_still_be_on_its_way():
    made = founded()
    made.hides = ("hold",)
    (chip,) = installed(made)
    for _ in range(2):
        made.beat(chip, place=SINGAPORE)
    report = check(made.show(chip), made.now_ms)
    assert report.accepted
    assert any("not on record yet" in remark for remark in report.remarks)
    assert check(made.show(chip), made.now_ms, grace_ms=-1).names() == ["missing-decision"]


def test_without_borders_decisions_are_not_derived_and_the_report_says_so():
    made, chip = lived()
    report = check(made.show(chip), made.now_ms, places=None)
    assert report.accepted
    assert not report.decisions_checked
    assert report.state == "active"


# -- left out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("withhold", "kinds"),
    [
        (of_kinds(["heartbeat"]), {"heartbeat"}),
        (of_kinds(["install", "decision"]), {"install", "decision"}),
        (of_kinds(["birth"]), {"birth"}),
        (of_kinds(["party", "epoch"]), {"party", "epoch"}),
        (everything, None),
    ],
)
def test_a_redacted_bundle_verifies_and_says_what_is_withheld(withhold: Any, kinds: Any):
    made, chip = lived()
    redacted = redact(Bundle.decode(made.show(chip)), withhold)
    data = redacted.bundle.encode()
    report = check(data, made.now_ms)
    assert report.accepted, report.faults
    assert report.withheld == redacted.withheld
    assert kinds is None or set(report.withheld) == kinds
    assert not report.decisions_checked
    assert len(report.life) == report.entries == 13
    hidden = [event for event in report.life if event.body is None]
    assert all(event.words == "statement withheld" for event in hidden)
    for item in Bundle.decode(data).entries():
        assert (item.body is None) == (item.kind in report.withheld)


def test_what_came_before_a_time_can_be_left_out():
    made, chip = lived()
    cut_ms = made.now_ms - 3 * HOUR_S * 1000
    redacted = redact(Bundle.decode(made.show(chip)), before(cut_ms))
    report = check(redacted.bundle.encode(), made.now_ms)
    assert report.accepted, report.faults
    assert [event.body is None for event in report.life] == [
        event.received_ms < cut_ms for event in report.life
    ]
    assert report.unchecked > 0


# -- what the reader knows already -----------------------------------------------------------


def test_an_earlier_checkpoint_is_extended_where_the_bundle_proves_it():
    made, chip = lived()
    made.publish()
    old, size = made.notes[-1], len(made.log)
    made.beat(chip)
    made.publish()
    same = made.notes[-1]
    data = made.bundle(chip.ueid, since=[size]).encode()
    report = check(data, made.now_ms, remembered=[old, same])
    assert report.accepted, report.faults
    assert not any("not compared" in remark for remark in report.remarks)
    unproved = check(made.bundle(chip.ueid).encode(), made.now_ms, remembered=[old])
    assert unproved.accepted
    assert any("not compared" in remark for remark in unproved.remarks)


def test_a_note_of_something_else_is_no_earlier_checkpoint():
    made, chip = lived()
    data = made.show(chip)
    with refused(Reason.NOTE_MALFORMED):
        check(data, made.now_ms, remembered=[made.notes[-1].replace(b"test.example", b"x.example")])


def test_sizes_that_do_not_lie_below_the_checkpoint_prove_nothing():
    made, chip = lived()
    made.publish()
    for size in (0, len(made.log), len(made.log) + 1):
        with refused(Reason.PROOF_INVALID, "since"):
            made.bundle(chip.ueid, since=[size])


def test_receipts_for_entries_that_are_there_are_satisfied():
    made, chip = lived()
    receipts = [
        leaf_hash(entry.leaf)
        for entry in made.chain(SubjectKind.CHIP, chip.ueid, whole=True).entries
    ]
    assert check(made.show(chip), made.now_ms, receipts=receipts).accepted


def test_age_is_that_of_the_oldest_cosignature_that_is_needed():
    made, chip = lived()
    data = made.show(chip)
    later_ms = made.now_ms + HOUR_S * 1000
    assert check(data, later_ms, max_age_s=HOUR_S).accepted
    assert check(data, later_ms, max_age_s=HOUR_S - 1).names() == ["stale"]
    assert check(data, later_ms, trust=None, max_age_s=HOUR_S - 1).names() == ["stale"]


def test_cosignatures_from_the_future_do_not_count():
    made, chip = lived()
    data = made.show(chip)
    report = check(data, made.now_ms - HOUR_S * 1000)
    assert report.names() == ["no-quorum"]
    assert any("from the future" in remark for remark in report.remarks)


def test_the_proofs_of_a_bundle_stay_under_four_kilobytes():
    made, chip = lived()
    for number in range(3_000):
        made.fill(leaf_hash(b"subject %d" % (number % 1_000)))
    made.beat(chip)
    bundle = Bundle.decode(made.show(chip))
    assert BITS == 8
    assert len(parse_note(bundle.head.checkpoint).signatures) == 4
    assert len(bundle.head.encode()) < 4_096
    shown = list(bundle.entries())
    assert shown[-1].kind == Kind.INDEX_ROOT
    beside = sum(len(made.log[e.index].leaf) + len(e.body or b"") for e in shown)
    assert len(bundle.encode()) - beside < 4_096


def test_a_chip_far_away_is_judged_by_the_borders_given():
    made = founded()
    (chip,) = installed(made)
    for _ in range(3):
        made.beat(chip, place=KUALA_LUMPUR)
    report = check(made.show(chip), made.now_ms)
    assert report.accepted
    everywhere = check(made.show(chip), made.now_ms, places=lambda *_: frozenset({"DE"}))
    assert everywhere.names() == ["unfounded"]
