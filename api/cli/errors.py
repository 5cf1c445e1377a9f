"""Errors in one line each: what is wrong, and what to do about it."""

import sys
from typing import Any

from ledger.errors import ChipPassportError, IntegrityError, Refused

EXIT_UNSOUND = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

_BUG = "this is a fault of the program; show it with: chip-passport --debug"


class UsageError(ChipPassportError):
    """Options that do not go together, or an argument that cannot be meant."""


def complain(*lines: str) -> None:
    """Write lines to stderr, each with the program's name."""
    for line in lines:
        try:
            print(f"chip-passport: {line}", file=sys.stderr)  # noqa: T201
        except OSError:  # nobody reads stderr
            return


def explain(error: Exception) -> list[str]:
    """What to tell about an error; one line, or one for each fault of a scenario."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _usage(error)
    faults = getattr(error, "faults", None)
    if isinstance(error, ChipPassportError) and faults and hasattr(error, "source"):
        return [_one_line(f"{error.source}: {fault}") for fault in faults]
    if isinstance(error, Refused):
        return [_one_line(f"{error.detail} ({error.reason.value})")]
    if isinstance(error, IntegrityError):
        return [_one_line(f"the ledger contradicts itself: {error}")]
    if isinstance(error, ChipPassportError):
        return [_one_line(str(error))]
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return [_one_line(f"{place}{error.strerror or error}")]
    return [_one_line(f"{type(error).__name__}: {error} ({_BUG})")]


def _usage(error: Any) -> list[str]:
    """A usage error of Click or Typer, which vendors it: known by its members, not its class."""
    message = str(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)  # noqa: T201
        return []
    context = getattr(error, "ctx", None)
    path = "chip-passport" if context is None else context.command_path
    text = message.rstrip(".")
    end = "" if text.endswith("?") else "."
    return [_one_line(f"{text}{end} See: {path} --help")]


def _one_line(text: str) -> str:
    return " ".join(text.split())
