"""Scores decisions against what was really done. A pure function of plain values.

A *deed* is one chip's part in one incident. It is *caught* when the verifier holds or revokes the
chip after it began, *missed* when it is a diversion and nothing of the kind follows. A *false hold*
hits a chip before, or without, any deed that should lead to one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from device_sim.scenario import KINDS, Outcome

_CATCHING = ("hold", "revoke")
_GUILTY = ("diversion", "breach")


@dataclass(frozen=True, slots=True)
class ChipDeed:
    """The truth about one chip: what was done, from when (ledger ms), what is expected of it.

    ``reached``: the expected outcome falls within the run, so the deed counts in the score.
    """

    ueid: str
    kind: str
    at_ms: int
    expected: Outcome
    rules: tuple[str, ...]
    flagged_ms: int | None = None
    reached: bool = True

    @property
    def group(self) -> str:
        """diversion, breach, failure or honest."""
        return KINDS[self.kind].group

    @property
    def deserves_hold(self) -> bool:
        """Whether a hold after it is deserved, expected or not."""
        return self.group in _GUILTY or self.expected in _CATCHING


@dataclass(frozen=True, slots=True)
class Scored:
    """One deed with its outcome."""

    deed: ChipDeed
    outcome: Outcome
    rules: tuple[str, ...]
    """Grounds of the first hold or revocation after the deed."""
    detected_ms: int | None
    released: bool

    @property
    def caught(self) -> bool:
        """Held or revoked."""
        return self.outcome in _CATCHING

    @property
    def grounds_fit(self) -> bool:
        """Whether the grounds are those that the scenario expects; True where it names none."""
        if not self.caught or not self.deed.rules:
            return True
        return bool(set(self.rules) & set(self.deed.rules))

    @property
    def as_expected(self) -> bool:
        """A revocation is more than a hold, so it satisfies both."""
        expected = self.deed.expected
        met = self.outcome == expected or (expected == "hold" and self.outcome == "revoke")
        return met and self.grounds_fit

    @property
    def hours(self) -> float | None:
        """Hours of ledger time from the deed to its detection."""
        if self.detected_ms is None:
            return None
        return (self.detected_ms - self.deed.at_ms) / 3_600_000


Decisions = Mapping[str, list[Mapping[str, Any]]]
"""Decisions by UEID (hex), each list in order of the log."""


def by_chip(decisions: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Decisions grouped by chip."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for item in decisions:
        grouped.setdefault(item["ueid"], []).append(item)
    return grouped


def score(
    deeds: Iterable[ChipDeed], decisions: Decisions, flags: Mapping[str, list[str]]
) -> list[Scored]:
    """Every deed with its outcome. ``flags`` are those of the chips' passports at the end."""
    return [_score_one(deed, decisions.get(deed.ueid, []), flags) for deed in deeds]


def _score_one(
    deed: ChipDeed, decisions: list[Mapping[str, Any]], flags: Mapping[str, list[str]]
) -> Scored:
    after = [item for item in decisions if item["issued_ms"] >= deed.at_ms]
    catching = [item for item in after if item["action"] in _CATCHING]
    released = any(item["action"] == "release" for item in after)
    if catching:
        outcome: Outcome = "hold"
        if any(item["action"] == "revoke" for item in catching):
            outcome = "revoke"
        first = catching[0]
        return Scored(deed, outcome, tuple(first["rules"]), first["issued_ms"], released)
    if deed.flagged_ms is not None or flags.get(deed.ueid):
        return Scored(deed, "flag", (), deed.flagged_ms, released)
    return Scored(deed, "none", (), None, released)


def by_licence_alone(decision: Mapping[str, Any]) -> bool:
    """Whether nothing but the papers speaks against the chip."""
    return list(decision["rules"]) == ["licence"]


def false_holds(deeds: Iterable[ChipDeed], decisions: Decisions) -> list[Mapping[str, Any]]:
    """Holds and revocations of chips that had done nothing yet to deserve one."""
    guilty_from: dict[str, int] = {}
    for deed in deeds:
        if deed.deserves_hold:
            began = min(deed.at_ms, guilty_from.get(deed.ueid, deed.at_ms))
            guilty_from[deed.ueid] = began
    found = []
    for ueid, items in decisions.items():
        for item in items:
            began_ms = guilty_from.get(ueid)
            innocent = began_ms is None or item["issued_ms"] < began_ms
            if innocent and item["action"] in _CATCHING:
                found.append(item)
    return found
