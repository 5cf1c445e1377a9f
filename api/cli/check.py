"""``check``: is this ledger sound?"""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import EXIT_UNSOUND
from api.cli.options import Database

if TYPE_CHECKING:
    from ledger.service.check import CheckReport


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    database: Database = None,
) -> None:
    """Check that a ledger is sound.

    Derives all of it again and compares every byte that follows from others: statements,
    signatures, hashes, each chip's chain, the tree and its tiles, checkpoints, the verifier's
    decisions, and every table made from them. The first fault is named with its place.

    \b
    Not checked (docs/ledger.md says more):
      that others have seen the same ledger; compare the root with theirs
      that entries behind the newest checkpoint were not taken away
      when exactly something came or was published, beyond order and bounds
      decisions due behind the verifier's newest one and its saved state
      that what a statement says is true
      PostgreSQL's own catalogue; files beside the database

    Exit code 0: sound; 1: not sound; 2: the check could not be made.
    """
    from api.cli import output
    from api.cli.sources import default_database

    name = default_database(database)
    report = _check(name)
    if as_json:
        output.print_json({"sound": report.sound, **asdict(report)})
    elif report.sound:
        _tell_sound(report, name)
    else:
        fault = report.faults[0]
        output.console().print(f"NOT SOUND: {fault.place}: {fault.problem}", style="bold red")
        output.console().print(_before(fault.place, output.number(report.entries)))
    if not report.sound:
        raise typer.Exit(EXIT_UNSOUND)


def _before(place: str, entries: str) -> str:
    """How far the check had come; tables and the file itself have no entries before them."""
    if place.startswith("entry "):
        return f"{entries} entries before it are sound"
    return f"{entries} entries were found sound until then; nothing behind the fault was checked"


def _check(database: str) -> "CheckReport":
    from concurrent.futures import ThreadPoolExecutor

    from api.cli import output
    from ledger.service.check import check_ledger

    # Threads are enough: the library lets go of the interpreter while it checks a signature.
    with ThreadPoolExecutor(os.cpu_count()) as executor, output.progress() as display:
        task = display.add_task("checking entries", total=None)

        def show(done: int, total: int) -> None:
            display.update(task, completed=done, total=total)

        return check_ledger(database, progress=show, executor=executor)


def _tell_sound(report: "CheckReport", database: str) -> None:
    from api.cli import output
    from ledger.store.engine import shown_database

    number = output.number
    screen = output.console()
    screen.print(f"sound: {shown_database(database)}", style="bold green")
    for label, value in (
        ("ledger", report.origin or "no genesis yet"),
        ("entries", number(report.entries)),
        ("signatures", number(report.signatures)),
        ("chips", number(report.chips)),
        ("decisions", f"{number(report.decisions)} by the verifier"),
        ("conflicts", number(report.conflicts)),
        ("checkpoints", number(report.checkpoints)),
        ("tiles", number(report.tiles)),
        ("root", report.root or "–"),
    ):
        screen.print(f"  {label:<12}{value}", soft_wrap=True)
    if report.verifier_position < report.entries:
        screen.print(f"  the verifier's state {_saved(report.verifier_position)}")


def _saved(position: int) -> str:
    """As of which entry the verifier's state was saved, and so was compared."""
    return f"was saved as of entry {position - 1}" if position else "has not been saved yet"
