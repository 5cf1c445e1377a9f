"""The same log gives the same decisions: at once, later, in parts, after a restart anywhere."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as h

from ledger.appraisal.appraiser import Appraiser
from ledger.errors import Refused
from ledger.protocol import statements as st
from ledger.registry.records import ChipState, Registry
from tests.appraisal.bench import (
    BASEL,
    NOWHERE_M,
    PARIS,
    Court,
    court,
    installed,
    places,
)
from tests.registry.bench import state_of
from tests.world import KUALA_LUMPUR, Chip, signer

POLICY: dict[str, Any] = {
    "hold_after": {
        "location-claim": 2,
        "licence": 1,
        "debug": 2,
        "continuity": 3,
        "boot": 1,
        "custody-place": 4,
        "travel": 3,
        "silence": 1,
    },
    "clear_after": 2,
    "unclear_after": 2,
    "silence_after_h": 6,
    "silence_hold_after_h": 12,
    "transit_limit_h": 8,
    "revoke_after_forks": 3,
    "revoke_after_held_d": 1,
}
HEARTBEATS: dict[str, dict[str, Any]] = {
    "good": {},
    "outside": {"place": KUALA_LUMPUR},
    "border": {"place": BASEL},
    "vague": {"accuracy_m": NOWHERE_M},
    "paris": {"place": PARIS},
    "debug": {"debug_status": 0},
    "reboot": {"boot_count": 0},
}
STEPS = h.one_of(
    h.tuples(h.just("wait"), h.sampled_from([1, 5, 13, 30]), h.just(0)),
    h.tuples(h.just("beat"), h.sampled_from(sorted(HEARTBEATS)), h.integers(0, 1)),
    h.tuples(h.just("fork"), h.just(0), h.integers(0, 1)),
    h.tuples(
        h.just("paper"),
        h.sampled_from(["ship", "pass on", "receive", "install", "retire", "claim"]),
        h.integers(0, 1),
    ),
    h.tuples(h.just("release"), h.just(0), h.integers(0, 1)),
    h.tuples(h.just("file"), h.just(0), h.just(0)),
    h.tuples(h.just("policy"), h.sampled_from([0, 4, 12]), h.just(0)),
)
SCRIPTS = h.lists(STEPS, min_size=5, max_size=30)


def play(made: Court, chips: list[Chip], script: list[tuple[str, Any, int]], cut: int) -> Any:
    """Run a script; the verifier as it would restart after ``cut`` steps, and the place."""
    restarted, at = None, 0
    for number, (what, value, which) in enumerate(script):
        if number == cut:
            restarted, at = made.restarted(), len(made.log)
        try:
            step(made, chips[which], what, value)
        except Refused:
            continue  # the script does not care what the record allows
    if restarted is None:
        restarted, at = made.restarted(), len(made.log)
    return restarted, at


def step(made: Court, chip: Chip, what: str, value: Any) -> None:
    world = made.world
    match what:
        case "wait":
            made.tick(value)
        case "beat":
            made.put(made.beat(chip, **HEARTBEATS[value]))
        case "fork":
            if chip.counter > 1:
                chip.counter -= 1
                made.put(made.beat(chip, debug_status=2))
        case "paper":
            made.put(paper(made, chip, value))
        case "release":
            if made.record(chip).state is ChipState.HELD:
                made.put(made.decision(chip, "release"))
        case "file":
            made.file()
        case _:
            made.amend(silence_after_h=value, silence_hold_after_h=2 * value)
    world.now_ms += 1


def paper(made: Court, chip: Chip, kind: str) -> bytes:
    world, record = made.world, made.record(chip)
    by = signer(record.holder)
    match kind:
        case "ship":
            return world.ship(chip, by=by, to="holder", reference=str(world.now_ms))
        case "pass on":
            return world.ship(chip, by=by, to="carrier", licence=None)
        case "receive":
            to = signer(record.consignee or "rival")
            return world.receive(chip, by=to, sender=record.holder, reference=str(world.now_ms))
        case "install":
            return world.install(chip, by=by, site=f"hall {world.now_ms}")
        case "retire":
            return made.retire(chip, by=by)
        case _:
            return world.ship(chip, by=signer("rival"), reference=str(world.now_ms))


def begin() -> tuple[Court, list[Chip]]:
    made = court(**POLICY)
    chips = [installed(made, number) for number in range(2)]
    made.prompt = False
    return made, chips


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(SCRIPTS, h.integers(0, 30))
def test_a_restart_anywhere_changes_nothing(script: list[tuple[str, Any, int]], cut: int):
    made, chips = begin()
    restarted, at = play(made, chips, script, cut)
    again = Appraiser(Registry(), places)
    for entry in made.log:
        assert again.feed(entry) == made.outcome[entry.index]
        if entry.index >= at:
            assert restarted.feed(entry) == made.outcome[entry.index]
    for other in (again, restarted):
        assert other.cases == made.verifier.cases
        assert state_of(other.registry) == state_of(made.registry)
    # The registry that admitted the entries and the one that followed them are the same.
    assert state_of(made.verifier.registry) == state_of(made.registry)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS)
def test_every_draft_can_be_signed_and_admitted(script: list[tuple[str, Any, int]]):
    made, chips = begin()
    made.prompt = True
    play(made, chips, script, 0)
    drafts = [draft for drafts in made.outcome for draft in drafts]
    filed = [
        entry.message.body
        for entry in made.log
        if entry.message.kind is st.Kind.DECISION and entry.message.body.action != "release"
    ]
    assert filed == drafts
    for draft in drafts:
        assert draft.issued_ms <= made.now_ms
        assert draft.rules
        assert len(draft.evidence) == len(set(draft.evidence))


def test_a_long_script_reaches_every_kind_of_decision():
    made, chips = begin()
    made.prompt = True
    bad, silent = chips
    made.tick(1)
    for _ in range(3):
        made.tick(1)
        made.put(made.beat(bad, place=KUALA_LUMPUR))
    made.tick(26)
    made.put(made.beat(bad, place=KUALA_LUMPUR))
    actions = [(draft.action, draft.ueid) for drafts in made.outcome for draft in drafts]
    assert actions == [("hold", bad.ueid), ("hold", silent.ueid), ("revoke", bad.ueid)]
