"""``witness serve``: a witness, until it is told to stop."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import UsageError
from api.cli.ready import tell_ready
from api.cli.serve import LogFormat, LogLevel

if TYPE_CHECKING:
    from ledger.log.note import NoteKey
    from ledger.log.vkey import Vkey


class Algorithm(StrEnum):
    """``WitnessAlgorithm``, which would load all that a witness is made of to show help."""

    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"


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
            help="The witness's keys. [default: the database file's name with .key]",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        list[Algorithm] | None,
        typer.Option(
            metavar="<ed25519|ml-dsa-44>",
            help="What a new witness signs with. Give it twice for one key of each; later starts "
            "go by the keys. [default: ed25519]",
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

    The first start makes the keys and the memory. Later a memory that is missing is refused: a
    witness that forgot what it cosigned would vouch for a forged history. Do not put back an old
    memory from a backup either; begin with a new name and a new key (--new is for a key that
    was made elsewhere and has never cosigned).

    The log goes to stderr; address and keys go to stdout. Stop it with Ctrl-C or SIGTERM.
    """
    from api import logs
    from api.listening import Listener
    from api.witness import create_witness_app
    from ledger.log.cosignature import Cosigner
    from ledger.log.vkey import check_name
    from ledger.service.clock import SystemClock
    from ledger.service.witness import Witness, WitnessSettings, require_followed

    logs.configure(level=log_level.value, form=log_format.value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    vkeys = _followed(ledger)
    check_name(name)
    require_followed(vkeys)  # a start that fails must not leave keys without a memory
    keys, create = _keys(database, key, new, algorithm or [])
    cosigners = [Cosigner(name, key) for key in keys]
    settings = WitnessSettings(database, cosigners, vkeys, SystemClock(), create=create)
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


def _keys(
    database: str, key: Path | None, new: bool, wanted: list[Algorithm]
) -> "tuple[list[NoteKey], bool]":
    """The signing keys, and whether a memory may be made.

    Keys and memory are made together or not at all.
    """
    from ledger.errors import ConfigurationError
    from ledger.service.witness_keys import WitnessAlgorithm, make_witness_keys, read_witness_keys
    from ledger.store.engine import database_url

    url = database_url(database)
    is_file = url.get_backend_name() == "sqlite"
    if key is None:
        if not is_file:
            raise UsageError("name the file of the witness's keys with --key")
        key = Path(f"{url.database}.key")
    remembers = is_file and Path(url.database or "").exists()
    if key.exists():
        if is_file and not remembers and not new:
            raise ConfigurationError(
                f"the memory {url.database} is missing; a witness that forgot must not go on: "
                "restore nothing, give it a new --name and a new key"
            )
        found = read_witness_keys(key)
        if wanted and set(found) != {WitnessAlgorithm(name) for name in wanted}:
            raise ConfigurationError(
                f"{key} holds keys of {' and '.join(found)}, and a witness keeps its keys; leave "
                "--algorithm out, or begin a new witness"
            )
        return list(found.values()), new or not is_file
    if remembers or new:
        raise ConfigurationError(f"{key} is missing; restore it, or name it with --key")
    algorithms = [WitnessAlgorithm(name) for name in wanted or [Algorithm.ED25519]]
    return list(make_witness_keys(key, algorithms).values()), True
