"""A run of a scenario with a progress display, and the report on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli import output
from device_sim.report import build_report, chip_deeds
from device_sim.run import run

if TYPE_CHECKING:
    from api.client import Client
    from device_sim.scenario import Scenario
    from device_sim.tally import Progress, RunResult

TELLING = ("smuggle", "transship", "clone")
CAUGHT = ("held", "revoked")


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run's report, JSON-ready, and a chip worth a look (its UEID in hex)."""

    report: dict[str, Any]
    example: str | None

    def write(self, path: Path) -> None:
        """Write the report to a file."""
        from api.cli.folder import write_json

        write_json(path, self.report)


def run_scenario(
    scenario: "Scenario",
    client: "Client",
    *,
    devices: int | None = None,
    days: float | None = None,
    seed: int | None = None,
    speedup: float = 1.0,
) -> Done:
    """Run it on the ledger behind ``client``; progress goes to stderr."""
    with output.progress() as display:
        task = display.add_task(f"scenario {scenario.name}", total=None)

        def show(step: "Progress") -> None:
            words = f"{output.moment(step.now_ms)}  {output.number(step.heartbeats)} heartbeats"
            display.update(task, description=words, completed=step.step, total=step.steps)

        result = run(
            scenario,
            client,
            progress=show,
            limit_days=days,
            devices=devices,
            seed=seed,
            speedup=speedup,
        )
    return Done(build_report(result, client), _example(result, client))


def _example(result: "RunResult", client: "Client") -> str | None:
    """A diverted chip that was caught, by the kind whose history says most."""
    deeds = list(chip_deeds(result))
    for kind in TELLING:
        for deed in deeds:
            if deed.kind == kind and client.device(deed.ueid)["state"] in CAUGHT:
                return deed.ueid
    return None
