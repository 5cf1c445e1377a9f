"""The pages on scenarios and simulator say all that the code knows."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from device_sim.report import build_report
from device_sim.run import run
from device_sim.scenario import KINDS, load_packaged, scenario_names
from device_sim.scenario import model as parts
from device_sim.scenario.incident import Incident
from device_sim.scenario.policy import SET_BY_SIMULATOR
from ledger.protocol.policy import Policy
from tests.device_sim.peer import LedgerPeer

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCENARIOS = (DOCS / "scenarios.md").read_text(encoding="utf-8")
SIMULATOR = (DOCS / "simulator.md").read_text(encoding="utf-8")

MODELS: list[type[BaseModel]] = [
    parts.Calendar,
    parts.HeartbeatPlan,
    parts.Firmware,
    parts.ChipModel,
    parts.Officer,
    parts.Manufacturer,
    parts.Custodian,
    parts.Site,
    parts.LicencePart,
    parts.Leg,
    parts.Route,
    parts.Cohort,
    parts.Scenario,
    Incident,
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[BaseModel]) -> None:
    words = set(SCENARIOS.replace("`", " ").replace(",", " ").replace(".", " ").split())
    assert set(model.model_fields) <= words


def test_every_policy_parameter_is_documented() -> None:
    names = set(Policy.model_fields) - set(SET_BY_SIMULATOR)
    assert all(f"`{name}`" in SCENARIOS for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_documented_as_it_is(kind: str) -> None:
    about = KINDS[kind]
    row = next(line for line in SCENARIOS.splitlines() if line.startswith(f"| `{kind}` | "))
    _, _, summary, expected, rules, needs, takes, _ = (cell.strip() for cell in row.split("|"))
    assert summary == about.summary
    assert expected.split(":")[0] == about.expect
    assert rules == ", ".join(about.rules)
    assert needs == ", ".join(f"`{name}`" for name in about.needs)
    assert takes == ", ".join(f"`{name}`" for name in about.takes)


@pytest.mark.parametrize("name", scenario_names())
def test_packaged_scenario_is_explained(name: str) -> None:
    assert f"### {name}\n" in SCENARIOS


@pytest.mark.parametrize("name", scenario_names())
def test_processing_performance_is_that_of_the_table(name: str) -> None:
    rows = [line for line in SCENARIOS.splitlines() if line.startswith("| ")]
    for model in load_packaged(name).model:
        row = next(line for line in rows if line.startswith(f"| {model.name} | "))
        assert f"| {model.processing_performance:,} |" in row


def test_every_member_of_the_report_is_documented() -> None:
    peer = LedgerPeer()
    report = build_report(run(load_packaged("small"), peer, limit_days=2), peer)
    assert all(f"`{member}`" in SIMULATOR for member in report)
