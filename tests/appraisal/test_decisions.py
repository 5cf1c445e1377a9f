"""When findings become decisions: thresholds, clearing, revocation, release, conflicts."""

from typing import Any

import pytest

from ledger.appraisal.appraiser import MAX_EVIDENCE, LoggedEntry
from ledger.appraisal.rules import Tier
from ledger.errors import IntegrityError, Reason
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Measurement
from ledger.values import ZERO_DIGEST
from tests.appraisal.bench import (
    BASEL,
    NOWHERE_M,
    PARIS,
    Court,
    court,
    installed,
)
from tests.registry.bench import DAY_MS, HOUR_MS, VERIFIER
from tests.world import KUALA_LUMPUR, SINGAPORE, Chip, seed, signer

EVIL = Measurement("6.6", 9, seed("evil"))
NO_TRAVEL = {"travel_speed_kmh": 0}
"""For chips that only seem to move so that a test needs one line."""


def only(rule: str, after: int = 1, **more: Any) -> dict[str, Any]:
    """A policy by which one rule holds."""
    return {"hold_after": {rule: after}, **NO_TRAVEL} | more


def kinds(drafts: list[st.Decision]) -> list[tuple[str, list[str]]]:
    return [(draft.action, list(draft.rules)) for draft in drafts]


# -- holds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_hold_takes_as_many_failures_as_the_policy_says(limit: int):
    made = court(**only("measurements", limit))
    chip = installed(made)
    assert made.hours(limit - 1, chip, measurement=EVIL) == []
    drafts = made.hour(chip, measurement=EVIL)
    assert kinds(drafts) == [("hold", ["measurements"])]
    assert made.state(chip) == "held"


def test_a_rule_that_the_policy_does_not_name_only_flags():
    made = court(hold_after={})
    chip = installed(made)
    assert made.hours(10, chip, measurement=EVIL) == []
    assert made.case(chip).flags == ["suspect"]
    assert made.state(chip) == "active"


def test_a_decision_names_words_evidence_policy_and_appeal():
    made = court(**only("measurements", 2))
    chip = installed(made)
    (draft,) = made.hours(2, chip, measurement=EVIL)
    leaves = [entry.leaf_hash for entry in made.log if entry.message.kind is st.Kind.HEARTBEAT]
    assert draft.evidence == leaves
    assert draft.policy == made.registry.policy_digest
    assert (draft.sequence, draft.previous) == (1, ZERO_DIGEST)
    assert draft.issued_ms == draft.effective_ms == made.now_ms
    assert draft.reasons[0].startswith("measurements: firmware 6.6 (security version 9")
    assert draft.appeal == f"to authority, quoting {chip.ueid.hex()}/1"
    assert draft.key == chip.signer.public.thumbprint


def test_rules_that_reach_their_number_together_stand_in_one_hold():
    made = court(hold_after={"measurements": 1, "debug": 1, "boot": 3}, **NO_TRAVEL)
    chip = installed(made)
    (draft,) = made.hour(chip, measurement=EVIL, debug_status=0)
    assert draft.rules == ["debug", "measurements"]
    assert [words.split(":")[0] for words in draft.reasons] == ["debug", "measurements"]


def test_evidence_of_many_rules_fits_into_a_decision():
    rules = ["debug", "freshness", "identity", "location-claim", "measurements"]
    made = court(hold_after={}, **NO_TRAVEL)
    chip = installed(made)
    faults: list[dict[str, Any]] = [
        {"debug_status": 0},
        {"iat": 1},
        {"oemid": 7},
        {"place": KUALA_LUMPUR},
        {"measurement": EVIL},
    ]
    for fault in faults:
        made.hours(8, chip, **fault)
    made.amend(hold_after=dict.fromkeys(rules, 1))
    (draft,) = made.hour(chip)
    assert draft.rules == rules
    assert len(draft.evidence) <= MAX_EVIDENCE
    assert st.decode(st.sign(draft, VERIFIER)).body == draft


def test_long_words_are_cut_to_what_a_decision_takes():
    made = court(**only("licence"))
    chip = installed(made)
    made.take(made.world.licence(id="L-2", models=[f"M{n:031}" for n in range(64)]))
    drafts = made.during(lambda: made.put(made.world.install(chip, licence="L-2")))
    assert [len(words) for words in drafts[0].reasons] == [500]
    assert made.state(chip) == "held"


def test_a_held_chip_is_not_held_twice():
    made = court(**only("measurements"))
    chip = installed(made)
    assert len(made.hours(6, chip, measurement=EVIL)) == 1


def test_nothing_more_is_drafted_while_a_decision_is_on_its_way():
    made = court(**only("measurements"), silence_hold_after_h=2)
    chip = installed(made)
    made.prompt = False
    assert len(made.hours(4, chip, measurement=EVIL)) == 1
    assert made.hours(4) == []
    assert made.case(chip).pending == 1
    assert len(made.file()) == 1
    assert made.case(chip).pending == 0
    assert made.state(chip) == "held"


def test_one_bad_chip_does_not_touch_another():
    made = court(**only("measurements"))
    bad, good = installed(made, 1), installed(made, 2)
    made.hour(bad, good)
    made.hour(bad, measurement=EVIL)
    made.hour(good)
    assert (made.state(bad), made.state(good)) == ("held", "active")
    assert made.case(good).flags == []


# -- clearing --------------------------------------------------------------------------------


def test_clean_heartbeats_in_a_row_clear_a_failure():
    made = court(**only("measurements", 2, clear_after=3))
    chip = installed(made)
    made.hour(chip, measurement=EVIL)
    made.hours(2, chip)
    assert made.case(chip).flags == ["suspect"]
    made.hour(chip)
    assert made.case(chip).flags == []
    assert made.hour(chip, measurement=EVIL) == []


def test_a_failure_between_starts_the_row_anew():
    made = court(**only("measurements", 3, clear_after=3))
    chip = installed(made)
    for _ in range(2):
        assert made.hour(chip, measurement=EVIL) == []
        made.hours(2, chip)
    assert kinds(made.hour(chip, measurement=EVIL)) == [("hold", ["measurements"])]


def test_fail_then_silence_then_good_launders_nothing():
    made = court(**only("measurements", 2, clear_after=3, silence_after_h=24))
    chip = installed(made)
    made.hour(chip, measurement=EVIL)
    made.tick(30 * 24)
    assert made.case(chip).flags == ["silent", "suspect"]
    made.hour(chip)
    assert made.case(chip).flags == ["suspect"]
    assert made.case(chip).failures == {"measurements": 1}
    assert len(made.hour(chip, measurement=EVIL)) == 1


def test_unclear_claims_clear_no_claim_outside():
    made = court(**only("location-claim", 2, clear_after=3, unclear_after=0))
    chip = installed(made)
    for hide in ({"accuracy_m": NOWHERE_M}, {"place": BASEL}):
        made.hour(chip, place=KUALA_LUMPUR)
        made.hours(20, chip, **hide)
    assert made.state(chip) == "held"


def test_a_far_off_accuracy_clears_no_custody_fault():
    made = court(**only("custody-place", 2, clear_after=3, unclear_after=0))
    chip = installed(made)
    made.hour(chip, place=PARIS)
    made.hours(10, chip, accuracy_m=NOWHERE_M)
    assert kinds(made.hour(chip, place=PARIS)) == [("hold", ["custody-place"])]


def test_a_warning_of_another_rule_does_not_keep_a_failure_on_record():
    made = court(**only("measurements", 2, clear_after=3, unclear_after=0))
    chip = installed(made)
    made.hour(chip, measurement=EVIL)
    made.hours(3, chip, place=BASEL)
    assert made.case(chip).failures == {}


# -- unclear places --------------------------------------------------------------------------


@pytest.mark.parametrize("claim", [{"accuracy_m": NOWHERE_M}, {"place": BASEL}])
def test_a_chip_that_never_shows_its_place_is_held_in_the_end(claim: dict[str, Any]):
    made = court(**only("location-claim", 2, unclear_after=24))
    chip = installed(made)
    made.hour(chip)
    assert made.hours(25, chip, **claim) == []
    drafts = made.hour(chip, **claim)
    assert kinds(drafts) == [("hold", ["location-claim"])]
    assert "26 heartbeats in a row show no place inside, 24 are tolerated" in drafts[0].reasons[0]


def test_one_clear_claim_inside_starts_the_count_anew():
    made = court(**only("location-claim", 1, unclear_after=3))
    chip = installed(made)
    for _ in range(5):
        assert made.hours(3, chip, place=BASEL) == []
        made.hour(chip)
    assert made.state(chip) == "active"


def test_mixed_reasons_for_being_unclear_count_together():
    made = court(**only("location-claim", 1, unclear_after=3))
    chip = installed(made)
    made.hours(2, chip, place=BASEL)
    made.hour(chip, accuracy_m=NOWHERE_M)
    assert len(made.hour(chip, place=BASEL)) == 1


def test_unclear_claims_between_claims_outside_win_nothing():
    made = court(**only("location-claim", 3, unclear_after=3))
    chip = installed(made)
    for _ in range(3):
        made.hours(3, chip, accuracy_m=NOWHERE_M)
        made.hour(chip, place=KUALA_LUMPUR)
    assert made.state(chip) == "held"


def test_an_unclear_place_alone_never_revokes():
    made = court(**only("location-claim", 1, unclear_after=1, revoke_after_held_d=1))
    chip = installed(made)
    made.hours(3, chip, accuracy_m=NOWHERE_M)
    for _ in range(5):
        made.tick(23)
        made.hour(chip, accuracy_m=NOWHERE_M)
    assert made.state(chip) == "held"


def test_papers_do_not_reset_the_count():
    made = court(**only("location-claim", 1, unclear_after=3))
    chip, world = installed(made), made.world
    made.hours(3, chip, place=BASEL)
    made.take(world.ship(chip, by=world.holder, to="holder"))
    made.take(world.receive(chip, sender="holder"), world.install(chip))
    assert len(made.hour(chip, place=BASEL)) == 1


# -- custody and licence ---------------------------------------------------------------------


def test_custody_outside_the_licence_holds_without_any_heartbeat():
    made = court(**only("licence"))
    chip, world = installed(made), made.world
    made.take(world.ship(chip, by=world.holder, to="reseller", licence=None))
    drafts = made.during(
        lambda: made.take(world.receive(chip, by=world.reseller, sender="holder", country="MY"))
    )
    assert kinds(drafts) == [("hold", ["licence"])]
    assert drafts[0].reasons == ["licence: reseller in MY holds it under no licence"]
    assert drafts[0].evidence == [made.log[-2].leaf_hash]


def test_every_chip_of_a_delivery_is_judged():
    made = court(**only("licence"))
    made.take(made.world.licence(id="L-2", quota_per_year=1))
    chips = [installed(made, number) for number in range(3)]
    drafts = made.during(lambda: made.take(made.world.install(*chips, licence="L-2")))
    assert [draft.ueid for draft in drafts] == [chip.ueid for chip in chips[1:]]


@pytest.mark.parametrize("to", ["rival", "reseller"])
def test_installing_under_somebody_elses_licence_is_held(to: str):
    made = court(**only("licence", 2))
    chip, world = installed(made), made.world
    made.take(world.ship(chip, by=world.holder, to=to, licence="L-1"))
    made.take(world.receive(chip, by=signer(to), sender="holder"))
    made.take(world.install(chip, by=signer(to)))
    assert made.state(chip) == "held"


def test_a_chip_that_reports_on_its_way_for_ever_is_held():
    made = court(**only("custody-place", 2, transit_limit_h=48))
    chip, world = installed(made), made.world
    made.hour(chip)
    made.take(world.ship(chip, by=world.holder, to="rival", licence=None))
    assert made.hours(48, chip) == []
    assert kinds(made.hours(2, chip)) == [("hold", ["custody-place"])]


def test_a_chip_that_a_carrier_runs_is_held():
    made = court(**only("custody-place", 2, transit_limit_h=48))
    chip, world = made.world.chip(1), made.world
    made.take(world.birth(chip), world.ship(chip, to="carrier", licence=None))
    made.take(world.receive(chip, by=signer("carrier"), country="MY"))
    assert made.hours(47, chip, place=KUALA_LUMPUR) == []
    assert kinds(made.hours(2, chip, place=KUALA_LUMPUR)) == [("hold", ["custody-place"])]


def test_retiring_a_chip_frees_it_of_nothing():
    made = court(**only("measurements", 2))
    chip = installed(made)
    made.hour(chip, measurement=EVIL)
    made.take(made.retire(chip))
    assert made.hours(5, chip, measurement=EVIL) == []
    assert made.state(chip) == "retired"  # final, and without a lease
    assert made.case(chip).flags == ["suspect"]


def test_a_hold_that_comes_after_a_retirement_is_dropped():
    made = court(**only("measurements"))
    chip = installed(made)
    made.prompt = False
    made.hour(chip, measurement=EVIL)
    made.take(made.retire(chip))
    assert made.file() == []
    assert made.state(chip) == "retired"


def test_moving_between_ones_own_licensed_sites_is_no_fault():
    made = court()
    chip, world = installed(made), made.world
    made.hours(3, chip)
    made.take(world.ship(chip, by=world.holder, to="holder"))
    made.hours(20)
    made.take(world.receive(chip, sender="holder", country="FR"))
    made.take(world.install(chip, site="Paris 1", country="FR", latitude=48.8, longitude=2.3))
    assert made.hours(5, chip, place=PARIS) == []
    assert made.case(chip).flags == []


# -- conflicts -------------------------------------------------------------------------------


def fork(made: Court, chip: Chip, **changes: Any) -> list[st.Decision]:
    """A second heartbeat with the counter of the last one, by a second holder of the key."""
    chip.counter -= 1
    token = made.beat(chip, debug_status=2, **changes)
    return made.during(lambda: made.conflict(token, Reason.COUNTER_ROLLBACK))


def test_a_fork_is_a_failure_of_continuity():
    made = court(**only("continuity", 2))
    chip = installed(made)
    made.hours(2, chip)
    assert fork(made, chip) == []
    made.tick()
    drafts = fork(made, chip)
    assert kinds(drafts) == [("hold", ["continuity"])]
    assert drafts[0].reasons == ["continuity: counter-rollback: counter 2 after 2"]


@pytest.mark.parametrize("limit", [1, 3])
def test_forks_revoke_when_the_policy_says_so(limit: int):
    made = court(**only("continuity", 1, revoke_after_forks=limit, clear_after=1))
    chip = installed(made)
    made.hours(2, chip)
    leaves = []
    drafts: list[st.Decision] = []
    for _ in range(limit):
        drafts += fork(made, chip)
        leaves.append(made.log[-1 - (drafts != [] and made.log[-1].message.kind == "decision")])
        made.tick()
    assert drafts[-1].action == "revoke"
    assert drafts[-1].rules == ["continuity"]
    assert drafts[-1].reasons == [
        f"continuity: {limit} recorded conflicts prove that its key lives twice"
    ]
    assert len(drafts[-1].evidence) == limit
    assert made.state(chip) == "revoked"


def test_evidence_of_forks_outlives_clean_heartbeats():
    made = court(hold_after={}, revoke_after_forks=2, clear_after=1)
    chip = installed(made)
    made.hours(2, chip)
    fork(made, chip)
    first = made.log[-1].leaf_hash
    chip.previous = made.record(chip).heartbeat_digest
    made.hours(5, chip)
    assert made.case(chip).failures == {}
    (draft,) = fork(made, chip)
    assert draft.action == "revoke"
    assert draft.evidence[0] == first
    assert len(draft.evidence) == 2


def test_a_late_heartbeat_counts_for_a_hold_and_proves_nothing():
    made = court(**only("continuity", 2, revoke_after_forks=1))
    chip = installed(made)
    made.hour(chip)
    late = made.beat(chip)
    made.put(made.beat(chip))
    assert made.during(lambda: made.conflict(late, Reason.COUNTER_ROLLBACK)) == []
    assert (made.case(chip).forks, made.case(chip).failures) == (0, {"continuity": 1})


def test_a_lower_counter_made_after_a_higher_one_proves_two_holders():
    made = court(hold_after={}, revoke_after_forks=1)
    chip = installed(made)
    made.hours(6, chip)
    made.tick()
    chip.counter = 2
    drafts = made.during(lambda: made.conflict(made.beat(chip), Reason.COUNTER_ROLLBACK))
    assert kinds(drafts) == [("revoke", ["continuity"])]


def test_another_predecessor_proves_two_holders():
    made = court(hold_after={}, revoke_after_forks=1)
    chip = installed(made)
    made.hours(2, chip)
    chip.previous = seed("another")
    drafts = made.during(lambda: made.conflict(made.beat(chip), Reason.HEARTBEAT_FORK))
    assert kinds(drafts) == [("revoke", ["continuity"])]


def test_conflicts_by_others_make_suspect_and_never_convict():
    every = dict.fromkeys(("custody-place", "identity", "licence", "continuity"), 1)
    made = court(hold_after=every, revoke_after_forks=1)
    chip = installed(made)
    made.hour(chip)
    for number in range(8):
        token = made.world.ship(chip, by=signer("rival"), reference=f"{number}")
        assert made.during(lambda token=token: made.conflict(token, Reason.NOT_CUSTODIAN)) == []
    assert made.case(chip).flags == ["suspect"]
    assert made.hours(3, chip) == []
    assert made.case(chip).flags == []


def test_a_second_birth_by_another_maker_convicts_nobody():
    made = court(hold_after={"identity": 1})
    chip = installed(made)
    made.hour(chip)
    made.conflict(made.world.birth(chip, model="XA-200"), Reason.UEID_REGISTERED)
    key = chip.signer.public.to_cose_key()
    made.conflict(made.world.birth(made.world.chip(2), key=key), Reason.KEY_IN_USE)
    assert made.case(chip).tiers["identity"] == Tier.WARNING
    assert made.hours(2, chip) == []
    assert made.state(chip) == "active"


def test_conflicts_by_others_neither_soften_nor_word_a_finding():
    made = court(**only("custody-place", 2))
    chip = installed(made)
    made.hour(chip, place=PARIS)
    made.conflict(made.world.ship(chip, by=signer("rival")), Reason.NOT_CUSTODIAN)
    assert made.case(chip).tiers["custody-place"] == Tier.CONTRAINDICATED
    assert made.case(chip).words["custody-place"].startswith("reports from FR")


def test_a_conflict_that_is_none_is_an_integrity_fault():
    made = court()
    chip = installed(made)
    message = st.decode(made.beat(chip))
    with pytest.raises(IntegrityError):
        made.verifier.feed(LoggedEntry(99, bytes(32), made.now_ms, message, conflict=True))


# -- revocation for place --------------------------------------------------------------------


def outside(made: Court, days: int, chip: Chip, every_h: int = 12) -> list[st.Decision]:
    drafts = []
    for _ in range(days * 24 // every_h):
        made.tick(every_h - 1)
        drafts += made.hour(chip, place=KUALA_LUMPUR)
    return drafts


def test_a_chip_that_stays_outside_while_held_is_revoked():
    made = court(**only("location-claim", 2, revoke_after_held_d=3))
    chip = installed(made)
    drafts = outside(made, 5, chip)
    assert [draft.action for draft in drafts] == ["hold", "revoke"]
    assert drafts[1].issued_ms - drafts[0].issued_ms == 3 * DAY_MS
    assert (
        drafts[1].reasons[0].startswith("location-claim: for 3 days held and still reports from MY")
    )
    assert drafts[1].evidence
    assert made.state(chip) == "revoked"


def test_without_that_limit_a_held_chip_stays_held():
    made = court(**only("location-claim", 2))
    chip = installed(made)
    assert len(outside(made, 10, chip)) == 1


def test_one_report_from_inside_starts_the_days_anew():
    made = court(**only("location-claim", 1, revoke_after_held_d=3))
    chip = installed(made)
    outside(made, 2, chip)
    made.hour(chip)
    made.tick(5 * 24)
    assert made.hour(chip, place=KUALA_LUMPUR) == []
    assert outside(made, 2, chip) == []
    assert kinds(outside(made, 1, chip)) == [("revoke", ["location-claim"])]


def test_papers_and_others_do_not_revoke_in_place_of_reports():
    made = court(**only("location-claim", 1, revoke_after_held_d=3))
    chip, world = installed(made), made.world
    made.hours(2, chip, place=KUALA_LUMPUR)
    made.tick(10 * 24)
    made.conflict(world.ship(chip, by=signer("rival")), Reason.NOT_CUSTODIAN)
    assert made.during(lambda: made.take(world.install(chip))) == []
    chip.counter, chip.previous = 2, seed("x")
    fork(made, chip)
    assert made.state(chip) == "held"


def test_a_hold_for_another_rule_does_not_start_the_days():
    made = court(**only("measurements", 1, revoke_after_held_d=1))
    chip = installed(made)
    made.hour(chip, measurement=EVIL)
    outside(made, 3, chip)
    assert made.state(chip) == "held"


# -- release ---------------------------------------------------------------------------------


def test_a_release_clears_and_a_new_hold_takes_new_evidence():
    made = court(**only("measurements", 2))
    chip = installed(made)
    made.hours(5, chip, measurement=EVIL)
    made.release(chip)
    assert (made.state(chip), made.case(chip).failures, made.case(chip).flags) == ("active", {}, [])
    assert made.hour(chip, measurement=EVIL) == []
    (draft,) = made.hour(chip, measurement=EVIL)
    assert (draft.sequence, len(draft.evidence)) == (3, 2)


def test_a_release_forgets_forks():
    made = court(**only("continuity", 1, revoke_after_forks=3))
    chip = installed(made)
    made.hours(2, chip)
    fork(made, chip)
    made.tick()
    fork(made, chip)
    made.release(chip)
    chip.previous = made.record(chip).heartbeat_digest
    assert made.hours(3, chip) == []
    fork(made, chip)
    assert made.state(chip) == "held"  # the first one since


def test_a_release_forgets_unclear_claims_and_days_outside():
    made = court(**only("location-claim", 1, unclear_after=3, revoke_after_held_d=2))
    chip = installed(made)
    outside(made, 1, chip)
    made.release(chip)
    assert made.hours(3, chip, place=BASEL) == []
    assert kinds(made.hour(chip, place=BASEL)) == [("hold", ["location-claim"])]


def test_a_release_before_a_drafted_revocation_lands_stops_it():
    made = court(**only("location-claim", 1, revoke_after_held_d=1))
    chip = installed(made)
    outside(made, 1, chip)
    made.prompt = False
    assert kinds(outside(made, 1, chip, every_h=24)) == [("revoke", ["location-claim"])]
    made.release(chip)
    assert made.file() == []
    assert made.state(chip) == "active"
    made.prompt = True
    assert kinds(made.hour(chip, place=SINGAPORE)) == [("hold", ["location-claim"])]


def test_a_revoked_chip_gets_no_further_decision():
    made = court(hold_after={"measurements": 1, "continuity": 1}, revoke_after_forks=1)
    chip = installed(made)
    made.hours(2, chip)
    fork(made, chip)
    assert made.state(chip) == "revoked"
    chip.previous = made.record(chip).heartbeat_digest
    assert made.hours(5, chip, measurement=EVIL) == []


# -- the policy ------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_decided():
    made = Court()
    world = made.world
    cose = signer("ledger").public.to_cose_key(), VERIFIER.public.to_cose_key()
    made.take(world.genesis(*cose), *world.parties(), world.licence(), made.epoch_token())
    chip = installed(made)
    assert made.hours(40, chip, measurement=EVIL, place=KUALA_LUMPUR) == []
    assert made.case(chip).flags == ["suspect"]


def test_a_new_policy_judges_what_is_on_record_at_the_next_heartbeat():
    made = court(**only("measurements", 9))
    chip = installed(made)
    made.hours(3, chip, measurement=EVIL)
    assert made.amend(hold_after={"measurements": 2}) == []
    (draft,) = made.hour(chip)
    assert draft.policy == made.registry.policy_digest


def test_time_in_a_decision_is_the_entrys():
    made = court(**only("measurements"))
    chip = installed(made)
    made.world.now_ms += 7 * HOUR_MS + 123
    made.take(made.epoch_token())
    token = made.beat(chip, measurement=EVIL)
    made.world.now_ms += 321
    (draft,) = made.during(lambda: made.put(token))
    assert draft.issued_ms == made.now_ms
    assert draft.iat == made.now_ms // 1000
