"""A report in lines for people: what is established, what is not, and the life in order."""

from collections.abc import Iterator

from ledger.bundle.findings import Report
from ledger.passport.words import moment
from ledger.values import MILLIS_PER_SECOND

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def summary(report: Report) -> list[str]:
    """What was established, a line each, without the life and without the faults."""
    return [*_origin(report), *_vouchers(report), *_history(report), *_checks(report)]


def life(report: Report) -> Iterator[str]:
    """The chip's entries in order: number, time, signer and meaning."""
    for event in report.life:
        signer = event.signer or "?"
        yield f"{event.seq}  {moment(event.received_ms)}  {signer}  {event.words}"


def faults(report: Report) -> list[str]:
    """Every fault, and how many more there are."""
    lines = [str(finding) for finding in report.faults]
    if report.more_faults:
        lines.append(f"and {report.more_faults} more")
    return lines


def _origin(report: Report) -> Iterator[str]:
    clock = ", on a simulated clock" if report.clock == "simulated" else ""
    yield f"chip {report.ueid.hex()}"
    yield f"ledger {report.origin}, genesis {report.genesis.hex()}{clock}"
    yield f"checkpoint of {report.size} entries, root {report.root.hex()}"


def _vouchers(report: Report) -> Iterator[str]:
    if not report.policy_given:
        yield "signed by the key in its own genesis"
    elif report.logs:
        names = ", ".join(voucher.witness for voucher in report.vouchers) or "nobody"
        word = "met" if report.vouched else "NOT met"
        yield f"signed by {', '.join(report.logs)}; cosigned by {names}: quorum {word}"
    if report.age_s is not None:
        by = "its witnesses" if report.vouched and report.vouchers else "the ledger's own word"
        yield f"{age(report.age_s)} old by {by}; last entry {moment(report.published_ms)}"


def _history(report: Report) -> Iterator[str]:
    if not report.entries:
        yield "the ledger holds no entry of this chip"
        return
    word = "complete" if report.sound else "shown"
    yield f"{report.entries} entries, {word} up to entry {report.size - 1} of the log"
    if report.state is not None:
        yield f"state {report.state}"
    if report.withheld:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.withheld.items()))
        yield f"statements withheld: {kinds}"


def _checks(report: Report) -> Iterator[str]:
    unchecked = f", {report.unchecked} unchecked" if report.unchecked else ""
    yield f"{report.signatures} signatures good{unchecked}"
    if report.decisions_checked:
        yield (
            f"decisions derived again: {report.decisions}, none missing"
            if report.sound
            else (f"decisions derived again: {report.decisions}")
        )
    else:
        yield "decisions not derived again: what they rest on is not shown in full"
    yield from (f"note: {remark}" for remark in report.remarks)


def age(seconds: int) -> str:
    """A span in the unit that fits."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds} s"


def cosigned_at(report: Report) -> dict[str, str]:
    """When each witness of the policy cosigned."""
    return {v.witness: moment(v.timestamp_s * MILLIS_PER_SECOND) for v in report.vouchers}
