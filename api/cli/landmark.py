"""``landmark`` and ``landmarks``: a landmark at work, the chip's side of it, and the self-check."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import files
from api.cli.errors import EXIT_UNSOUND, UsageError
from api.cli.options import SERVICE_URL, URL_VARIABLE, TokenFile, Url
from api.cli.ready import tell_ready
from api.cli.serve import LogFormat, LogLevel

if TYPE_CHECKING:
    from ledger.appraisal.landmark_check import SelfCheck
    from ledger.protocol.landmarks import Landmark

PORT = 8490

app = typer.Typer(
    help="Run a landmark, or range with one.", no_args_is_help=True, rich_markup_mode=None
)
group = typer.Typer(
    help="Look after the landmark directory.", no_args_is_help=True, rich_markup_mode=None
)

Ident = Annotated[str, typer.Option("--landmark", metavar="ID", help="Party id of the landmark.")]


@app.callback()
def landmark() -> None:
    """Run a landmark, or range with one."""


@group.callback()
def landmarks() -> None:
    """Look after the landmark directory."""


@app.command()
def serve(
    ident: Ident,
    url: Url = None,
    token_file: TokenFile = None,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="The landmark's Ed25519 key; made if missing.")
    ] = Path("landmark.key"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="N", help="UDP port; 0 takes a free one.")
    ] = PORT,
    report_every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between reports.")
    ] = 60.0,
    transcripts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep what chips signed, a file for each epoch."),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What to log.")] = LogLevel.info,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log.")] = LogFormat.text,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the address here once datagrams are answered."),
    ] = None,
) -> None:
    """Range with chips over UDP and file what was measured with a ledger.

    The ledger has to know the key as that of a party with the role landmark, and the landmark
    directory has to have an entry for it; until then nothing is filed. The key's COSE_Key goes to
    stdout with the address. The access token has to let the landmark read birth statements.

    Run it on a machine of its own: a clock that stands still while the machine is moved or
    suspended makes round trips look shorter. Stop it with Ctrl-C or SIGTERM.
    """
    import secrets

    from api import logs
    from api.cli.sources import access_token
    from api.client import Client
    from api.landmark import Landmark, LandmarkSettings, LedgerLink, TranscriptFolder
    from ledger.service.keys import make_key, read_key

    logs.configure(level=log_level.value, form=log_format.value)
    signer = read_key(key) if key.exists() else make_key(key)
    kept = None
    if transcripts is not None:
        transcripts.mkdir(parents=True, exist_ok=True)
        kept = TranscriptFolder(transcripts)
    settings = LandmarkSettings(host, port, report_every, kept)
    with Client(_service(url), token=access_token(token_file), attempts=2) as client:
        link = LedgerLink(client, ident, signer)
        running = Landmark(ident, link, settings, secrets.token_bytes)

        def ready(address: str, bound: int) -> None:
            place = f"[{address}]" if ":" in address else address
            words = f"key {signer.public.to_cose_key().hex()}"
            tell_ready(f"udp://{place}:{bound}", words, ready_file)

        try:
            running.run(ready)
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


@app.command()
def probe(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the landmark is.")],
    ident: Ident,
    chip: Annotated[str, typer.Option(metavar="UEID", help="The chip, in hexadecimal.")],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="The chip's heartbeat key, PKCS #8 in PEM.")
    ],
    url: Url = None,
    epoch: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Epoch to range for. [default: ask --url]"),
    ] = None,
    probes: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Probes.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Play a chip that ranges with a landmark.

    For trying a landmark out; prints what it measured. In a real chip this runs inside the root
    of trust: a host that held the key could be anywhere.
    """
    import secrets

    from api.client import Client
    from api.landmark_probe import fresh_prover, range_with
    from ledger.protocol.keys import signer_from_pem
    from ledger.protocol.ranging import ACCEPTED, EPOCH_SIZE
    from ledger.values import parse_ueid

    ueid, signer = parse_ueid(chip), signer_from_pem(files.read(key))
    if epoch is None:
        with Client(_service(url)) as client:
            nonce = client.epoch().id
    else:
        nonce = _hex(epoch)
    if len(nonce) != EPOCH_SIZE:
        raise UsageError(f"an epoch's id has {EPOCH_SIZE} bytes")
    prover = fresh_prover(ueid, nonce, ident, probes, secrets.token_bytes)
    result = range_with(_address(address), prover, signer, probes)
    if result is None:
        raise UsageError(f"{address} did not answer")
    if as_json:
        shown = {"result": result.word, "round_trip_us": result.round_trip_us}
        typer.echo(json.dumps(shown | {"probes": result.probes}))
    elif result.word == ACCEPTED:
        typer.echo(f"accepted: {result.round_trip_us / 1_000:,.3f} ms, least of {result.probes}")
    else:
        typer.echo(f"refused: {result.word}")
    if result.word != ACCEPTED:
        raise typer.Exit(EXIT_UNSOUND)


@group.command()
def check(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY",
            help="The directory: its signed statement, or JSON as GET /v1/landmarks answers.",
        ),
    ],
    measurements: Annotated[
        Path,
        typer.Argument(
            metavar="MEASUREMENTS",
            help='JSON lines: {"from": "a", "to": "b", "rtt_ms": 8.1}, one measured pair each.',
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Check that landmarks can be where the directory has them.

    Landmarks range one another. One that answers faster than light in fibre would take to its
    stated place, with landmarks of three or more other operators, is to be suspended; the reason
    that is printed fits the next directory. Pairs that break the bound otherwise are listed too.
    Signatures are not checked. Ends with 1 where something is wrong.
    """
    from ledger.appraisal.landmark_check import self_check

    found = self_check(_directory(directory), _measured(measurements))
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        _show(found)
    if not found.sound:
        raise typer.Exit(EXIT_UNSOUND)


def _show(found: "SelfCheck") -> None:
    for suspension in found.suspensions:
        typer.echo(f"suspend {suspension.landmark}: {suspension.reason}")
    for pair in found.unresolved:
        typer.echo(f"look at {pair.words()}")
    state = "all possible" if found.sound else "not all possible"
    typer.echo(f"{found.pairs:,} pairs checked: {state}")


def _as_json(found: "SelfCheck") -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "suspend": [{"id": item.landmark, "reason": item.reason} for item in found.suspensions],
        "unresolved": [pair._asdict() for pair in found.unresolved],
    }


def _directory(path: Path) -> "list[Landmark]":
    from pydantic import ValidationError

    from ledger.protocol import statements as st
    from ledger.protocol.landmarks import Landmark
    from ledger.protocol.statements import Kind

    data = files.read(path)
    if data[:1] == b"\xd2":
        entries: list[Landmark] = st.decode(data, expect=Kind.LANDMARK_DIRECTORY).body.landmarks
        return entries
    try:
        listed = json.loads(data)["landmarks"]
        return [Landmark.model_validate({"addresses": []} | entry) for entry in listed]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: a landmark's {place}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no landmark directory") from error


def _measured(path: Path) -> list[tuple[str, str, int]]:
    """Pairs with round trips in µs, rounded up."""
    rows = []
    for number, line in enumerate(files.read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            first, second, rtt_ms = row["from"], row["to"], row["rtt_ms"]
            if isinstance(rtt_ms, bool) or {type(first), type(second)} != {str}:
                raise TypeError
            rows.append((first, second, -int(-rtt_ms * 1_000 // 1)))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UsageError(f'{path}:{number}: not {{"from", "to", "rtt_ms"}}') from error
    return rows


def _service(url: str | None) -> str:
    return url or os.environ.get(URL_VARIABLE) or SERVICE_URL


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(f"not hexadecimal: {text!r}") from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
        raise UsageError(f"an address is HOST:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)
