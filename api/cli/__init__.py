"""The command line: ``chip-passport`` (also ``python -m api.cli``).

Modules of commands import what they need when they run, so that ``--help`` answers at once.
"""


def main() -> None:
    """Entry point of the console script; ends the process."""
    from api.cli.program import run

    raise SystemExit(run())
