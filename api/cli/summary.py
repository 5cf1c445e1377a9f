"""A run's report for people."""

from collections.abc import Mapping
from typing import Any

from api.cli.output import console, draw, moment, number, span

MS_PER_HOUR = 3_600_000


def show(report: Mapping[str, Any]) -> None:
    """What was sent, what was done to chips, what was caught, what was not."""
    screen = console()
    for note in report["notes"]:
        screen.print(f"note: {note}", style="dim")
    _line(screen, _heading(report))
    lines = [("chips", _chips(report))]
    if report["heartbeats"]["sent"] or report["heartbeats"]["lost"]:
        lines.append(("heartbeats", _heartbeats(report["heartbeats"])))
    lines += [("decisions", _decisions(report["decisions"])), *_rules(report["decisions"])]
    for label, words in lines:
        _fact(screen, label, words)
    screen.print()
    if report["incidents"]:
        draw(screen, _incidents(report["incidents"]))
        screen.print()
    _verdict(screen, report)
    for problem in report["problems"]:
        screen.print(f"unexpected: {problem}", style="yellow")


def _heading(report: Mapping[str, Any]) -> str:
    scenario = report["scenario"]
    begin = moment(scenario["start_ms"])[:10]
    return f"Scenario {scenario['name']}, {scenario['days']:g} days from {begin}, seed " + str(
        scenario["seed"]
    )


def _chips(report: Mapping[str, Any]) -> str:
    flags = f"; {_counted(report['flags'])}" if report["flags"] else ""
    return f"{number(report['chips'])}: {_counted(report['states'])}{flags}"


def _heartbeats(counts: Mapping[str, Any]) -> str:
    words = f"{number(counts['sent'])} sent: {number(counts['accepted'])} accepted"
    for key, what in (("recorded", "on record as conflicts"), ("refused", "refused")):
        if counts[key]:
            words += f", {number(counts[key])} {what}"
    return words + (f"; {number(counts['lost'])} lost on the way" if counts["lost"] else "")


def _decisions(decisions: Mapping[str, Any]) -> str:
    if not decisions["total"]:
        return "none"
    return f"{number(decisions['total'])}: {_counted(decisions['by_action'])}"


def _rules(decisions: Mapping[str, Any]) -> list[tuple[str, str]]:
    by_rule: Mapping[str, Mapping[str, int]] = decisions["by_rule"]
    return [(f"  {action} by rule", _counted(rules)) for action, rules in by_rule.items()]


def _incidents(rows: list[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("what was done", "chips", "became", "after", "by rule"):
        table.add_column(heading, justify="right" if heading == "chips" else "left")
    for row in rows:
        table.add_row(
            row["kind"],
            number(row["chips"]),
            _outcomes(row),
            _after(row["hours_to_detect"]),
            ", ".join(row["rules"]),
        )
    return table


def _outcomes(row: Mapping[str, Any]) -> Any:
    """What became of an incident's chips; where that is not as expected, in yellow."""
    from rich.text import Text

    words = _counted({_OUTCOMES.get(key, key): count for key, count in row["actual"].items()})
    if row["released"]:
        words += f", {number(row['released'])} released"
    wrong = row["chips"] - row["as_expected"]
    return Text(f"{words} ({number(wrong)} unexpected)", "yellow") if wrong else Text(words)


def _verdict(screen: Any, report: Mapping[str, Any]) -> None:
    if report["diversions"]["chips"]:
        _tell_diversions(screen, report)
    if report["diversions"]["open"]:
        words = f"{number(report['diversions']['open'])}, begun too late in the run to be judged"
        _fact(screen, "diversions open", words)
    holds = report["false_holds"]
    if holds["count"] or holds["honest_chip_days"]:
        days = number(round(holds["honest_chip_days"]))
        false = f"{number(holds['count'])} in {days} chip-days of honest service"
        _fact(screen, "false holds", false, "bold red" if holds["count"] else "bold green")
    if holds["by_earlier_licences"]:
        count = number(holds["by_earlier_licences"])
        words = f"{count} by licences of an earlier run on this ledger, past or used up"
        _fact(screen, "other holds", words)


def _tell_diversions(screen: Any, report: Mapping[str, Any]) -> None:
    diversions = report["diversions"]
    took = diversions["hours_to_detect"]
    after = "" if took is None else f", after {_hours(took['median'])} in the median"
    if took is not None and took["min"] != took["max"]:
        after += f" ({_hours(took['min'])} to {_hours(took['max'])})"
    caught = f"{number(diversions['caught'])} of {number(diversions['chips'])}{after}"
    _fact(screen, "diversions caught", caught, "bold green")
    _fact(screen, "diversions missed", _missed(report), "bold yellow")


def _missed(report: Mapping[str, Any]) -> str:
    diversions = report["diversions"]
    if not diversions["missed"]:
        return "none"
    summaries = {row["kind"]: row["summary"] for row in report["incidents"]}
    kinds = (
        f"{number(count)} {kind} ({summaries[kind]})"
        for kind, count in diversions["missed_kinds"].items()
    )
    return f"{number(diversions['missed'])}: {', '.join(kinds)}"


def _after(hours: Mapping[str, float] | None) -> str:
    return "" if hours is None else _hours(hours["median"])


def _hours(hours: float) -> str:
    return span(hours * MS_PER_HOUR)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number(count)} {name}" for name, count in counts.items())


def _fact(screen: Any, label: str, words: str, style: str = "bold") -> None:
    """A label and a text that wraps beside it."""
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=_LABEL, no_wrap=True)
    row.add_column()
    row.add_row(Text(label, style), Text(words))
    draw(screen, row)


def _line(screen: Any, words: str) -> None:
    screen.print(words, style="bold")


_LABEL = 17
_OUTCOMES = {"hold": "held", "revoke": "revoked", "flag": "flagged", "none": "left alone"}
