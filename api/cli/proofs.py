"""``proof``, and what ``verify`` does with one: that a single entry is in the log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import files
from api.cli.errors import UsageError
from api.cli.options import Database, Url
from ledger.errors import Refused
from ledger.values import MILLIS_PER_SECOND

if TYPE_CHECKING:
    from ledger.log.entry_proof import ProvenEntry
    from ledger.log.trust import TrustPolicy

FIRST_BYTES = b"c2sp.org/tlog-proof@"
CLOCK_TOLERANCE_S = 300
"""How far a witness's clock may be ahead of this machine's."""


def proof(
    index: Annotated[
        int, typer.Argument(metavar="INDEX", min=0, help="The entry's number, as history shows it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    database: Database = None,
    url: Url = None,
) -> None:
    """Write the proof that one entry is in the log.

    A small file in the form of C2SP tlog-proof: the entry's leaf, its path, the newest checkpoint
    and its cosignatures. It says nothing about what a statement contains, and shows no place and
    no name; see "chip-passport verify". Whether a chip's history is whole is a bundle's to prove.
    """
    from api.cli import output as screen
    from api.cli.sources import open_source

    with open_source(database, url) as source:
        data = source.proof(index)
    files.write(output, data)
    screen.notice(f"wrote {output}, {len(data):,} bytes; check it with: chip-passport verify")


def verify(
    file: Path,
    data: bytes,
    policy: "TrustPolicy | None",
    *,
    now_ms: int,
    max_age_s: int | None,
    as_json: bool,
) -> bool:
    """Check a proof and tell; whether it is accepted."""
    from api.cli import output
    from ledger.log.entry_proof import verify_entry
    from ledger.log.proof_file import ProofFile

    try:
        given = ProofFile.decode(data)
    except Refused as refusal:
        raise UsageError(f"{file} is no proof that can be read: {refusal}") from refusal
    now_s = now_ms // MILLIS_PER_SECOND
    found, fault = None, None
    try:
        found = verify_entry(given, policy, latest_s=now_s + CLOCK_TOLERANCE_S)
        fault = _too_old(found, now_s, max_age_s)
    except Refused as refusal:
        fault = str(refusal)
    accepted = found is not None and found.endorsement is not None and fault is None
    if as_json:
        output.print_json(
            {"accepted": accepted, "fault": fault, **_plain(given.index, found, now_s)}
        )
    else:
        _tell(given.index, found, fault, now_s)
    return accepted


def _too_old(found: "ProvenEntry", now_s: int, max_age_s: int | None) -> str | None:
    if max_age_s is None or found.endorsement is None:
        return None
    age_s = found.endorsement.age_s(now_s)
    if age_s is None:
        return "no witness says how old it is"
    return f"it is {age_s} s old, {max_age_s} s are allowed" if age_s > max_age_s else None


def _tell(index: int, found: "ProvenEntry | None", fault: str | None, now_s: int) -> None:
    from api.cli import output

    screen = output.console()
    if fault is not None:
        screen.print("NOT SOUND: this does not prove the entry", style="bold red")
        screen.print(f"  {fault}", style="red", soft_wrap=True)
    elif found is not None and found.endorsement is not None:
        screen.print("VERIFIED: the entry is in the log, and vouched for", style="bold green")
    else:
        screen.print("NOBODY VOUCHES: nothing is wrong, but anybody can make up a checkpoint")
    if found is None:
        screen.print(f"  {'entry':<12}{output.number(index)}")
        return
    for label, value in (
        ("entry", f"{output.number(index)} of the {output.number(found.checkpoint.size)}"),
        ("ledger", found.checkpoint.origin),
        ("kind", f"{found.leaf.kind}, received {output.moment(found.leaf.received_ms)}"),
        ("histories", f"in {output.number(len(found.leaf.links))}"),
        ("statement", f"SHA-256 {found.leaf.statement_digest.hex()}"),
        ("vouched for", _vouched(found)),
        ("age", _age(found, now_s)),
    ):
        screen.print(f"  {label:<12}{value}", soft_wrap=True)


def _vouched(found: "ProvenEntry") -> str:
    if found.endorsement is None:
        return "by nobody: no trust policy was given (--trust)"
    witnesses = ", ".join(voucher.witness for voucher in found.endorsement.vouchers)
    return f"by the policy; witnesses: {witnesses or 'none asked for'}"


def _age(found: "ProvenEntry", now_s: int) -> str:
    from api.cli.show_bundle import span

    age_s = None if found.endorsement is None else found.endorsement.age_s(now_s)
    return "no witness says" if age_s is None else f"{span(age_s)} by its cosignatures"


def _plain(index: int, found: "ProvenEntry | None", now_s: int) -> dict[str, Any]:
    if found is None:
        return {"index": index}
    endorsement = found.endorsement
    return {
        "index": index,
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "root": found.checkpoint.root.hex(),
        "leaf_hash": found.leaf_hash.hex(),
        "kind": found.leaf.kind,
        "received_ms": found.leaf.received_ms,
        "subjects": [{"key": link.subject.hex(), "seq": link.seq} for link in found.leaf.links],
        "statement_digest": found.leaf.statement_digest.hex(),
        "age_s": None if endorsement is None else endorsement.age_s(now_s),
        "vouchers": [
            {"witness": one.witness, "vkey": one.vkey.encode(), "timestamp_s": one.timestamp_s}
            for one in (endorsement.vouchers if endorsement else ())
        ],
    }
