"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DATABASE_VARIABLE = "CHIP_PASSPORT_DATABASE"
URL_VARIABLE = "CHIP_PASSPORT_URL"
TOKEN_VARIABLE = "CHIP_PASSPORT_TOKEN"  # noqa: S105 (a name)
DEMO_FOLDER = "chip-passport-demo"
DEMO_DATABASE = f"{DEMO_FOLDER}/ledger.db"
SERVICE_URL = "http://127.0.0.1:8470"
LINES = 100
"""Lines of a table unless --limit or --all says otherwise."""

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="FILE|URL",
        help="Read this ledger: a file or a database URL. "
        f"[default: {DEMO_DATABASE} where it exists]",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help=f"Ask the service at this address. [default: {SERVICE_URL}]",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="Show the service the access token in this file.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON, complete unless --limit is given, and nothing else."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        metavar="N",
        help=f"Show at most N. [default: {LINES} in a table]",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Show all, however many.")]
