"""Checks of incidents: the fields that their kind takes, enough chips, the right moment."""

from collections.abc import Iterator

from device_sim.scenario.incident import DETAILS, Incident
from device_sim.scenario.lines import Path
from device_sim.scenario.model import Cohort, Scenario

Found = tuple[Path, str, str]


def incident_faults(scenario: Scenario) -> Iterator[Found]:
    """Faults of every incident of every cohort."""
    for i, cohort in enumerate(scenario.cohort):
        used = 0
        for k, incident in enumerate(cohort.incident):
            path: Path = ("cohort", i, "incident", k)
            used += incident.chips
            if used > cohort.count:
                problem = f"the incidents take {used} chips, the cohort has {cohort.count}"
                yield (*path, "chips"), problem, "Raise the cohort's count or take fewer."
            yield from _fields(path, incident)
            yield from _time(scenario, cohort, path, incident)
            yield from _papers(scenario, cohort, path, incident)


def _fields(path: Path, incident: Incident) -> Iterator[Found]:
    about = incident.about
    for name in about.needs:
        if getattr(incident, name) is None:
            yield path, f"{incident.kind} needs {name}", f"Add {name}."
    for name in DETAILS:
        if name in incident.model_fields_set and name not in (*about.needs, *about.takes):
            yield (*path, name), f"{incident.kind} has no use for it", "Take it out."
    if about.timed and incident.day is None:
        yield path, f"{incident.kind} needs the day on which it happens", "Add day."
    if not about.timed and incident.day is not None:
        problem = f"the time of {incident.kind} follows from delivery or licence"
        yield (*path, "day"), problem, "Take it out."
    if incident.release_after_days is not None and incident.expected != "hold":
        problem = "only what is held can be released"
        yield (*path, "release_after_days"), problem, 'Set expect = "hold", or take it out.'


def _time(scenario: Scenario, cohort: Cohort, path: Path, incident: Incident) -> Iterator[Found]:
    service, day = scenario.service_day(cohort), incident.day
    if day is not None and day <= service:
        problem = f"day {day:g} comes before the chips are in service on day {service:g}"
        yield (*path, "day"), problem, f"Use more than {service:g}."
    end, due = scenario.calendar.days, incident.due_days
    if day is not None and (day >= end or day + due > end):
        problem = f"its outcome may take until day {day + due:g}, and the run ends on day {end:g}"
        yield (*path, "day"), problem, "Use an earlier day, or make the run longer."
    needs_rack = incident.about.timed and incident.kind not in ("transship", "move", "late-receive")
    if needs_rack and scenario.routes[cohort.route].site is None:
        problem = f"{incident.kind} needs chips in service, the route ends in a warehouse"
        yield (*path, "kind"), problem, "Give the route a site."
    if incident.kind == "rollback" and day is not None and day - incident.back_days <= service:
        problem = "the snapshot would be from before the chips were in service"
        yield (*path, "back_days"), problem, f"Use less than {day - service:g}."


def _papers(scenario: Scenario, cohort: Cohort, path: Path, incident: Incident) -> Iterator[Found]:
    """An honest move goes where a licence covers it; a diversion goes where none does."""
    licence = scenario.licences[cohort.licence]
    if incident.kind in ("move", "late-receive") and incident.site is not None:
        yield from _honest_move(scenario, cohort, path, incident)
    if incident.kind == "expired-licence" and licence.until_day >= scenario.calendar.days:
        problem = f"licence {licence.id} runs until day {licence.until_day:g}"
        yield (*path, "kind"), problem, "Let the licence end within the run."
    if (
        incident.kind == "transship"
        and incident.custodian == scenario.routes[cohort.route].custodian
    ):
        problem = "the chips are with that custodian already"
        yield (*path, "custodian"), problem, "Name the custodian that they are diverted to."


def _honest_move(
    scenario: Scenario, cohort: Cohort, path: Path, incident: Incident
) -> Iterator[Found]:
    ident = incident.licence or cohort.licence
    licence = scenario.licences[ident]
    holder = incident.custodian or scenario.routes[cohort.route].custodian
    site = scenario.sites[incident.site or ""]
    name = "licence" if incident.licence is not None else "site"
    if licence.holder != holder:
        problem = f"licence {ident} is {licence.holder}'s, the chips go to {holder}"
        yield (*path, name), problem, "Name a licence of the custodian who gets them."
    if site.country not in licence.countries:
        problem = f"licence {ident} does not cover {site.country}"
        yield (*path, name), problem, "Choose a covered site; a move elsewhere is a diversion."
    old = scenario.licences[cohort.licence]
    if incident.kind == "late-receive" and site.country not in old.countries:
        problem = f"until the receipt it is under {old.id}, which does not cover {site.country}"
        yield (*path, "site"), problem, "Choose a site that both licences cover."
    if cohort.model not in licence.models:
        problem = f"licence {ident} does not cover {cohort.model}"
        yield (*path, name), problem, "Choose a licence for that model."
