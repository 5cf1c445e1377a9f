"""What ``verify`` prints of a report."""

from typing import TYPE_CHECKING

from api.cli import life, output, show

if TYPE_CHECKING:
    from ledger.bundle.findings import Report

SHOWN_FAULTS = 20


def tell(report: "Report") -> None:
    """Verdict first, then what was established, faults, and the life in order."""
    screen = output.console()
    number = output.number
    screen.print(_verdict(report), style="bold green" if report.accepted else "bold red")
    for label, value in (
        ("chip", report.ueid.hex()),
        ("ledger", f"{report.origin}, {report.clock} clock" if report.clock else report.origin),
        ("signed by", _signed(report)),
        ("vouched for", _vouched(report)),
        ("age", _age(report)),
        ("complete", _complete(report)),
        ("signatures", _signatures(report)),
        ("decisions", _decisions(report)),
        ("state", report.state or "–"),
    ):
        screen.print(f"  {label:<12}{value}", soft_wrap=True)
    for remark in report.remarks:
        screen.print(f"  note        {remark}", soft_wrap=True)
    for finding in report.faults[:SHOWN_FAULTS]:
        screen.print(f"  {finding}", style="red", soft_wrap=True)
    more = len(report.faults) - SHOWN_FAULTS + report.more_faults
    if more > 0:
        screen.print(f"  and {number(more)} faults more", style="red")
    if report.life:
        screen.print()
        show_life(report)


def show_life(report: "Report") -> None:
    """The chip's life as ``history`` tells it."""
    items = (
        {
            "index": event.index,
            "received_ms": event.received_ms,
            "kind": event.kind,
            "signer": event.signer or "unknown",
            "meaning": event.words,
            "reason": event.conflict,
        }
        for event in report.life
    )
    show.life(life.lines(items), None)


def _verdict(report: "Report") -> str:
    if report.accepted:
        return "VERIFIED: genuine, complete, and vouched for"
    if report.sound:
        return "NOBODY VOUCHES: nothing is wrong, but no trust policy is met by these keys"
    return f"NOT SOUND: {', '.join(report.names())}"


def _signed(report: "Report") -> str:
    if report.logs:
        return ", ".join(report.logs)
    return "the key that its own genesis names" if report.sound else "see below"


def _vouched(report: "Report") -> str:
    if not report.policy_given:
        return "by nobody: no trust policy was given (--trust)"
    witnesses = ", ".join(voucher.witness for voucher in report.vouchers)
    if report.vouched:
        return f"by the policy; witnesses: {witnesses or 'none asked for'}"
    return f"not as the policy asks; witnesses: {witnesses or 'none'}"


def _age(report: "Report") -> str:
    if report.clock == "simulated" and not report.vouchers:
        return f"as of {output.moment(report.published_ms)} on the simulated clock"
    if report.age_s is None:
        return f"published {output.moment(report.published_ms)}, by the ledger's own word"
    by = "its cosignatures" if report.vouchers else "the ledger's own word"
    return f"{span(report.age_s)} by {by}"


def span(seconds: int) -> str:
    """A span in the unit that fits."""
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds} s"


def _complete(report: "Report") -> str:
    size = output.number(report.size)
    if report.sound and not report.entries:
        return f"the chip has no entry among the {size} of the ledger"
    entries = output.number(report.entries)
    if not report.sound:
        return f"not proven; {entries} entries are shown"
    return f"{entries} entries, all that the chip has among the {size} of the ledger"


def _signatures(report: "Report") -> str:
    text = f"{output.number(report.signatures)} checked"
    if report.withheld:
        left = ", ".join(f"{count} {kind}" for kind, count in sorted(report.withheld.items()))
        text += f"; withheld: {left}"
    if report.unchecked:
        text += f"; {output.number(report.unchecked)} could not be, their key is withheld"
    return text


def _decisions(report: "Report") -> str:
    if not report.decisions_checked:
        return "not derived again: something is withheld or wrong"
    missing = "; none is missing" if report.sound else ""
    return f"{output.number(report.decisions)} derived again{missing}"
