"""``bundle`` and ``verify``: a chip's whole history in one file, and its check without a ledger."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import files, proofs
from api.cli.errors import EXIT_UNSOUND, UsageError
from api.cli.options import Database, Json, TokenFile, Url
from ledger.errors import Refused

if TYPE_CHECKING:
    from ledger.bundle.findings import Report
    from ledger.log.trust import TrustPolicy

SECONDS_PER_HOUR = 3_600


def bundle(
    ueid: Annotated[
        str,
        typer.Argument(
            metavar="UEID", help="The chip: its number in hex, or the first 8 digits or more."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    redacted: Annotated[
        bool,
        typer.Option(
            "--redacted", help="Leave all statements out; their digests stay and still prove."
        ),
    ] = False,
    database: Database = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Write a chip's whole history into one file.

    With it anybody can check, without this ledger, that the history is genuine and that nothing
    is missing from it: see "chip-passport verify". For a number that the ledger has never seen
    the file proves just that.
    """
    from api.cli import output as screen
    from api.cli.sources import full_ueid, open_source

    with open_source(database, url, token_file) as source:
        data = source.bundle(full_ueid(source, ueid), redacted=redacted)
    files.write(output, data)
    screen.notice(f"wrote {output}, {len(data):,} bytes; check it with: chip-passport verify")


def checkpoint(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    database: Database = None,
    url: Url = None,
) -> None:
    """Keep the ledger's newest checkpoint.

    Its signature binds the ledger to everything up to there. Give it to "chip-passport verify
    --remembered" later: a ledger that has been made anew since, or put back, does not extend it.
    """
    from api.cli import output as screen
    from api.cli.sources import open_source

    with open_source(database, url) as source:
        note = source.checkpoint()
    files.write(output, note)
    screen.notice(f"wrote {output}: {_summary(note)}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle, or a proof.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="POLICY", help="The logs and witnesses that you trust (C2SP tlog-policy)."
        ),
    ] = None,
    max_age: Annotated[
        float | None,
        typer.Option(metavar="HOURS", min=0, help="Refuse a file that is older than this."),
    ] = None,
    remembered: Annotated[
        list[Path] | None,
        typer.Option(
            "--remembered",
            metavar="NOTE",
            help="An earlier checkpoint of the log, which this one has to extend.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a bundle or proof offline: no ledger, no network.

    Says who signed, which witnesses vouch, and how old it is; of a bundle also up to which entry
    it is complete, and the life of the chip in order. Without --trust all else is checked, but
    nobody vouches for the keys.

    Exit code 0: nothing is wrong and the trust policy is met; 1: something is wrong, or nobody
    vouches; 2: the check could not be made.
    """
    from api.cli import output, show_bundle

    policy = None if trust is None else read_policy(trust)
    max_age_s = None if max_age is None else round(max_age * SECONDS_PER_HOUR)
    data = files.read(file)
    if data.startswith(proofs.FIRST_BYTES):
        if remembered:
            raise UsageError("--remembered is for bundles; a proof says nothing of earlier trees")
        accepted = proofs.verify(
            file, data, policy, now_ms=_now_ms(), max_age_s=max_age_s, as_json=as_json
        )
        raise typer.Exit(0 if accepted else EXIT_UNSOUND)
    report = _verify(file, data, policy, max_age_s, remembered or [])
    if as_json:
        output.print_json(_plain(report))
    else:
        show_bundle.tell(report)
    if not report.accepted:
        raise typer.Exit(EXIT_UNSOUND)


def _verify(
    file: Path,
    data: bytes,
    policy: "TrustPolicy | None",
    max_age_s: int | None,
    remembered: list[Path],
) -> "Report":
    from ledger.appraisal.places import cached_places
    from ledger.bundle.verify import verify as check
    from ledger.geo.borders import Borders

    notes = [files.read(note) for note in remembered]
    try:
        # In one thread: others would check signatures and wait for this one after each.
        return check(
            data,
            trust=policy,
            now_ms=_now_ms(),
            places=cached_places(Borders.load()),
            max_age_s=max_age_s,
            remembered=notes,
        )
    except Refused as refusal:
        raise UsageError(f"{file} is no bundle that can be read: {refusal}") from refusal


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def read_policy(path: Path) -> "TrustPolicy":
    """The trust policy in a file."""
    from ledger.log.trust import TrustPolicy

    try:
        return TrustPolicy.parse(files.read(path))
    except Refused as refusal:
        raise UsageError(f"{path} is no trust policy: {refusal}") from refusal


def _summary(note: bytes) -> str:
    from ledger.log.checkpoint import Checkpoint
    from ledger.log.note import parse_note

    found = Checkpoint.decode(parse_note(note).text)
    return f"{found.origin}, {found.size:,} entries"


def _plain(report: "Report") -> dict[str, Any]:
    """The report for programs; the life by its words, since bodies hold bytes."""
    values = {**asdict(report), "life": None, "vouchers": None}
    values["ueid"], values["genesis"] = report.ueid.hex(), report.genesis.hex()
    values["root"] = report.root.hex()
    values["vouchers"] = [
        {"witness": one.witness, "vkey": one.vkey.encode(), "timestamp_s": one.timestamp_s}
        for one in report.vouchers
    ]
    values["life"] = [
        {
            "index": event.index,
            "received_ms": event.received_ms,
            "kind": event.kind,
            "signer": event.signer,
            "meaning": event.words,
        }
        for event in report.life
    ]
    return {"accepted": report.accepted, "sound": report.sound, **values}
