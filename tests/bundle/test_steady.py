"""The quick pass over heartbeats and epochs comes to what the long one comes to, to the byte."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ledger.appraisal.appraiser import Appraiser
from ledger.bundle.format import Bundle, decode_piece
from ledger.bundle.walk import Walk
from ledger.errors import Refused
from ledger.protocol import cbor
from ledger.protocol.heartbeat import Measurement
from tests.bundle.double import Double, founded, installed
from tests.world import FIRMWARE, FRANKFURT, SINGAPORE, Chip, seed

STEPS = (
    *["calm"] * 6,
    "calm runs",
    "skewed",
    "old fix",
    "unclear",
    "moved",
    "abroad",
    "reboot",
    "restart without reboot",
    "debug",
    "firmware",
    "skip",
    "twice an hour",
    "rollback",
    "fork",
    "gap",
    "long gap",
    "policy",
    "lenient policy",
    "ship",
    "release",
)


def places(latitude: float, longitude: float, accuracy_m: float) -> frozenset[str]:
    """Germany in the north, Singapore in the south, anything where it is unclear."""
    if accuracy_m > 1_000_000:
        return frozenset({"CN", "DE", "SG"})
    return frozenset({"DE" if latitude > 20 else "SG"})


def walked(data: bytes, quick: bool) -> Walk:
    """The state after a pass, with or without the short way."""
    walk = Walk(Bundle.decode(data), places, None, frozenset())
    if not quick:
        walk._take_quickly = lambda row: False  # type: ignore[method-assign]
    walk.run(60_000)
    return walk


def outcome(walk: Walk) -> dict[str, Any]:
    """Everything that a pass leaves behind."""
    replay = walk.replay
    case = replay.appraiser.cases.get(walk.ueid)
    return {
        "life": walk.life,
        "chains": walk.chains,
        "included": walk.included,
        "structure": walk.structure.faults,
        "meaning": walk.meaning.faults,
        "limits": replay.limits,
        "decisions": replay.decisions,
        "signatures": walk.signatures,
        "case": None if case is None else asdict(case),
        "chip": replay.registry.find_chip(walk.ueid),
        "epochs": [tuple(epoch.id) for epoch in replay.registry.epochs],
        "backwards": walk.backwards,
    }


def live(made: Double, chip: Chip, step: str) -> None:
    """One step of a life."""
    world = made.world
    match step:
        case "calm":
            made.beat(chip)
        case "calm runs":
            for _ in range(5):
                made.beat(chip)
        case "skewed":
            made.beat(chip, iat=world.iat + 3_600 + 950)
        case "old fix":
            made.tick()
            kept = world.now_ms
            world.now_ms -= 90_000_000
            token = chip.heartbeat(made.epoch, world.now_ms, iat=kept // 1000)
            world.now_ms = kept
            made.put(token)
        case "unclear":
            made.beat(chip, accuracy_m=2e6)
        case "moved":
            made.beat(chip, place=(FRANKFURT[0] + 0.01, FRANKFURT[1]))
        case "abroad":
            made.beat(chip, place=SINGAPORE)
        case "reboot":
            made.beat(chip, boot_count=2, boot_seed=seed("second"), uptime=3)
        case "restart without reboot":
            made.beat(chip, uptime=5)
        case "debug":
            made.beat(chip, debug_status=0)
        case "firmware":
            made.beat(chip, measurement=Measurement("0.9", 1, FIRMWARE.digest))
        case "skip":
            chip.counter += 1
            made.beat(chip)
        case "twice an hour":
            made.beat(chip)
            made.put(chip.heartbeat(made.epoch, made.now_ms))
        case "rollback" if chip.counter > 1:
            kept = chip.counter, chip.previous
            chip.counter, chip.previous = 0, bytes(32)
            made.beat(chip, uptime=chip.uptime)
            chip.counter, chip.previous = kept
        case "fork":
            kept = chip.counter, chip.previous
            chip.previous = seed("another")
            chip.counter = max(chip.counter, 1)
            made.beat(chip)
            chip.counter, chip.previous = kept
        case "gap":
            made.tick(3)
            made.beat(chip)
        case "long gap":
            made.tick(9)
            made.beat(chip)
        case "policy" | "lenient policy":
            policy = made.registry.policy
            assert policy is not None
            skew = 900 if step == "policy" else 9_000
            limits = {"max_clock_skew_s": skew, "silence_hold_after_h": 8, "silence_after_h": 2}
            made.put(world.policy(version=policy.version + 1, **limits))
        case "ship":
            made.put(world.ship(chip, by=world.holder, to="reseller", destination="MY"))
        case "release":
            if made.registry.chip(chip.ueid).state == "held":
                made.release(chip)


@given(some.lists(some.sampled_from(STEPS), min_size=1, max_size=12), some.booleans())
@settings(max_examples=120, deadline=None)
def test_both_ways_come_to_the_same(steps: list[str], grown: bool):
    made = founded(silence_after_h=2, silence_hold_after_h=8)
    made.verifier = verifier = Appraiser(made.registry, places)
    assert verifier.cases == {}
    (chip,) = installed(made)
    if grown:  # numbers that are wide enough for the short way
        chip.counter, chip.previous, chip.uptime = 300, seed("long ago"), 100_000
    for step in steps:
        live(made, chip, step)
    made.tick()
    data = made.show(chip)
    quick, slow = walked(data, quick=True), walked(data, quick=False)
    assert outcome(quick) == outcome(slow)
    assert quick.meaning.faults == []
    assert quick.replay.appraiser.cases[chip.ueid].encode() == verifier.cases[chip.ueid].encode()


def test_a_calm_life_takes_the_short_way(monkeypatch: pytest.MonkeyPatch):
    made = founded()
    (chip,) = installed(made)
    for _ in range(120):
        made.beat(chip)
    taken = []
    take = Walk.take
    monkeypatch.setattr(Walk, "take", lambda self, item: (taken.append(item), take(self, item))[1])
    walk = walked(made.show(chip), quick=True)
    assert len(walk.life) == 124
    reports = [item for item in taken if item.kind == "heartbeat"]
    assert len(reports) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda row: [*row[:3], [[bool(row[3][0][0]), row[3][0][1]]], row[4]],
        lambda row: [row[0], row[1], row[2], [[*row[3][0], bytes(32)]], row[4]],
        lambda row: [row[0], float(row[1]), *row[2:]],
    ],
)
def test_what_is_refused_on_the_long_way_is_refused_on_the_short_one(change: Any):
    made = founded()
    (chip,) = installed(made)
    for _ in range(30):
        made.beat(chip)
    bundle = Bundle.decode(made.show(chip))
    rows = [row for piece in bundle.pieces for row in decode_piece(piece)]
    at = max(n for n, row in enumerate(rows) if row[2] == "heartbeat")
    rows[at] = change(rows[at])
    broken = Bundle(bundle.head, (cbor.encode(rows),)).encode()
    for quick in (True, False):
        with pytest.raises(Refused):
            walked(broken, quick)
