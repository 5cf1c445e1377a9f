"""Makes ``docs/cli.md`` from the program's own help: ``python -m api.cli.reference FILE``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from api.cli.program import PROGRAM, app

WIDTH = 78
"""What Click leaves of a terminal of 80 columns or more."""
_HEAD = """\
# Command line

Made from the program's own help by `make docs`; edit it there.

Queries print tables for people; with `--json` they print one JSON document and nothing else on
standard output. Progress, logs and notices go to standard error. An error is one line on standard
error.

| exit code | meaning |
| --- | --- |
| 0 | done; also when whoever reads the output stops early |
| 1 | `check` found the ledger unsound |
| 2 | it could not be done; the line on standard error says why and what to do |
| 130 | interrupted |

`devices`, `history` and `decisions` print `{"items": […], "more": true or false}` as JSON, one item
a line; items are as in the HTTP interface (see [http.md](http.md)). `more` is true where `--limit`
left some out. `check` prints `{"sound": …, "faults": [{"place": …, "problem": …}], …}`, and `demo`
and `fleet run` print what they leave in `report.json`.

A database is a file's path or a URL such as `postgresql://user@host/name`.
"""


def markdown() -> str:
    """The page: a section for each command, with its help as it is printed."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name=PROGRAM, terminal_width=WIDTH)
    sections = [f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(command, context)]
    return _HEAD + "".join(sections)


def _helps(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """``(command path, help)`` of a command and of those below it, in order."""
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, help_text.strip()
    for name, below in getattr(command, "commands", {}).items():
        yield from _helps(below, typer.Context(below, info_name=name, parent=context))


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to standard output; an option names no file."""
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        sys.stderr.write("give the file to write, or nothing\n")
        return 2
    if arguments:
        Path(arguments[0]).write_text(markdown(), encoding="utf-8")
    else:
        sys.stdout.write(markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
