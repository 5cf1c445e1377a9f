"""Scenario files: read, checked, packaged.

``load(path)`` and ``load_packaged(name)`` give a frozen ``Scenario`` or raise ``ScenarioError``
with every fault of the file. ``resized`` and ``lasting`` make variants of one.
"""

from device_sim.scenario.faults import Fault, ScenarioError
from device_sim.scenario.incident import KINDS, Incident, IncidentKind, Outcome
from device_sim.scenario.load import load, load_packaged, parse, scenario_names, validate
from device_sim.scenario.model import Cohort, Scenario, Site
from device_sim.scenario.policy import image_digest, make_policy
from device_sim.scenario.variants import lasting, resized

__all__ = [
    "KINDS",
    "Cohort",
    "Fault",
    "Incident",
    "IncidentKind",
    "Outcome",
    "Scenario",
    "ScenarioError",
    "Site",
    "image_digest",
    "lasting",
    "load",
    "load_packaged",
    "make_policy",
    "parse",
    "resized",
    "scenario_names",
    "validate",
]
