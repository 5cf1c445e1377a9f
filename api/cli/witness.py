"""``witness serve``: a witness, until it is told to stop."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import UsageError
from api.cli.ready import tell_ready
from api.cli.serve import LogFormat, LogLevel

if TYPE_CHECKING:
    from ledger.log.vkey import Vkey
    from ledger.protocol.keys import Ed25519Signer

DEFAULT_DATABASE = "witness.db"

app = typer.Typer(
    help="Run a witness: it vouches that a ledger never takes anything back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def witness() -> None:
    """Run a witness: it vouches that a ledger never takes anything back."""


@app.command()
def serve(
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Name of the witness in its key, such as witness.example/w1."
        ),
    ],
    ledger: Annotated[
        list[str],
        typer.Option(
            metavar="VKEY",
            help="Follow the ledger with this key, the vkey that GET /v1/ledger gives. "
            "Several may be followed.",
        ),
    ],
    database: Annotated[
        str, typer.Option(metavar="FILE|URL", help="What the witness remembers.")
    ] = DEFAULT_DATABASE,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The witness's Ed25519 key. [default: the database file's name with .key]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="N", help="Port; 0 takes a free one.")
    ] = 8480,
    new: Annotated[
        bool, typer.Option("--new", help="Begin without a memory, with a key that exists already.")
    ] = False,
    log_level: Annotated[LogLevel, typer.Option(help="What to log.")] = LogLevel.info,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log.")] = LogFormat.text,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the address here once requests are answered."),
    ] = None,
) -> None:
    """Cosign checkpoints, and never two that contradict.

    The first start makes the key and the memory. Later a memory that is missing is refused: a
    witness that forgot what it cosigned would vouch for a forged history. Do not put back an old
    memory from a backup either; begin with a new name and a new key (--new is for a key that
    was made elsewhere and has never cosigned).

    The log goes to stderr; address and key go to stdout. Stop it with Ctrl-C or SIGTERM.
    """
    from api import logs
    from api.listening import Listener
    from api.witness import create_witness_app
    from ledger.log.cosignature import Cosigner
    from ledger.service.clock import SystemClock
    from ledger.service.witness import Witness, WitnessSettings

    logs.configure(level=log_level.value, form=log_format.value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    vkeys = _followed(ledger)
    signer, create = _key(database, key, new)
    settings = WitnessSettings(
        database, [Cosigner(name, signer)], vkeys, SystemClock(), create=create
    )
    witness = Witness.open(settings)
    try:
        listener = Listener(create_witness_app(witness), host=host, port=port)
        words = "key " + " ".join(witness.vkeys)
        listener.run(on_ready=lambda url: tell_ready(url, words, ready_file))
    finally:
        witness.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _followed(texts: list[str]) -> "dict[str, list[Vkey]]":
    """Ledgers' keys by origin, which is the key's name."""
    from ledger.errors import Refused
    from ledger.log.cosignature import parse_vkey

    followed: dict[str, list[Vkey]] = {}
    for text in texts:
        try:
            vkey = parse_vkey(text)
        except Refused as error:
            raise UsageError(f"--ledger takes a ledger's vkey, not {text!r}") from error
        followed.setdefault(vkey.name, []).append(vkey)
    return followed


def _key(database: str, key: Path | None, new: bool) -> "tuple[Ed25519Signer, bool]":
    """The signing key, and whether a memory may be made.

    Key and memory are made together or not at all.
    """
    from ledger.errors import ConfigurationError
    from ledger.service.keys import make_key, read_key
    from ledger.store.engine import database_url

    url = database_url(database)
    is_file = url.get_backend_name() == "sqlite"
    if key is None:
        if not is_file:
            raise UsageError("name the file of the witness's key with --key")
        key = Path(f"{url.database}.key")
    remembers = is_file and Path(url.database or "").exists()
    if key.exists():
        if is_file and not remembers and not new:
            raise ConfigurationError(
                f"the memory {url.database} is missing; a witness that forgot must not go on: "
                "restore nothing, give it a new --name and a new key"
            )
        return read_key(key), new or not is_file
    if remembers or new:
        raise ConfigurationError(f"{key} is missing; restore it, or name it with --key")
    return make_key(key), True
