"""Variants of a scenario: other numbers of chips, other length."""

from typing import Any

from device_sim.scenario.model import Cohort, Scenario
from device_sim.scenario.quotas import refitted


def lasting(scenario: Scenario, days: float) -> Scenario:
    """The same scenario over ``days`` days; what lies beyond does not happen."""
    calendar = scenario.calendar.model_copy(update={"days": float(days)})
    return scenario.model_copy(update={"calendar": calendar})


def resized(scenario: Scenario, chips: int) -> Scenario:
    """The same scenario with ``chips`` chips in all.

    Every cohort keeps its share (largest remainders get what is left over) and at least one chip;
    incidents shrink with their cohort, each to at least one chip while there are enough. Quotas
    move with the deliveries that they are to let in.
    """
    if chips < len(scenario.cohort):
        chips = len(scenario.cohort)
    total = scenario.chips
    if chips == total:
        return scenario
    shares = _shares([cohort.count for cohort in scenario.cohort], chips)
    cohorts = tuple(
        _resized_cohort(cohort, count)
        for cohort, count in zip(scenario.cohort, shares, strict=True)
    )
    sized = scenario.model_copy(update={"cohort": cohorts})
    return _without_caches(sized, {"licence": refitted(scenario, sized)})


def _without_caches(scenario: Scenario, update: dict[str, Any]) -> Scenario:
    """A changed copy whose look-up tables are made anew: a plain copy would take the old ones."""
    fields = {name: getattr(scenario, name) for name in Scenario.model_fields}
    return Scenario.model_construct(scenario.model_fields_set, **(fields | update))


def _resized_cohort(cohort: Cohort, count: int) -> Cohort:
    factor = count / cohort.count
    chosen = cohort.incident[:count]
    free, waiting = count, len(chosen)
    incidents = []
    for incident in chosen:
        waiting -= 1
        wanted = max(1, min(round(incident.chips * factor), free - waiting))
        free -= wanted
        incidents.append(incident.model_copy(update={"chips": wanted}))
    return cohort.model_copy(update={"count": count, "incident": tuple(incidents)})


def _shares(weights: list[int], total: int) -> list[int]:
    """``total`` split by ``weights``, at least one each, exactly."""
    spare = total - len(weights)
    whole = sum(weights)
    exact = [weight * spare / whole for weight in weights]
    shares = [1 + int(part) for part in exact]
    rest = total - sum(shares)
    order = sorted(range(len(weights)), key=lambda i: (int(exact[i]) - exact[i], i))
    for i in order[:rest]:
        shares[i] += 1
    return shares
