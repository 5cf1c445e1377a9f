"""``demo``: the main job on one machine, from nothing to a ledger that can be asked."""

import shlex
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.fleet import Days, Devices, Seed, load_scenario
from api.cli.options import DEMO_FOLDER
from ledger.errors import ConfigurationError

if TYPE_CHECKING:
    from api.cli.folder import DemoFolder
    from api.cli.running import Done
    from device_sim.scenario import Scenario

SCENARIO = "demo"


def demo(
    devices: Devices = None,
    days: Days = None,
    seed: Seed = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the ledger and the report.")
    ] = Path(DEMO_FOLDER),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Run a simulated fleet in which chips are diverted.

    Starts a ledger with its verifier on this machine, runs the scenario "demo" against it, and
    says what happened: which diversions were caught and how long it took, which were missed,
    and who was held without cause. Leaves DIR/ledger.db, DIR/report.json and DIR/trust.policy; an
    earlier demo in DIR is replaced. The same seed makes the same ledger, byte for byte.
    """
    from api.cli import output, summary
    from api.cli.folder import DemoFolder

    scenario = load_scenario(SCENARIO)
    folder = DemoFolder(out)
    if folder.prepare():
        output.notice(f"replacing the earlier demo in {out}")
    done = _run(scenario, folder, devices, days, seed)
    done.write(folder.report)
    if as_json:
        output.print_json(done.report)
        return
    summary.show(done.report)
    _what_next(folder, done.example)


def _run(
    scenario: "Scenario",
    folder: "DemoFolder",
    devices: int | None,
    days: float | None,
    seed: int | None,
) -> "Done":
    """The run, with a service of its own; where that fails, its last words are the error."""
    from api.cli.child import service
    from ledger.service.keys import write_keys

    number = scenario.seed if seed is None else seed
    write_keys(folder.keys, _key_seed(number, "ledger"), _key_seed(number, "verifier"))
    options = ("--clock", "simulated", "--access", "open", "--log-level", "warning")
    with service(folder.database, folder.log, *options) as running:
        # Imported while the service starts.
        from api.cli.running import run_scenario
        from api.client import Client, ClientError

        try:
            with Client(running.url) as client:
                done = run_scenario(scenario, client, devices=devices, days=days, seed=seed)
                folder.trust.write_bytes(_trust(client.ledger()["vkey"]))
                return done
        except ClientError as error:
            said = running.failure()
            if said is None:
                raise
            raise ConfigurationError(f"the service failed: {said}") from error


def _trust(vkey: str) -> bytes:
    """A policy that trusts the demo's own ledger, and asks for no witness."""
    from ledger.log.trust import TrustedLog, TrustPolicy
    from ledger.log.vkey import Vkey

    return TrustPolicy((TrustedLog(Vkey.parse(vkey)),), (), (), None).encode()


def _key_seed(seed: int, name: str) -> bytes:
    """Publicly known on purpose: with it the run can be repeated to the byte."""
    return sha256(f"chip-passport demo, seed {seed}, {name} key".encode()).digest()


def _what_next(folder: "DemoFolder", ueid: str | None) -> None:
    from api.cli import output

    program = _program()
    where = "" if folder.path == Path(DEMO_FOLDER) else f" --database {_quoted(folder.database)}"
    lines: list[tuple[str, str]] = []
    if ueid is not None:
        lines.append((f"{program} history {ueid}{where}", "one diverted chip's life"))
    lines += [
        (f"{program} decisions{where}", "every hold and release, with reasons"),
        (f"{program} check{where}", "derive the whole ledger again"),
    ]
    screen = output.console()
    screen.print(f"\nThe ledger is {folder.database}, the report {folder.report}. Try next:")
    for command, what in lines:
        screen.print(f"  {command}", soft_wrap=True)
        screen.print(f"      {what}", style="dim")


def _program() -> str:
    """How to call this program again from here."""
    name = Path(sys.argv[0]).name
    if name != "chip-passport":
        return "python -m api.cli" if name == "__main__.py" else "chip-passport"
    if shutil.which(name) is not None:
        return name
    return _quoted(Path(sys.argv[0]))


def _quoted(path: Any) -> str:
    return shlex.quote(str(path))
