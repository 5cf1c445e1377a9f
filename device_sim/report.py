"""What a run came to: the ledger's own account, read back over the public API, and its score."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from device_sim.gateway import Gateway
from device_sim.scenario import KINDS
from device_sim.score import (
    ChipDeed,
    Decisions,
    Scored,
    by_chip,
    by_licence_alone,
    false_holds,
    score,
)
from device_sim.tally import Counts, RunResult
from ledger.values import MILLIS_PER_DAY

FORMAT = 1
"""Version of report.json's form, documented in docs/simulator.md."""


def build_report(result: RunResult, gateway: Gateway) -> dict[str, Any]:
    """The report of a finished run, ready for JSON.

    Only the run's own chips count, so a ledger may hold other fleets beside it.
    """
    ours = {chip.ueid.hex() for chip in result.world.chips}
    passports = {item["ueid"]: item for item in gateway.devices() if item["ueid"] in ours}
    everything = [item for item in gateway.decisions() if item["ueid"] in ours]
    decisions = by_chip(everything)
    deeds = list(chip_deeds(result))
    flags = {ueid: list(passport["flags"]) for ueid, passport in passports.items()}
    scored = score((deed for deed in deeds if deed.reached), decisions, flags)
    undeserved = false_holds(deeds, decisions)
    excused = [item for item in undeserved if result.shares_licences and by_licence_alone(item)]
    wrong = [item for item in undeserved if item not in excused]
    return {
        "format": FORMAT,
        "scenario": _scenario(result),
        "versions": {"chip-passport": _version()},
        "ledger": _ledger(gateway),
        "notes": result.notes,
        "problems": result.problems,
        "chips": len(ours),
        "states": dict(sorted(Counter(item["state"] for item in passports.values()).items())),
        "flags": dict(sorted(Counter(flag for item in flags.values() for flag in item).items())),
        "heartbeats": _counts(result.heartbeats)
        | {"lost": result.lost, "degraded": result.degraded},
        "statements": _counts(result.statements),
        "decisions": _decisions(everything),
        "diversions": _diversions(scored, _open(deeds, result.end_ms)),
        "false_holds": _false_holds(result, deeds, wrong, len(excused)),
        "as_expected": all(item.as_expected for item in scored) and not wrong,
        "incidents": [row for kind in KINDS if (row := _kind_row(kind, scored)) is not None],
        "examples": _examples(scored, decisions),
    }


def chip_deeds(result: RunResult) -> Iterable[ChipDeed]:
    """The truth, chip by chip."""
    timeline = result.world.timeline
    for deed in result.deeds:
        for chip in deed.chips:
            ueid = chip.ueid.hex()
            yield ChipDeed(
                ueid,
                deed.incident.kind,
                timeline.ledger_ms(deed.at_ms),
                deed.expected,
                deed.incident.grounds,
                deed.flagged_ms.get(ueid),
                deed.reached,
            )


def _version() -> str:
    try:
        return metadata.version("chip-passport")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def _scenario(result: RunResult) -> dict[str, Any]:
    scenario = result.scenario
    return {
        "name": scenario.name,
        "description": scenario.description,
        "seed": scenario.seed,
        "days": scenario.calendar.days,
        "start_ms": result.start_ms,
        "end_ms": result.end_ms,
        "clock": result.mode,
        "speedup": result.speedup,
    }


def _ledger(gateway: Gateway) -> dict[str, Any]:
    """Origin, size and root, as the signed checkpoint states them."""
    note = gateway.checkpoint().decode()
    origin, size, root = note.split("\n")[:3]
    return {"origin": origin, "size": int(size), "root": root, "checkpoint": note}


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "sent": counts.sent,
        "accepted": counts.accepted,
        "recorded": counts.recorded,
        "refused": counts.refused,
        "reasons": dict(sorted(counts.reasons.items())),
    }


def _decisions(items: list[Mapping[str, Any]]) -> dict[str, Any]:
    rules = Counter(
        (item["action"], rule)
        for item in items
        if item["action"] != "release"
        for rule in item["rules"]
    )
    by_rule: dict[str, dict[str, int]] = {}
    for (action, rule), count in sorted(rules.items()):
        by_rule.setdefault(action, {})[rule] = count
    actions = Counter(item["action"] for item in items)
    return {"total": len(items), "by_action": dict(sorted(actions.items())), "by_rule": by_rule}


def _open(deeds: list[ChipDeed], end_ms: int) -> int:
    """Chips whose diversion began within the run, too late for an outcome to be due."""
    begun = (deed for deed in deeds if deed.at_ms < end_ms and not deed.reached)
    return sum(deed.group == "diversion" for deed in begun)


def _diversions(scored: list[Scored], still_open: int) -> dict[str, Any]:
    ours = [item for item in scored if item.deed.group == "diversion"]
    caught = [item for item in ours if item.caught]
    return {
        "chips": len(ours),
        "caught": len(caught),
        "missed": len(ours) - len(caught),
        "open": still_open,
        "missed_kinds": dict(
            sorted(Counter(item.deed.kind for item in ours if not item.caught).items())
        ),
        "hours_to_detect": _spread(caught),
    }


def _false_holds(
    result: RunResult, deeds: list[ChipDeed], wrong: list[Mapping[str, Any]], excused: int
) -> dict[str, Any]:
    """``excused`` were held in order: by licences that an earlier run left on the ledger."""
    days = _honest_days(result, deeds)
    return {
        "count": len(wrong),
        "honest_chip_days": round(days, 1),
        "by_earlier_licences": excused,
        "per_10000_chip_days": round(len(wrong) * 10_000 / days, 3) if days else None,
        "decisions": [
            {"ueid": item["ueid"], "rules": item["rules"], "reasons": item["reasons"]}
            for item in wrong
        ],
    }


def _honest_days(result: RunResult, deeds: list[ChipDeed]) -> float:
    """Days in service of chips before they do anything that deserves a hold."""
    scenario = result.scenario
    guilty: dict[str, float] = {}
    for deed in deeds:
        if deed.deserves_hold:
            day = (deed.at_ms - result.start_ms) / MILLIS_PER_DAY * result.speedup
            guilty[deed.ueid] = min(day, guilty.get(deed.ueid, day))
    service = {cohort.id: scenario.service_day(cohort) for cohort in scenario.cohort}
    total = 0.0
    for chip in result.world.chips:
        until = guilty.get(chip.ueid.hex(), scenario.calendar.days)
        total += max(until - service[chip.identity.cohort], 0.0)
    return total


def _kind_row(kind: str, scored: list[Scored]) -> dict[str, Any] | None:
    """One line of the table of incidents."""
    ours = [item for item in scored if item.deed.kind == kind]
    if not ours:
        return None
    rules = Counter(rule for item in ours for rule in item.rules)
    return {
        "kind": kind,
        "group": KINDS[kind].group,
        "summary": KINDS[kind].summary,
        "chips": len(ours),
        "expected": dict(sorted(Counter(item.deed.expected for item in ours).items())),
        "actual": dict(sorted(Counter(item.outcome for item in ours).items())),
        "as_expected": sum(item.as_expected for item in ours),
        "released": sum(item.released for item in ours),
        "rules": dict(sorted(rules.items())),
        "hours_to_detect": _spread(ours),
        "unexpected": [item.deed.ueid for item in ours if not item.as_expected],
    }


def _spread(scored: list[Scored]) -> dict[str, float] | None:
    """Shortest, median and longest time to detection in hours."""
    hours = [item.hours for item in scored if item.hours is not None]
    if not hours:
        return None
    return {
        "min": round(min(hours), 2),
        "median": round(statistics.median(hours), 2),
        "max": round(max(hours), 2),
    }


def _examples(scored: list[Scored], decisions: Decisions) -> list[dict[str, Any]]:
    """Three chips worth a look: a diversion caught, one missed, an honest one left alone."""
    order = list(KINDS)
    ranked = sorted(scored, key=lambda item: order.index(item.deed.kind))
    stories = (
        ("a diversion caught", lambda item: item.deed.group == "diversion" and item.caught),
        ("a diversion missed", lambda item: item.deed.group == "diversion" and not item.caught),
        ("held, looked into and released", lambda item: item.released),
        ("honest, and left alone", lambda item: item.deed.group == "honest" and not item.caught),
    )
    examples = []
    for title, wanted in stories:
        item = next(filter(wanted, ranked), None)
        if item is not None:
            last = (decisions.get(item.deed.ueid) or [{}])[-1]
            examples.append(
                {
                    "ueid": item.deed.ueid,
                    "what": title,
                    "kind": item.deed.kind,
                    "summary": KINDS[item.deed.kind].summary,
                    "reasons": list(last.get("reasons", [])),
                }
            )
    return examples[:3]
