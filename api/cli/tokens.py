"""``token``: who may read what a service holds back from the public."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from ledger.service.tokens import AccessToken, TokenBook

DEFAULT_DAYS = 90
MAX_DAYS = 3_650

app = typer.Typer(
    help="Make, list and revoke access tokens.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Role(StrEnum):
    """What a token lets its bearer see."""

    holder = "holder"
    officer = "officer"
    auditor = "auditor"


Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="FILE|URL",
        help="The ledger, as serve names it. [default: ledger.db]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.callback()
def token() -> None:
    """Make, list and revoke access tokens.

    They are for readers of a service: what they may see is in docs/access.md. The commands work
    on the ledger's database, also while it is served, and what they do counts at once. Run them
    as the user who serves it.
    """


@app.command()
def create(
    role: Annotated[
        Role,
        typer.Option(
            help="holder: the chips that a party holds now; officer, auditor: every chip."
        ),
    ],
    party: Annotated[
        str | None, typer.Option(metavar="ID", help="The party whose chips a holder sees.")
    ] = None,
    label: Annotated[
        str, typer.Option(metavar="TEXT", help="Whom it is for, for the list of tokens.")
    ] = "",
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_DAYS,
            metavar="N",
            help=f"It expires after so many days. [default: {DEFAULT_DAYS}]",
            show_default=False,
        ),
    ] = None,
    forever: Annotated[
        bool, typer.Option("--no-expiry", help="It is good until it is revoked.")
    ] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Make an access token.

    Prints it once and keeps a digest of it, which tells nobody the token. Send the output to a
    file that nobody else can read (umask 077).
    """
    import secrets

    from api.cli import output
    from ledger.service.clock import SystemClock
    from ledger.service.tokens import Wanted
    from ledger.service.viewer import AccessRole
    from ledger.values import MILLIS_PER_DAY

    if forever and days is not None:
        raise UsageError("--days and --no-expiry exclude each other; give one of them")
    lifetime_ms = None if forever else (days or DEFAULT_DAYS) * MILLIS_PER_DAY
    wanted = Wanted(AccessRole(role.value), party, label, lifetime_ms)
    now_ms = SystemClock().now_ms()
    with _book(database) as book:
        text, made = book.create(wanted, now_ms, secrets.token_bytes)
    if as_json:
        output.print_json({"token": text, **_plain(made, now_ms)})
        return
    typer.echo(text)
    until = "until it is revoked" if forever else f"until {output.moment(made.expires_ms)} UTC"
    whose = "" if party is None else f" of {party}"
    output.notice(
        f"token {made.id}, {role.value}{whose}, good {until}. It is not shown again; take it back "
        f"with: chip-passport token revoke {made.id}"
    )


@app.command("list")
def list_tokens(as_json: AsJson = False, database: Database = None) -> None:
    """List the access tokens.

    Those that have expired or were revoked too. A token itself is kept nowhere.
    """
    from api.cli import output, show
    from ledger.service.clock import SystemClock

    now_ms = SystemClock().now_ms()
    with _book(database) as book:
        found = [_plain(token, now_ms) for token in book.tokens()]
    if as_json:
        output.print_json({"items": found})
    else:
        show.tokens(found)


@app.command()
def revoke(
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="The 8 digits behind cpt_ in the token.")
    ],
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Put an access token out of force, at once and for ever."""
    from api.cli import output
    from ledger.service.clock import SystemClock

    now_ms = SystemClock().now_ms()
    with _book(database) as book:
        token = book.revoke(ident, now_ms)
    if as_json:
        output.print_json(_plain(token, now_ms))
    else:
        output.notice(f"token {token.id} was revoked at {output.moment(token.revoked_ms)} UTC")


def _book(database: str | None) -> "AbstractContextManager[TokenBook]":
    """The tokens of the ledger that ``serve`` would serve with the same words."""
    import os
    from contextlib import contextmanager

    from api.cli.options import DATABASE_VARIABLE
    from api.cli.serve import DEFAULT_DATABASE
    from ledger.service.tokens import TokenBook

    @contextmanager
    def opened() -> "Iterator[TokenBook]":
        name = database or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE
        book = TokenBook.open(name)
        try:
            yield book
        finally:
            book.close()

    return opened()


def _plain(token: "AccessToken", now_ms: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "role": token.role.value,
        "party": token.party,
        "label": token.label,
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
        "revoked_ms": token.revoked_ms,
        "state": token.state(now_ms),
    }
