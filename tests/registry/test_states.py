"""States: every decision in every state, and what custody and heartbeats do to a state."""

import pytest

from ledger.errors import Reason
from ledger.protocol.statements import Action
from ledger.registry.records import ChipState, may_decide, state_after
from tests.registry.bench import Bench, born, founded, installed, refuses
from tests.world import Chip

R, A, H, X, E = ChipState
"""Registered, active, held, revoked, retired."""
TABLE = {
    (R, Action.HOLD): H,
    (A, Action.HOLD): H,
    (H, Action.RELEASE): A,
    (R, Action.REVOKE): X,
    (A, Action.REVOKE): X,
    (H, Action.REVOKE): X,
}


@pytest.fixture
def bench() -> Bench:
    return founded()


def in_state(bench: Bench, state: ChipState) -> Chip:
    """A chip brought there by statements alone."""
    chip = installed(bench)
    if state is A:
        bench.take(bench.beat(chip))
    if state in (H, X):
        bench.take(bench.decision(chip, "hold" if state is H else "revoke"))
    if state is E:
        bench.take(bench.retire(chip))
    assert bench.record(chip).state is state
    return chip


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("state", ChipState)
def test_each_decision_in_each_state(bench: Bench, state: ChipState, action: Action):
    chip, wanted = in_state(bench, state), TABLE.get((state, action))
    assert state_after(state, action) is wanted
    token = bench.decision(chip, action.value)
    if wanted is None:
        with refuses(Reason.DECISION_TRANSITION):
            bench.put(token)
        return
    bench.take(token)
    record = bench.record(chip)
    assert (record.state, record.decision_sequence) == (wanted, (state is H and 2) or 1)
    assert record.decision_action == action.value


def test_every_action_has_one_role():
    assert [may_decide(action) for action in Action] == ["verifier", "officer", "verifier"]


@pytest.mark.parametrize("state", ChipState)
def test_a_heartbeat_wakes_a_registered_chip_and_changes_no_other_state(
    bench: Bench, state: ChipState
):
    chip = in_state(bench, state)
    bench.take(bench.beat(chip))
    assert bench.record(chip).state is (A if state is R else state)


@pytest.mark.parametrize("state", [R, A, H, X])
def test_retiring_is_final_for_free_chips_and_no_way_out_for_others(bench: Bench, state: ChipState):
    chip = in_state(bench, state)
    bench.take(bench.retire(chip))
    record = bench.record(chip)
    assert record.retired
    assert record.state is (E if state in (R, A) else state)
    bench.conflict(bench.retire(chip), Reason.CHIP_RETIRED)


def test_a_retired_chip_that_is_released_is_retired(bench: Bench):
    chip = in_state(bench, H)
    bench.take(bench.retire(chip), bench.decision(chip, "release"))
    assert bench.record(chip).state is E
    with refuses(Reason.DECISION_TRANSITION):
        bench.put(bench.decision(chip, "hold"))


def test_a_retired_held_chip_can_still_be_revoked(bench: Bench):
    chip = in_state(bench, H)
    bench.take(bench.retire(chip), bench.decision(chip, "revoke"))
    assert bench.record(chip).state is X


def test_hold_and_release_repeat(bench: Bench):
    chip = born(bench)
    for _ in range(3):
        bench.take(bench.decision(chip, "hold"))
        bench.take(bench.decision(chip, "release"))
    assert (bench.record(chip).state, bench.record(chip).decision_sequence) == (A, 6)
