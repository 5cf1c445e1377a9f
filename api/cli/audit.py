"""``audit``: does a ledger elsewhere hold what follows from its entries?"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import EXIT_UNSOUND, UsageError
from api.cli.options import TokenFile
from ledger.errors import IntegrityError, Refused

if TYPE_CHECKING:
    from api.audit_source import HttpSource
    from ledger.log.trust import TrustPolicy
    from ledger.service.audit.folder import AuditFolder
    from ledger.service.audit.outside import AuditReport, AuditSettings

FETCHING = 2
"""Answers asked for at the same time."""


def audit(
    url: Annotated[str, typer.Argument(metavar="URL", help="The service of the ledger.")],
    state: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The auditor's folder: its key, and how far it has come."),
    ],
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="POLICY", help="The logs and witnesses that you trust (C2SP tlog-policy)."
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            metavar="VKEY",
            help="Instead of a policy: the ledger's key, the vkey that GET /v1/ledger gives.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Cosign under this name, such as auditor.example/a1, where all matches.",
        ),
    ] = None,
    token_file: TokenFile = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, metavar="N", help="Processes that check signatures."),
    ] = 1,
    submit: Annotated[
        bool, typer.Option("--submit", help="Hand the cosigned checkpoint to the ledger.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Audit a ledger from outside, over its read API.

    Hashes every leaf again and compares the ledger's tiles and its checkpoint with them; follows
    each subject's chain; derives the heads map at every index-root. With an access token for an
    auditor it also checks every statement: its signature, that it had to be admitted, and each
    decision of the verifier, which is derived again.

    It goes on where it stopped: a later audit reads what is new, and the ledger has to extend
    what was audited before. What is in DIR/checkpoint is cosigned: only where every statement
    was seen and all of it matches, under --name and the key that the first audit with a name
    makes. The ledger takes it (--submit) where it was started with --auditor and that key.

    docs/audit.md says what is not checked. Exit code 0: all matches; 1: something does not, and
    the first place is named; 2: the audit could not be made.
    """
    from api.cli import output
    from api.cli.sources import access_token, explained_access

    policy = _policy(trust, ledger)
    token = access_token(token_file)
    with _sound_memory(state), ExitStack() as stack:
        folder = _opened(stack, state, name)
        if submit and folder.vkey is None:
            raise UsageError("--submit hands in what was cosigned, and that takes a --name")
        with explained_access(token):
            source = _source(stack, url, token)
            report = _audit(stack, folder, source, _settings(stack, policy, token, workers))
            submitted = submit and report.cosigned
            if submitted:
                source.submit(folder.checkpoint_path.read_bytes())
    if as_json:
        output.print_json({"matches": report.matches, **asdict(report), "submitted": submitted})
    else:
        _tell(report, policy, folder.checkpoint_path, submitted=submitted)
    if not report.matches:
        raise typer.Exit(EXIT_UNSOUND)


def _policy(trust: Path | None, ledger: str | None) -> "TrustPolicy":
    from api.cli.bundles import read_policy
    from ledger.log.cosignature import LOG_TYPES, note_verifier, parse_vkey
    from ledger.log.trust import TrustedLog, TrustPolicy

    if (trust is None) == (ledger is None):
        raise UsageError("say whom you trust: with --trust POLICY, or with --ledger VKEY")
    if trust is not None:
        return read_policy(trust)
    try:
        vkey = parse_vkey(ledger or "")
        if vkey.signature_type not in LOG_TYPES:
            raise UsageError(f"--ledger takes a ledger's vkey, and {ledger!r} is a witness's")
        note_verifier(vkey)
    except Refused as error:
        raise UsageError(f"--ledger takes a ledger's vkey, not {ledger!r}") from error
    return TrustPolicy((TrustedLog(vkey),), (), (), None)


@contextmanager
def _sound_memory(state: Path) -> Iterator[None]:
    """It is the auditor's own memory that contradicts itself, and not a ledger's."""
    try:
        yield
    except IntegrityError as error:
        raise UsageError(f"the audit in {state} cannot be gone on with: {error}") from error


def _opened(stack: ExitStack, state: Path, name: str | None) -> "AuditFolder":
    from ledger.log.vkey import check_name
    from ledger.service.audit.folder import AuditFolder

    try:
        if name is not None:
            check_name(name)
    except Refused as error:
        raise UsageError(f"--name {name!r}: {error.detail}") from error
    folder = AuditFolder.open(state, name)
    stack.callback(folder.close)
    return folder


def _source(stack: ExitStack, url: str, token: str | None) -> "HttpSource":
    from api.audit_source import HttpSource

    return stack.enter_context(HttpSource(url, token))


def _settings(
    stack: ExitStack, policy: "TrustPolicy", token: str | None, workers: int
) -> "AuditSettings":
    from concurrent.futures import Executor, ThreadPoolExecutor

    from api.workers import worker_pool
    from ledger.service.audit.outside import AuditSettings
    from ledger.service.clock import SystemClock

    # Threads are enough for one: the library lets go of the interpreter while it checks.
    verifying: Executor = (
        worker_pool(workers) if workers > 1 else ThreadPoolExecutor(os.cpu_count())
    )
    return AuditSettings(
        policy,
        SystemClock(),
        has_token=token is not None,
        verifying=stack.enter_context(verifying),
        fetching=stack.enter_context(ThreadPoolExecutor(FETCHING)),
    )


def _audit(
    stack: ExitStack, folder: "AuditFolder", source: "HttpSource", settings: "AuditSettings"
) -> "AuditReport":
    from api.cli import output
    from ledger.service.audit.outside import audit as run

    display = stack.enter_context(output.progress())
    task = display.add_task("auditing entries", total=None)

    def show(done: int, total: int) -> None:
        display.update(task, completed=done, total=total)

    return run(folder, source, settings, show)


def _tell(report: "AuditReport", policy: "TrustPolicy", note: Path, *, submitted: bool) -> None:
    from api.cli import output

    number, screen = output.number, output.console()
    if report.matches:
        screen.print(f"matches: {report.origin}, {number(report.size)} entries", style="bold green")
    else:
        fault = report.faults[0]
        screen.print(f"DOES NOT MATCH: {fault.place}: {fault.problem}", style="bold red")
        screen.print(f"{number(report.entries)} entries were found to match until then")
        return
    fresh = report.entries - report.first
    seen_all = not report.unseen
    for label, value in (
        ("entries", f"{number(report.entries)}, {number(fresh)} of them new"),
        ("signatures", number(report.signatures)),
        ("map roots", f"{number(report.map_roots)} compared"),
        ("tiles", f"{number(report.tiles)} full ones compared"),
        ("decisions", f"{number(report.decisions)} by the verifier, derived again"),
        ("chips", number(report.chips)),
        ("conflicts", number(report.conflicts)),
        ("root", report.root or "–"),
        ("witnesses", _quorum(report, policy)),
    ):
        if seen_all or label not in ("decisions", "chips", "conflicts"):
            screen.print(f"  {label:<12}{value}", soft_wrap=True)
    if report.waiting:
        screen.print(f"  {number(report.waiting)} decisions are due and not on the log yet")
    if report.unseen:
        screen.print(
            f"not checked: {number(report.unseen)} statements that are not shown without access; "
            "their signatures, whether they had to be admitted, and every decision",
            soft_wrap=True,
        )
    screen.print(_cosigned(report, note, submitted=submitted), soft_wrap=True)


def _quorum(report: "AuditReport", policy: "TrustPolicy") -> str:
    if policy.quorum is None:
        return "none were asked for"
    return f"the policy's quorum is {'met' if report.quorum_met else 'not met'}"


def _cosigned(report: "AuditReport", note: Path, *, submitted: bool) -> str:
    if report.cosigned:
        handed = ", and handed to the ledger" if submitted else ""
        return f"cosigned: {note}{handed}; key {report.vkey}"
    if report.unseen:
        return "not cosigned: an auditor cosigns what it has seen whole"
    return "not cosigned: the auditor has no name (--name)"
