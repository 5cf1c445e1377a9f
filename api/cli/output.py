"""Where output goes: results on stdout, everything else on stderr.

Rich is imported when something is drawn. On a terminal, text wraps at its width; into a pipe every
row is one line, unless COLUMNS says how wide it may be. Numbers of chips and hashes are never cut.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

UNLIMITED_WIDTH = 10_000


def console(*, stderr: bool = False) -> "Console":
    """A Rich console that neither interprets nor colours texts by itself."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else UNLIMITED_WIDTH
    return PlainConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON document, indented, as a line or more."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_json_items(items: Iterable[dict[str, Any]], limit: int | None) -> None:
    """``{"items": [...], "more": bool}`` with one item a line, written as they come."""
    found = iter(items)
    first = list(islice(found, 1))  # what fails, fails before anything is written
    write = sys.stdout.write
    write('{"items": [')
    for count, item in enumerate(islice(chain(first, found), limit)):
        write(("," if count else "") + "\n" + json.dumps(item, ensure_ascii=False))
    more = limit is not None and next(found, None) is not None
    write(f'\n], "more": {json.dumps(more)}}}\n')


def draw(screen: "Console", what: Any) -> None:
    """Print a table; into a pipe without the blanks that fill its last column."""
    if screen.is_terminal:
        screen.print(what)
        return
    with screen.capture() as drawn:
        screen.print(what)
    lines = (line.rstrip() for line in drawn.get().splitlines())
    screen.print("\n".join(lines), soft_wrap=True)


def notice(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def progress() -> Iterator["Progress"]:
    """A progress display on stderr; draws nothing where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    target = console(stderr=True)
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=target,
        transient=True,
        disable=not target.is_terminal,
    )
    with display:
        yield display


def moment(ms: int | None) -> str:
    """Ledger time for a table: UTC to the minute; a dash for none."""
    if ms is None:
        return "–"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def span(ms: float) -> str:
    """A length of time in the unit that suits it."""
    hours = ms / 3_600_000
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def number(value: int) -> str:
    """A count with thousands apart."""
    return f"{value:,}"
