"""The page runs, and says what the code does."""

import re
from pathlib import Path

from ledger.appraisal.landmark_check import MIN_OPERATORS
from ledger.location.assign import PLAN
from ledger.location.sightings import LandmarkTable
from ledger.location.verdict import Proof
from tests.location.ground import ATLAS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "location.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_example_of_the_page_runs() -> None:
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1], names)  # noqa: S102
    table = names["table"]
    assert isinstance(table, LandmarkTable)
    assert table.rows.shape == (2, len(ATLAS.codes))


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert (PLAN.first, PLAN.spread, PLAN.closer, PLAN.rounds, PLAN.most) == (12, 6, 2, 3, 24)
    assert "the 12 healthy landmarks nearest" in TEXT
    assert MIN_OPERATORS == 3
    for proof in Proof:
        assert f"| `{proof.value}` |" in TEXT
