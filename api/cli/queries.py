"""Questions to a ledger: ``devices``, ``history``, ``decisions``."""

from enum import StrEnum
from typing import Annotated

import typer

from api.cli.errors import UsageError
from api.cli.options import LINES, All, Database, Json, Limit, TokenFile, Url


class State(StrEnum):
    """Where a chip stands."""

    registered = "registered"
    active = "active"
    held = "held"
    revoked = "revoked"
    retired = "retired"


class Action(StrEnum):
    """What a decision does."""

    hold = "hold"
    release = "release"
    revoke = "revoke"


def devices(
    state: Annotated[State | None, typer.Option(help="Chips in this state.")] = None,
    holder: Annotated[str | None, typer.Option(metavar="ID", help="Chips of this party.")] = None,
    country: Annotated[
        str | None, typer.Option(metavar="CODE", help="Chips in this country, by their papers.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Chips of this model.")] = None,
    limit: Limit = None,
    everything: All = False,
    as_json: Json = False,
    database: Database = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the chips.

    Who has them, where they are, how they stand. "place" is where the papers put a chip; a
    claim to be in another country stands beside it. A claim is only that: nothing here has
    measured where a chip is. A flag is no verdict: "suspect (says ID)" means that party ID has
    filed a paper that contradicts the record.
    """
    from api.cli import output, show
    from api.cli.sources import Filter, open_source

    wanted = Filter(state, holder, None if country is None else country.upper(), model)
    with open_source(database, url, token_file) as source:
        found = source.devices(wanted)
        if as_json:
            output.print_json_items(found, _cut(limit, everything, None))
        else:
            show.devices(found, _cut(limit, everything, LINES))


def history(
    ueid: Annotated[
        str,
        typer.Argument(
            metavar="UEID", help="The chip: its number in hex, or the first 8 digits or more."
        ),
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Every heartbeat by itself, with hashes.")
    ] = False,
    limit: Limit = None,
    everything: All = False,
    as_json: Json = False,
    database: Database = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Read one chip's life in order.

    Birth, custody, heartbeats, decisions. Heartbeats that say the same are one line; a new line
    begins where a chip says something new or was silent for a day.
    """
    from api.cli import life, output, show
    from api.cli.sources import full_ueid, open_source

    with open_source(database, url, token_file) as source:
        found = source.history(full_ueid(source, ueid))
        if as_json:
            output.print_json_items(found, _cut(limit, everything, None))
        elif full:
            show.entries(found, _cut(limit, everything, LINES))
        else:
            show.life(life.lines(found), _cut(limit, everything, LINES))


def decisions(
    ueid: Annotated[
        str | None,
        typer.Option(metavar="UEID", help="Of one chip: its number, or 8 digits or more."),
    ] = None,
    action: Annotated[Action | None, typer.Option(help="Of one kind.")] = None,
    limit: Limit = None,
    everything: All = False,
    as_json: Json = False,
    database: Database = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the decisions and their reasons.

    Holds, releases and revocations; times are those from which a decision is in force.
    """
    from api.cli import output, show
    from api.cli.sources import full_ueid, open_source

    with open_source(database, url, token_file) as source:
        chip = None if ueid is None else full_ueid(source, ueid)
        found = source.decisions(chip, action)
        if as_json:
            output.print_json_items(found, _cut(limit, everything, None))
        else:
            show.decisions(found, _cut(limit, everything, LINES))


def _cut(limit: int | None, everything: bool, default: int | None) -> int | None:
    """How many to show; None for all."""
    if everything and limit is not None:
        raise UsageError("--all and --limit exclude each other; give one of them")
    return None if everything else limit or default
