"""Scoring on made-up runs."""

from typing import Any

import pytest

from device_sim.scenario import KINDS
from device_sim.score import ChipDeed, by_chip, false_holds, score

HOUR = 3_600_000


def deed(kind: str = "smuggle", at_ms: int = 0, **changes: Any) -> ChipDeed:
    about = KINDS[kind]
    fields: dict[str, Any] = {"expected": about.expect, "rules": about.rules} | changes
    return ChipDeed("01aa", kind, at_ms, **fields)


def decision(action: str, issued_ms: int, *rules: str, ueid: str = "01aa") -> dict[str, Any]:
    return {"ueid": ueid, "action": action, "issued_ms": issued_ms, "rules": list(rules)}


def only(one: ChipDeed, *decisions: dict[str, Any], flags: list[str] | None = None) -> Any:
    return score([one], by_chip(decisions), {"01aa": flags or []})[0]


def test_hold_after_the_deed_catches_it_and_is_timed() -> None:
    found = only(deed(at_ms=HOUR), decision("hold", 3 * HOUR, "location-claim"))
    assert (found.outcome, found.hours, found.as_expected) == ("hold", 2.0, True)


def test_hold_before_the_deed_is_none_of_its_doing() -> None:
    found = only(deed(at_ms=5 * HOUR), decision("hold", HOUR, "location-claim"))
    assert (found.outcome, found.as_expected) == ("none", False)


def test_hold_on_other_grounds_is_not_as_expected() -> None:
    found = only(deed(), decision("hold", HOUR, "debug"))
    assert found.caught
    assert not found.as_expected


def test_revocation_satisfies_an_expected_hold_but_not_the_reverse() -> None:
    hold, revoke = decision("hold", 1, "travel"), decision("revoke", 2, "travel")
    assert only(deed(), hold, revoke).as_expected
    assert not only(deed(expected="revoke"), hold).as_expected


def test_spoof_left_alone_is_expected_and_not_caught() -> None:
    found = only(deed("spoof"))
    assert found.as_expected
    assert not found.caught


def test_flag_counts_when_it_was_seen_or_is_there_at_the_end() -> None:
    assert only(deed("silent"), flags=["silent"]).as_expected
    seen = only(deed("silent", flagged_ms=2 * HOUR))
    assert (seen.outcome, seen.hours) == ("flag", 2.0)
    assert not only(deed("silent")).as_expected


def test_release_is_noted() -> None:
    held = decision("hold", 1, "debug")
    assert only(deed("debug"), held, decision("release", 2)).released
    assert not only(deed("debug"), held).released


@pytest.mark.parametrize("kind", ["outage", "move", "late-receive", "silent", "clock-off"])
def test_hold_of_a_chip_that_does_not_deserve_it_is_false(kind: str) -> None:
    grouped = by_chip([decision("hold", HOUR, "silence")])
    assert len(false_holds([deed(kind)], grouped)) == 1


def test_hold_of_a_chip_without_any_deed_is_false_and_its_release_is_not() -> None:
    grouped = by_chip([decision("hold", 1, "travel"), decision("release", 2)])
    assert len(false_holds([], grouped)) == 1


def test_hold_before_the_first_guilty_deed_is_false_and_after_it_is_not() -> None:
    deeds = [deed("move", 0), deed("smuggle", 5), deed("debug", 3)]
    early, late = decision("hold", 2, "travel"), decision("hold", 4, "debug")
    assert false_holds(deeds, by_chip([early, late])) == [early]


def test_spoofed_chip_that_is_held_is_no_false_hold() -> None:
    assert not false_holds([deed("spoof")], by_chip([decision("hold", 1, "travel")]))
