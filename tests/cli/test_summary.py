"""A run's report as people read it."""

from functools import cache
from typing import Any

import pytest

from api.cli import summary
from device_sim.report import build_report
from device_sim.run import run
from device_sim.scenario import load_packaged
from tests.device_sim.peer import LedgerPeer


@cache
def small() -> dict[str, Any]:
    peer = LedgerPeer()
    return build_report(run(load_packaged("small"), peer), peer)


def told(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    summary.show(report)
    return capsys.readouterr().out


def without(report: dict[str, Any], part: str) -> dict[str, Any]:
    return report | {part: dict.fromkeys(report[part], 0)}


def test_lines_whose_total_is_nothing_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    whole = told(small(), capsys)
    for part, words in (
        ("diversions", ("diversions caught", "diversions missed")),
        ("false_holds", ("false holds",)),
        ("heartbeats", ("heartbeats",)),
    ):
        shorter = told(without(small(), part), capsys)
        for word in words:
            assert word in whole
            assert word not in shorter


def test_false_holds_are_told_however_short_the_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = without(small(), "false_holds")
    report["false_holds"]["count"] = 2
    assert "false holds        2 in 0 chip-days" in told(report, capsys)


def test_diversions_that_no_outcome_is_due_of_are_told_by_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "diversions open" not in told(small(), capsys)
    report = without(small(), "diversions")
    report["diversions"]["open"] = 3
    said = told(report, capsys)
    assert "diversions open    3, begun too late in the run to be judged" in said
    assert "diversions caught" not in said
