"""Reports in words."""

import pytest

from ledger.bundle.format import Bundle
from ledger.bundle.redact import everything, redact
from ledger.bundle.summary import age, cosigned_at, faults, life, summary
from tests.bundle.double import check, founded, installed
from tests.world import SINGAPORE


def test_a_report_in_words():
    made = founded()
    (chip,) = installed(made)
    made.beat(chip)
    made.beat(chip, place=SINGAPORE)
    made.tick()
    data = made.show(chip)
    report = check(data, made.now_ms + 10_000)
    lines = summary(report)
    assert lines[0] == f"chip {chip.ueid.hex()}"
    assert any("cosigned by w0, w1, w2: quorum met" in line for line in lines)
    assert any(line.startswith("10 s old by its witnesses") for line in lines)
    assert f"7 entries, complete up to entry {report.size - 1} of the log" in lines
    assert "state held" in lines
    assert "decisions derived again: 1, none missing" in lines
    assert faults(report) == []
    told = list(life(report))
    assert len(told) == 7
    assert told[-1].split("  ")[:3] == ["6", "2026-01-01T03:00:00Z", "verifier"]
    assert cosigned_at(report)["w0"] == "2026-01-01T04:00:00Z"


def test_words_for_what_is_not_established():
    made = founded()
    made.hides = ("hold",)
    (chip,) = installed(made)
    made.beat(chip)
    made.beat(chip, place=SINGAPORE)
    made.tick()
    report = check(made.show(chip), made.now_ms, trust=None)
    lines = summary(report)
    assert any("nobody vouches" in line for line in lines)
    assert any("the ledger's own word" in line for line in lines)
    assert any("shown up to" in line for line in lines)
    (fault,) = faults(report)
    assert fault.startswith("missing-decision: entry ")


def test_words_for_absence_and_for_what_is_withheld():
    made = founded()
    (chip,) = installed(made)
    empty = check(made.show(b"\x01" + bytes(16)), made.now_ms)
    assert "the ledger holds no entry of this chip" in summary(empty)
    bundle = redact(Bundle.decode(made.show(chip)), everything).bundle
    lines = summary(check(bundle.encode(), made.now_ms))
    assert any(line.startswith("statements withheld: 1 birth, ") for line in lines)
    assert any("not derived again" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2.0 min"), (9_000, "2.5 h"), (864_000, "10.0 d")],
)
def test_spans(seconds: int, text: str):
    assert age(seconds) == text


def test_no_quorum_and_more_faults_than_are_kept():
    made = founded()
    report = check(made.show(b"\x01" + bytes(16)), made.now_ms - 3_600_000)
    assert any("quorum NOT met" in line for line in summary(report))
    report.more_faults = 3
    assert faults(report)[-1] == "and 3 more"
