"""The program: its commands, and what becomes of every way in which one can end.

Exit codes: 0 done; 1 ``check`` found the ledger unsound; 2 anything that kept a command from
running, said in one line on stderr; 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from api.cli import (
    audit,
    bundles,
    check,
    demo,
    fleet,
    landmark,
    locate,
    proofs,
    queries,
    serve,
    tokens,
    witness,
)
from api.cli.errors import EXIT_ERROR, EXIT_INTERRUPTED, UsageError, complain, explain

PROGRAM = "chip-passport"

app = typer.Typer(
    name=PROGRAM,
    # Plain help: the same on every terminal, in a pipe and in docs/cli.md.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
app.command()(demo.demo)
app.command()(queries.devices)
app.command()(queries.history)
app.command()(queries.decisions)
app.command()(check.check)
app.command()(audit.audit)
app.command()(bundles.bundle)
app.command()(bundles.checkpoint)
app.command()(proofs.proof)
app.command()(bundles.verify)
app.command()(locate.locate)
app.command()(serve.serve)
app.add_typer(tokens.app, name="token")
app.add_typer(fleet.app, name="fleet")
app.add_typer(witness.app, name="witness")
app.add_typer(landmark.app, name="landmark")
app.add_typer(landmark.group, name="landmarks")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version(PROGRAM)
        except PackageNotFoundError:
            number = "(run from its source tree)"
        typer.echo(f"{PROGRAM} {number}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_version),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors.", hidden=True)
    ] = False,
) -> None:
    """Passports for AI accelerators: who held a chip, where it said it was, and who says so.

    Start with "chip-passport demo": it runs a simulated fleet in which some chips are
    diverted, and shows how they are caught.

    \b
    Five words:
      chip       an accelerator; its number (UEID) never changes
      heartbeat  what a chip signs every few hours: where it is, what it runs
      ledger     the record that nobody can change unnoticed; all else is on it
      verdict    what the verifier makes of a heartbeat, by the licence and policy
      hold       the decision that a chip may not go on; officers can release it

    \b
    Settings from the environment:
      CHIP_PASSPORT_DATABASE  ledger to read or serve, instead of --database
      CHIP_PASSPORT_URL       service to ask, instead of --url
      CHIP_PASSPORT_TOKEN     access token for it, instead of --token-file
      NO_COLOR                no colours
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; nothing comes out as an exception.

    ``--debug`` (or ``CHIP_PASSPORT_DEBUG``) lets exceptions through instead.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words[:1] or bool(os.environ.get("CHIP_PASSPORT_DEBUG"))
    try:
        code = _invoke(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_output()
        return 0
    except KeyboardInterrupt:
        # Python remembers one that left a text of code (a dataclass being made, while a command
        # is imported) as unhandled and would end by the signal; the next such text clears that.
        exec("")  # noqa: S102
        complain("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            raise
        complain(*explain(error))
        return EXIT_ERROR
    return code


def _invoke(words: list[str]) -> int:
    """Parse and call, without Click's own handling of errors."""
    if any(word.partition("=")[0] == "--token" for word in words):
        raise UsageError(
            "everybody on this machine can see an access token among a command's words: put it "
            "into a file and name that with --token-file, or into CHIP_PASSPORT_TOKEN"
        )
    command = typer.main.get_command(app)
    try:
        with command.make_context(PROGRAM, words) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _close_output() -> None:
    """Whoever read our output has gone, as ``head`` does; the rest goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
