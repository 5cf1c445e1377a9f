"""What types cannot say: references lead somewhere, times follow, places lie where they claim."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from device_sim.scenario.incidents_check import incident_faults
from device_sim.scenario.lines import Path
from device_sim.scenario.model import LicencePart, Route, Scenario
from device_sim.scenario.policy import SET_BY_SIMULATOR, make_policy
from device_sim.scenario.quotas import quota_faults
from device_sim.scenario.words import explain, real_faults
from ledger.geo.borders import Borders
from ledger.protocol.policy import Policy
from ledger.protocol.statements import LEDGER_PARTY

Found = tuple[Path, str, str]
"""(path, problem, remedy)"""

_TABLES = ("model", "officer", "manufacturer", "custodian", "site", "licence", "route", "cohort")
_FIRST_DAY_MS = 86_400_000 * 366
"""Statements may be dated from before the start, so the start is not at the very epoch."""


def check(scenario: Scenario) -> list[Found]:
    """Every fault of a scenario whose fields are of the right types."""
    found = [*_ids(scenario), *_references(scenario)]
    if found:
        return found  # what follows relies on references
    return [
        *_clock(scenario),
        *_policy(scenario),
        *_sites(scenario),
        *_licences(scenario),
        *_routes(scenario),
        *_cohorts(scenario),
        *incident_faults(scenario),
        *quota_faults(scenario),
    ]


# --- Names ----------------------------------------------------------------------------------


def _ids(scenario: Scenario) -> Iterator[Found]:
    for table in _TABLES:
        seen: set[str] = set()
        for i, item in enumerate(getattr(scenario, table)):
            key = "name" if table == "model" else "id"
            ident = getattr(item, key)
            if ident in seen:
                problem = f"{ident} is there twice"
                yield (table, i, key), problem, f"Give each {table} its own {key}."
            seen.add(ident)
    parties: set[str] = {LEDGER_PARTY, "verifier", scenario.authority.id}
    for table in ("officer", "manufacturer", "custodian"):
        for i, item in enumerate(getattr(scenario, table)):
            if item.id in parties:
                yield (table, i, "id"), f"{item.id} names another party too", "Choose another id."
            parties.add(item.id)


def _references(scenario: Scenario) -> Iterator[Found]:
    known: dict[str, Any] = {
        "manufacturer": scenario.manufacturers,
        "custodian": scenario.custodians,
        "site": scenario.sites,
        "licence": scenario.licences,
        "route": scenario.routes,
        "model": scenario.models,
        "officer": {officer.id for officer in scenario.officer},
    }
    for path, table, name in _all_references(scenario):
        if name is not None and name not in known[table]:
            names = ", ".join(sorted(known[table]))
            yield path, f"there is no {table} {name}", f"Use one of {names}."


def _all_references(scenario: Scenario) -> Iterator[tuple[Path, str, str | None]]:
    for i, custodian in enumerate(scenario.custodian):
        yield ("custodian", i, "parent"), "custodian", custodian.parent
    for i, licence in enumerate(scenario.licence):
        yield ("licence", i, "holder"), "custodian", licence.holder
        for k, model in enumerate(licence.models):
            yield ("licence", i, "models", k), "model", model
    for i, route in enumerate(scenario.route):
        yield ("route", i, "manufacturer"), "manufacturer", route.manufacturer
        yield ("route", i, "custodian"), "custodian", route.custodian
        yield ("route", i, "site"), "site", route.site
        for k, leg in enumerate(route.via):
            yield ("route", i, "via", k, "party"), "custodian", leg.party
            yield ("route", i, "via", k, "licence"), "licence", leg.licence
    for i, cohort in enumerate(scenario.cohort):
        for table in ("model", "route", "licence"):
            yield ("cohort", i, table), table, getattr(cohort, table)
        for k, incident in enumerate(cohort.incident):
            for table in ("site", "custodian", "licence", "officer"):
                path = ("cohort", i, "incident", k, table)
                yield path, table, getattr(incident, table)


# --- Clock and policy -----------------------------------------------------------------------


def _clock(scenario: Scenario) -> Iterator[Found]:
    calendar, plan = scenario.calendar, scenario.heartbeat
    if calendar.start.timestamp() * 1000 < _FIRST_DAY_MS:
        yield ("calendar", "start"), "lies too far back", "Start in 1971 or later."
    if plan.every_min < calendar.step_min:
        yield (
            ("heartbeat", "every_min"),
            f"is shorter than the clock's step of {calendar.step_min} minutes",
            "Raise it, or lower calendar.step_min.",
        )
    if 2 * plan.jitter_min > plan.every_min:
        yield (
            ("heartbeat", "jitter_min"),
            "is more than half the interval, so heartbeats would overtake each other",
            f"Use {plan.every_min // 2} or less.",
        )


def _policy(scenario: Scenario) -> Iterator[Found]:
    for name in SET_BY_SIMULATOR:
        if name in scenario.policy:
            yield ("policy", name), "the simulator sets this itself", "Take it out."
            return
    try:
        make_policy(scenario, 0)
    except ValidationError as error:
        for item in real_faults(map(dict, error.errors(include_url=False))):
            path: Path = ("policy", *(part for part in item["loc"] if part != "[key]"))
            if item["type"] == "extra_forbidden":
                names = [name for name in Policy.model_fields if name not in SET_BY_SIMULATOR]
                yield path, "no parameter of the policy", f"Known are {', '.join(names)}."
            else:
                problem, remedy = explain(item, "See docs/scenarios.md for its limits")
                yield path, problem, f"{remedy}."


# --- Places and papers ----------------------------------------------------------------------


def _sites(scenario: Scenario) -> Iterator[Found]:
    borders = Borders.load()
    for i, site in enumerate(scenario.site):
        countries = borders.countries_at(
            site.latitude, site.longitude, scenario.heartbeat.accuracy_m
        )
        if countries != {site.country}:
            yield (
                ("site", i, "latitude"),
                f"{site.latitude}, {site.longitude} lies in {', '.join(sorted(countries))}, "
                f"not clearly in {site.country}",
                "Correct the coordinates or the country, or move away from the border.",
            )
    codes = set(borders.codes)
    for table in ("manufacturer", "custodian"):
        for i, party in enumerate(getattr(scenario, table)):
            if party.country not in codes:
                problem = f"{party.country} is no country of the border data"
                yield (table, i, "country"), problem, "Use an ISO 3166-1 alpha-2 code."
    for i, licence in enumerate(scenario.licence):
        for k, country in enumerate(licence.countries):
            if country not in codes:
                problem = f"{country} is no country of the border data"
                remedy = "Use an ISO 3166-1 alpha-2 code."
                yield ("licence", i, "countries", k), problem, remedy


def _licences(scenario: Scenario) -> Iterator[Found]:
    for i, licence in enumerate(scenario.licence):
        if licence.until_day <= licence.from_day:
            problem = f"ends on day {licence.until_day:g}, before it begins"
            yield ("licence", i, "until_day"), problem, f"Use more than {licence.from_day:g}."
        for name in ("countries", "models"):
            items = getattr(licence, name)
            if len(set(items)) != len(items):
                yield ("licence", i, name), "names one twice", "Name each once."


def _routes(scenario: Scenario) -> Iterator[Found]:
    for i, route in enumerate(scenario.route):
        if "custodian" not in scenario.custodians[route.custodian].roles:
            problem = f"{route.custodian} is a carrier only"
            yield ("route", i, "custodian"), problem, "End the route with a custodian."
        yield from _legs(scenario, i, route)


def _legs(scenario: Scenario, i: int, route: Route) -> Iterator[Found]:
    for k, leg in enumerate(route.via):
        path: Path = ("route", i, "via", k)
        if "carrier" in scenario.custodians[leg.party].roles:
            continue
        if leg.licence is None:
            problem = f"{leg.party} is no carrier and takes the chips under no licence"
            yield (*path, "party"), problem, "Give the leg a licence, or make the party a carrier."
        elif scenario.licences[leg.licence].holder != leg.party:
            problem = f"licence {leg.licence} is not {leg.party}'s"
            yield (*path, "licence"), problem, "Name a licence of that party."


def _cohorts(scenario: Scenario) -> Iterator[Found]:
    for i, cohort in enumerate(scenario.cohort):
        path: Path = ("cohort", i)
        licence, route = scenario.licences[cohort.licence], scenario.routes[cohort.route]
        model = scenario.models[cohort.model]
        if cohort.firmware is not None and cohort.firmware not in {
            firmware.version for firmware in model.firmware
        }:
            names = ", ".join(firmware.version for firmware in model.firmware)
            problem = f"{model.name} has no firmware {cohort.firmware}"
            yield (*path, "firmware"), problem, f"Use one of {names}."
        for problem in _unlicensed(scenario, licence, route, cohort.model):
            remedy = "Choose another licence or route; what is to be caught is an incident."
            yield (*path, "licence"), problem, remedy
        end = scenario.calendar.days
        if scenario.service_day(cohort) >= end:
            problem = f"goes into service on day {scenario.service_day(cohort):g} of {end:g}"
            yield (*path, "born_day"), problem, "Let it begin earlier, or make the run longer."


def _unlicensed(
    scenario: Scenario, licence: LicencePart, route: Route, model: str
) -> Iterator[str]:
    """Why an honest cohort would not be covered by its own licence."""
    if licence.holder != route.custodian:
        yield f"{licence.id} is {licence.holder}'s, the route ends with {route.custodian}"
    if model not in licence.models:
        yield f"{licence.id} does not cover {model}"
    site = None if route.site is None else scenario.sites[route.site]
    country = scenario.custodians[route.custodian].country if site is None else site.country
    if country not in licence.countries:
        yield f"{licence.id} does not cover {country}"
