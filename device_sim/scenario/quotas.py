"""Quotas of licences: how many chips come under each, year by year, and who is above it."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from device_sim.scenario.lines import Path
from device_sim.scenario.model import Cohort, LicencePart, Scenario

Found = tuple[Path, str, str]
Year = tuple[str, int]
"""(licence id, calendar year in UTC)"""


def is_over(cohort: Cohort) -> bool:
    """Whether a cohort is meant to arrive beyond the quota."""
    return any(incident.kind == "over-quota" for incident in cohort.incident)


def arrival_year(scenario: Scenario, cohort: Cohort) -> int:
    """Calendar year in which a cohort comes under its licence."""
    return (scenario.start + timedelta(days=scenario.arrival_day(cohort))).year


def honest_arrivals(scenario: Scenario) -> Counter[Year]:
    """Chips that come under a licence as they should."""
    counts: Counter[Year] = Counter()
    for cohort in scenario.cohort:
        if not is_over(cohort):
            counts[cohort.licence, arrival_year(scenario, cohort)] += cohort.count
    return counts


def quota_faults(scenario: Scenario) -> Iterator[Found]:
    """Honest deliveries fit the quota; what is over it finds it full."""
    honest = honest_arrivals(scenario)
    for i, licence in enumerate(scenario.licence):
        quota = licence.quota_per_year
        for (ident, year), count in sorted(honest.items()):
            if quota is not None and ident == licence.id and count > quota:
                problem = f"{count} chips come under it in {year}, without an over-quota incident"
                path: Path = ("licence", i, "quota_per_year")
                yield path, problem, f"Raise it to {count}, or mark the late ones over-quota."
    for i, cohort in enumerate(scenario.cohort):
        if is_over(cohort):
            yield from _over_faults(scenario, i, cohort, honest)


def _over_faults(
    scenario: Scenario, i: int, cohort: Cohort, honest: Counter[Year]
) -> Iterator[Found]:
    quota = scenario.licences[cohort.licence].quota_per_year
    year = arrival_year(scenario, cohort)
    for k, incident in enumerate(cohort.incident):
        path: Path = ("cohort", i, "incident", k)
        if incident.kind != "over-quota":
            continue
        if quota is None:
            problem = f"licence {cohort.licence} has no quota"
            yield (*path, "kind"), problem, "Give the licence quota_per_year."
        elif honest[cohort.licence, year] < quota:
            there = honest[cohort.licence, year]
            problem = f"only {there} of {quota} chips come under {cohort.licence} in {year} before"
            yield (*path, "kind"), problem, "Lower the quota, or deliver more chips before."
        if incident.chips != cohort.count:
            problem = "which chips of a delivery are over a quota is not for a scenario to choose"
            remedy = f"Use {cohort.count}, all of the cohort, and put the others into another one."
            yield (*path, "chips"), problem, remedy


def refitted(before: Scenario, after: Scenario) -> tuple[LicencePart, ...]:
    """Licences of ``before`` with quotas that leave the same room to the cohorts of ``after``."""
    old, new = honest_arrivals(before), honest_arrivals(after)
    full = {
        (cohort.licence, arrival_year(before, cohort))
        for cohort in before.cohort
        if is_over(cohort)
    }
    licences = []
    for licence in before.licence:
        quota = licence.quota_per_year
        years = [key for key in old if key[0] == licence.id]
        if quota is not None and years:
            wanted = [key for key in years if key in full] or years
            quota = max(1, *(quota - old[key] + new[key] for key in wanted))
        licences.append(licence.model_copy(update={"quota_per_year": quota}))
    return tuple(licences)
