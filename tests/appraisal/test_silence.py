"""Silence: flag and hold by the log's time, what starts and stops the clock, new policies."""

from typing import Any

import pytest

from ledger.appraisal.rules import Tier
from ledger.errors import Reason
from ledger.protocol import statements as st
from tests.appraisal.bench import Court, court, installed
from tests.registry.bench import HOUR_MS
from tests.world import Chip, signer

FLAG_H, HOLD_H = 24, 48


def stage(**policy: Any) -> tuple[Court, Chip]:
    made = court(
        **{"silence_after_h": FLAG_H, "silence_hold_after_h": HOLD_H, "hold_after": {}} | policy
    )
    return made, installed(made)


def wait(made: Court, hours: float) -> list[st.Decision]:
    """Time passes, and one entry shows the verifier that it has."""
    return made.during(lambda: made.tick(hours))


def move(made: Court, chip: Chip, to: str = "holder") -> None:
    """Ship, and receive there."""
    made.take(made.world.ship(chip, by=made.world.holder, to=to, licence="L-1"))
    made.take(made.world.receive(chip, by=signer(to), sender="holder"))


def test_flag_and_hold_fall_due_to_the_millisecond():
    made, chip = stage()
    made.tick()
    made.take(made.beat(chip))
    since = made.now_ms
    for limit_h, flags, decided in ((FLAG_H, ["silent"], 0), (HOLD_H, ["silent"], 1)):
        made.world.now_ms = since + limit_h * HOUR_MS - 1
        assert made.during(lambda: made.take(made.epoch_token())) == []
        assert made.case(chip).flags == ([] if limit_h == FLAG_H else flags)
        made.world.now_ms += 1
        drafts = made.during(lambda: made.take(made.epoch_token()))
        assert len(drafts) == decided
        assert made.case(chip).flags == flags
    assert drafts[0].reasons == ["silence: no heartbeat for 48 h"]
    assert drafts[0].rules == ["silence"]
    assert drafts[0].issued_ms == since + HOLD_H * HOUR_MS
    assert made.case(chip).seen is not None
    assert drafts[0].evidence == [made.case(chip).seen.leaf_hash]
    assert made.state(chip) == "held"


def test_a_late_look_decides_as_of_the_time_that_was_due():
    made, chip = stage()
    since = made.now_ms
    (draft,) = wait(made, 1_000)
    assert draft.issued_ms == since + HOLD_H * HOUR_MS
    assert draft.evidence == []  # it has never reported
    assert made.case(chip).tiers["silence"] == Tier.CONTRAINDICATED


def test_anybodys_entry_moves_the_time():
    made, chip = stage()
    made.world.now_ms += FLAG_H * HOUR_MS
    made.take(made.world.licence(id="L-2"))
    assert made.case(chip).flags == ["silent"]


def test_several_chips_fall_due_in_order_of_time_and_then_of_ueid():
    made, _ = stage()
    chips = [installed(made, number) for number in range(2, 6)]
    made.tick(10)
    made.take(made.beat(chips[2]))
    drafts = wait(made, 200)
    due = [(draft.issued_ms, draft.ueid) for draft in drafts]
    assert due == sorted(due)
    assert len(due) == 5
    assert due[-1][1] == chips[2].ueid


@pytest.mark.parametrize(("flag_h", "hold_h"), [(0, 0), (24, 0), (0, 48)])
def test_each_limit_can_be_off(flag_h: int, hold_h: int):
    made, chip = stage(silence_after_h=flag_h, silence_hold_after_h=hold_h)
    assert len(wait(made, 500)) == (hold_h > 0)
    assert made.case(chip).silent == (flag_h > 0)


def test_a_heartbeat_ends_silence_and_starts_the_clock():
    made, chip = stage(silence_hold_after_h=0)
    wait(made, 30)
    made.take(made.beat(chip))
    assert made.case(chip).flags == []
    wait(made, 23)
    assert made.case(chip).flags == []
    wait(made, 1)
    assert made.case(chip).flags == ["silent"]


def test_a_heartbeat_does_not_end_a_hold():
    made, chip = stage()
    wait(made, HOLD_H)
    made.hours(10, chip)
    assert made.state(chip) == "held"


def test_a_conflict_is_no_sign_of_life():
    made, chip = stage()
    made.hours(2, chip)
    chip.counter -= 1
    made.tick()
    made.conflict(made.beat(chip, debug_status=2), Reason.COUNTER_ROLLBACK)
    assert len(wait(made, HOLD_H - 1)) == 1


def test_a_release_starts_the_clock_anew():
    made, chip = stage()
    wait(made, HOLD_H)
    made.release(chip)
    assert made.case(chip).flags == []
    assert wait(made, HOLD_H - 1) == []
    assert len(wait(made, 1)) == 1


def test_a_chip_that_was_never_installed_owes_nothing_until_it_reports():
    made, _ = stage()
    chip = made.world.chip(7)
    made.take(made.world.birth(chip), made.world.ship(chip), made.world.receive(chip))
    wait(made, 40)
    assert made.case(chip).flags == []
    made.take(made.beat(chip))
    wait(made, FLAG_H)
    assert made.case(chip).flags == ["silent"]


def test_a_chip_on_its_way_owes_nothing():
    made, chip = stage()
    made.hour(chip)
    made.take(made.world.ship(chip, by=made.world.holder, to="rival", licence=None))
    assert wait(made, 300) == []
    made.take(made.world.receive(chip, by=signer("rival"), sender="holder"))
    assert wait(made, 300) == []
    assert not made.case(chip).silent


def test_a_report_on_the_way_starts_no_clock():
    made, chip = stage()
    made.hour(chip)
    made.take(made.world.ship(chip, by=made.world.holder, to="rival", licence=None))
    made.hour(chip)
    assert wait(made, 100) == []


def test_a_retired_chip_owes_nothing_even_after_a_report():
    made, chip = stage()
    made.hour(chip)
    made.take(made.retire(chip))
    assert wait(made, 100) == []
    made.take(made.beat(chip))
    assert wait(made, 100) == []
    assert "silent" not in made.case(chip).flags


def test_installing_again_wins_no_time():
    made, chip = stage()
    made.hour(chip)
    drafts = []
    for day in range(4):
        drafts += wait(made, 20)
        made.take(made.world.install(chip, site=f"hall {day}"))
    assert [draft.rules for draft in drafts] == [["silence"]]


def test_a_round_of_papers_wins_no_time_for_a_chip_that_does_not_report():
    made, chip = stage()
    made.hour(chip)
    drafts = []
    for day in range(4):
        drafts += wait(made, 20)
        move(made, chip)
        made.take(made.world.install(chip, site=f"hall {day}"))
    assert [draft.rules for draft in drafts] == [["silence"]]


def test_a_silent_chip_that_is_shipped_is_held_on_its_way():
    made, chip = stage()
    made.hour(chip)
    wait(made, 30)
    made.take(made.world.ship(chip, by=made.world.holder, to="rival", licence=None))
    (draft,) = wait(made, 18)
    assert draft.rules == ["silence"]


def test_after_a_release_a_chip_may_be_sent_back_in_silence():
    made, chip = stage()
    wait(made, HOLD_H)
    made.release(chip)
    made.take(made.world.ship(chip, by=made.world.holder, to="maker", licence=None))
    assert wait(made, 300) == []


def test_an_honest_move_is_flagged_by_nobody():
    made, chip = stage()
    for number in range(3):
        made.hours(3, chip)
        made.take(made.world.ship(chip, by=made.world.holder, to="holder"))
        assert wait(made, 24 * 20) == []
        made.take(made.world.receive(chip, sender="holder"))
        made.take(made.world.install(chip, site=f"hall {number}"))
    made.hours(3, chip)
    assert made.case(chip).flags == []


def test_a_stricter_policy_finds_those_silent_already_and_decides_as_of_now():
    made, chip = stage(silence_after_h=0, silence_hold_after_h=0)
    made.hour(chip)
    wait(made, 300)
    drafts = made.amend(silence_after_h=FLAG_H, silence_hold_after_h=HOLD_H)
    (draft,) = drafts
    assert draft.issued_ms == made.now_ms
    assert draft.policy == made.registry.policy_digest
    assert draft.reasons == ["silence: no heartbeat for 300 h"]
    assert made.case(chip).flags == ["silent"]


def test_a_laxer_policy_moves_the_limits_out():
    made, chip = stage()
    made.hour(chip)
    wait(made, 20)
    made.amend(silence_after_h=100, silence_hold_after_h=200)
    assert wait(made, 79) == []
    assert made.case(chip).flags == []
    wait(made, 1)
    assert made.case(chip).flags == ["silent"]
    assert len(wait(made, 100)) == 1


def test_a_new_policy_does_not_take_a_flag_away():
    made, chip = stage()
    made.hour(chip)
    wait(made, 30)
    made.amend(silence_after_h=1_000, silence_hold_after_h=0)
    assert made.case(chip).flags == ["silent"]


def test_timers_do_not_pile_up():
    made, chip = stage()
    made.hours(60, chip)
    assert len(made.verifier._timers) <= 2
