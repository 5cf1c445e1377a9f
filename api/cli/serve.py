"""``serve``: the service with its verifier, until it is told to stop."""

import contextlib
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import UsageError
from api.cli.options import DATABASE_VARIABLE
from api.cli.ready import tell_ready

if TYPE_CHECKING:
    from api.server import Server
    from api.settings import ServiceSettings
    from ledger.service.clock import SimulatedClock, SystemClock
    from ledger.service.node import Node

KID_SIZE = 16
DEFAULT_DATABASE = "ledger.db"


class ClockKind(StrEnum):
    """Kinds of clock; a ledger keeps the one that its genesis names."""

    real = "real"
    simulated = "simulated"


class Access(StrEnum):
    """Who may read locations and holders."""

    open = "open"
    tokens = "tokens"


class LogFormat(StrEnum):
    """Forms of log lines."""

    text = "text"
    json = "json"


class LogLevel(StrEnum):
    """The least that is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def serve(
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="FILE|URL",
            help=f"The ledger: a SQLite file or a PostgreSQL URL. [default: {DEFAULT_DATABASE}]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="N", help="Port; 0 takes a free one.")
    ] = 8470,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the two keys. [default: the database file's name with .keys]",
            show_default=False,
        ),
    ] = None,
    clock: Annotated[
        ClockKind, typer.Option(help="A simulated clock moves when a simulator moves it.")
    ] = ClockKind.real,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Where a simulated clock begins, such as 2027-01-04T00:00:00Z."
        ),
    ] = None,
    authority: Annotated[
        str | None,
        typer.Option(
            metavar="KID", help="Key id of the only authority that may found this ledger (32 hex)."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0, max=256, metavar="N", help="Processes that check signatures; 0: none besides."
        ),
    ] = 0,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY@URL",
            help="Ask this witness to cosign each checkpoint; may be given several times.",
            show_default=False,
        ),
    ] = None,
    auditor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY",
            help="Take the cosignatures of the auditor with this key; may be given several times.",
            show_default=False,
        ),
    ] = None,
    access: Annotated[
        Access | None,
        typer.Option(
            help="Whether locations and holders are shown to everybody, or to whoever has an "
            "access token. [default: tokens; on a simulated clock open]",
            show_default=False,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(min=0.05, max=86_400, metavar="SECONDS", help="Time between two checkpoints."),
    ] = 1.0,
    log_level: Annotated[LogLevel, typer.Option(help="What to log.")] = LogLevel.info,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log.")] = LogFormat.text,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the address here once requests are answered."),
    ] = None,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", hidden=True, help="Stop when standard input ends.")
    ] = False,
) -> None:
    """Run a ledger and its verifier.

    An empty ledger waits for its genesis statement, which has to name the keys that are made
    here. On any address but this machine's own, --authority says who may sign it.

    The log goes to stderr, the address to stdout. Stop it with Ctrl-C or SIGTERM; requests
    under way are finished first.

    Without an access token ("chip-passport token") readers see the log, its proofs and redacted
    bundles, and no location or holder. A simulated ledger tells nothing about the world and is
    open.

    A ledger on the real clock publishes a checkpoint every --checkpoint-every seconds in which
    it grew. Witnesses are asked beside the work: a slow one delays nothing. One that knows more
    of this ledger than is here stops it, since that means that an old backup was put back.
    """
    kid = _authority(authority, host)
    time = _clock(clock, start)
    name = database or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE

    from api import logs
    from api.cosigning import WitnessAddress, auditors_of, clients_of
    from api.server import Server
    from api.workers import calm_collector, worker_pool
    from ledger.service.node import Node, NodeSettings

    logs.configure(level=log_level.value, form=log_format.value)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a migration is no news to anybody
    witnesses = clients_of([WitnessAddress.parse(text) for text in witness or ()])
    auditors = auditors_of(auditor or (), len(witness or ()))
    settings = _settings(access, clock)
    with worker_pool(workers) if workers else contextlib.nullcontext() as executor:
        node = Node.open(NodeSettings(name, keys, time, kid, executor))
        try:
            server = Server(
                node,
                host=host,
                port=port,
                settings=settings,
                checkpoint_s=checkpoint_every,
                witnesses=witnesses,
                auditors=auditors,
            )
            if until_eof:
                threading.Thread(target=_watch_input, args=(server,), daemon=True).start()
            calm_collector()
            server.run(on_ready=lambda url: _ready(url, node, settings, ready_file))
        finally:
            node.close()
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


def _ready(url: str, node: "Node", settings: "ServiceSettings", ready_file: Path | None) -> None:
    status = node.status()
    state = f"{status.size:,} entries" if status.origin else "awaiting genesis"
    tell_ready(url, f"{status.clock_mode} clock, {state}", ready_file)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(_ACCESS[settings.access] + "\n")
        sys.stdout.flush()


_ACCESS = {
    "open": "access: open, everybody who reaches it may read everything; --access tokens asks "
    "for access tokens",
    "tokens": "access: tokens, locations and holders are shown to whoever has an access token "
    "(chip-passport token create); --access open shows them to everybody",
}


def _settings(access: Access | None, clock: ClockKind) -> "ServiceSettings":
    """From option and environment; a simulated clock opens what neither of them names."""
    from api.settings import ServiceSettings

    settings = ServiceSettings()
    if access is not None:
        return settings.model_copy(update={"access": access.value})
    if clock is ClockKind.simulated and "access" not in settings.model_fields_set:
        return settings.model_copy(update={"access": "open"})
    return settings


def _authority(text: str | None, host: str) -> bytes | None:
    if text is None:
        if _is_loopback(host):
            return None
        raise UsageError(
            f"on {host} anybody could found this ledger; name the authority's key id with "
            "--authority, or listen on 127.0.0.1"
        )
    try:
        kid = bytes.fromhex(text)
    except ValueError:
        kid = b""
    if len(kid) != KID_SIZE:
        raise UsageError(f"--authority takes a key id of {2 * KID_SIZE} hex digits, not {text!r}")
    return kid


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clock(kind: ClockKind, start: str | None) -> "SystemClock | SimulatedClock":
    from ledger.service.clock import SimulatedClock, SystemClock

    if kind is ClockKind.real:
        if start is not None:
            raise UsageError("--start is for a simulated clock; add --clock simulated")
        return SystemClock()
    return SimulatedClock(0 if start is None else parse_time(start))


def parse_time(text: str) -> int:
    """Milliseconds of an ISO 8601 time; one without a zone is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time; write it as 2027-01-04T00:00:00Z") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    ms = round(time.timestamp() * 1000)
    if ms < 0:
        raise UsageError(f"{text} lies before 1970")
    return ms


def _watch_input(server: "Server") -> None:
    """Stop when whoever started us is gone, however it went."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    server.stop()
