"""``fleet``: simulated fleets against a running service, and checking their scenarios."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.errors import EXIT_ERROR, UsageError
from api.cli.options import SERVICE_URL, URL_VARIABLE, TokenFile, Url

if TYPE_CHECKING:
    from device_sim.scenario import Scenario

app = typer.Typer(
    help="Run a simulated fleet, or check its scenario.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of a packaged one.")
]
Devices = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Chips in all, instead of the scenario's.")
]
Days = Annotated[
    float | None, typer.Option(min=0.01, metavar="D", help="Length, instead of the scenario's.")
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**63 - 1, metavar="S", help="Seed, instead of the scenario's."),
]


@app.command()
def run(
    scenario: Name,
    url: Url = None,
    token_file: TokenFile = None,
    devices: Devices = None,
    days: Days = None,
    seed: Seed = None,
    speedup: Annotated[
        float, typer.Option(min=0.001, metavar="X", help="Days per day of a service in real time.")
    ] = 1.0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave report.json in this folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Run a fleet against a running service.

    On a simulated clock it runs as fast as the service takes it. On the real clock it runs in
    real time, or --speedup times as fast. The same scenario and seed send the same bytes.

    The report tells of every chip: of a service that asks for access tokens it takes an
    officer's or an auditor's.
    """
    from api.cli import output, summary
    from api.cli.running import run_scenario
    from api.cli.sources import access_token, explained_access
    from api.client import Client, Unreachable

    token = access_token(token_file)
    found = load_scenario(scenario)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    address = url or os.environ.get(URL_VARIABLE) or SERVICE_URL
    try:
        with explained_access(token), Client(address, token=token) as client:
            done = run_scenario(
                found, client, devices=devices, days=days, seed=seed, speedup=speedup
            )
    except Unreachable as error:
        raise UsageError(
            f"no service answers at {error}; start one with: chip-passport serve --clock simulated"
        ) from error
    if out is not None:
        done.write(out / "report.json")
    if as_json:
        output.print_json(done.report)
    else:
        summary.show(done.report)


@app.command()
def validate(
    scenario: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Check a scenario.

    Names each fault with its line, its field and what to do. Exit code 0: it can be run; 2: it
    cannot.
    """
    from api.cli import output
    from device_sim.scenario import ScenarioError

    try:
        found = load_scenario(scenario)
    except ScenarioError as error:
        if not as_json:
            raise
        faults = [asdict(fault) for fault in error.faults]
        output.print_json({"valid": False, "source": error.source, "faults": faults})
        raise typer.Exit(EXIT_ERROR) from error
    if as_json:
        output.print_json({"valid": True, **_facts(found), "faults": []})
        return
    facts = _facts(found)
    screen = output.console()
    screen.print(f"{facts['name']} can be run: {facts['description']}", soft_wrap=True)
    screen.print(
        f"{output.number(facts['chips'])} chips in {facts['cohorts']} cohorts at "
        f"{facts['sites']} sites, {facts['incidents']} incidents, {facts['days']:g} days from "
        f"{facts['start']}, seed {facts['seed']}"
    )


def load_scenario(name: str) -> "Scenario":
    """A packaged scenario by its name, or one from a file; a file of that name wins."""
    from device_sim.scenario import load, load_packaged, scenario_names

    if name in scenario_names() and not Path(name).is_file():
        return load_packaged(name)
    return load(name)


def _facts(scenario: "Scenario") -> dict[str, Any]:
    return {
        "name": scenario.name,
        "description": " ".join(scenario.description.split()),
        "chips": scenario.chips,
        "cohorts": len(scenario.cohort),
        "sites": len(scenario.site),
        "incidents": sum(len(cohort.incident) for cohort in scenario.cohort),
        "days": scenario.calendar.days,
        "start": scenario.calendar.start.isoformat(),
        "seed": scenario.seed,
    }
